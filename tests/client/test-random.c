/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A sender and an intake with little credit, over a link that loses all that is under way at random: everything arrives once and
 * in order, and of everything its sender is told what became of it, once. Each round has its seed: $TEST_SEEDS prints them,
 * $TEST_SEED runs one. */

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "client/intake.h"
#include "client/send.h"
#include "protocol/framer.h"
#include "tests/unit/run-tests.h"

enum { TARGET = 2, SOURCE = 1, SMALL_MAX = 400, LARGE_MAX = 40, ROUNDS = 1000, STEPS = 200 };

/* What was sent: a small message by its number, a large one by its kind */
typedef struct Item {
        uint64_t size, received;
        unsigned n_outcomes;
        int result;
        uint32_t stream; /* open; 0: not */
        bool has_outcome, is_complete;
} Item;

typedef struct Waiting {
        Receipt receipt;
        struct Waiting *next;
} Waiting;

/* Each assertion of libcheck is a system call, and here are very many. */
#define expect(condition)                                          \
        do {                                                       \
                if (!(condition))                                  \
                        ck_abort_msg("it is not so: " #condition); \
        } while (0)

static Sender sender;
static Link sender_link;
static Intake intake;
static int peer_fd, epoll_fd;
static uint64_t seed, now;
static Item small[SMALL_MAX], large[LARGE_MAX];
static unsigned n_small, n_large, next_small;
static uint8_t rx[2 * 1024 * 1024], data[200000];
static size_t n_rx;
static WireHeader acks[4096];
static uint64_t ack_credits[4096];
static unsigned n_acks;
static Waiting *waiting;
static bool target_is_lost;
static uint64_t n_received[2 + 2 * LARGE_MAX]; /* bytes, by stream */

static uint64_t roll(uint64_t n) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (seed >> 33) % n;
}

static uint8_t pattern(unsigned kind, uint64_t offset) {
        return (uint8_t) (kind * 7 + offset * 13 + offset / 256);
}

static void on_sent(Sent *sent, void *userdata) {
        Item *item = sent->userdata;

        item->n_outcomes++;
        item->result = sent->result;
        free(sent);
}

static void on_undelivered(uint64_t target, int error, uint64_t count, void *userdata) {
        ck_abort_msg("nothing fails");
}

static int on_watch(uint64_t id, void *userdata) {
        return 0;
}

static int on_acknowledge(uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit, void *userdata) {
        if (n_acks == N_ELEMENTS(acks))
                return -ENOMEM;
        acks[n_acks] = (WireHeader) { .source = TARGET, .stream = stream, .sequence = sequence };
        ack_credits[n_acks++] = credit;
        return 0;
}

static int on_ask(uint64_t source, uint64_t first, void *userdata) {
        return 0;
}

static const SenderCallbacks sender_callbacks = { on_sent, on_undelivered, on_watch };
static const IntakeCallbacks intake_callbacks = { on_acknowledge, on_ask, on_watch };

static Sent *sent_new(Item *item, uint64_t deadline) {
        Sent *sent = calloc(1, sizeof(*sent));

        *sent = (Sent) { .userdata = item, .deadline = deadline };
        item->has_outcome = true;
        return sent;
}

static Envelope envelope(unsigned kind) {
        return (Envelope) { .target = TARGET, .kind = (uint16_t) kind, .flags = WIRE_RELIABLE };
}

/* The sender's program */

static void send_small(void) {
        Item *item = &small[n_small];
        Envelope e = envelope(n_small);
        Sent *sent = NULL;

        if (n_small == SMALL_MAX)
                return;
        item->size = roll(30) == 0 ? roll(WIRE_PAYLOAD_MAX + 1) : roll(300);
        if (roll(2) == 0)
                sent = sent_new(item, roll(3) == 0 ? now + roll(20) : USEC_NEVER);
        expect(sender_message(&sender, &e, data, item->size, sent) == 0);
        n_small++;
}

static void fill(unsigned kind, uint64_t offset, size_t size) {
        for (size_t i = 0; i < size; i++)
                data[i] = pattern(kind, offset + i);
}

static void send_large(void) {
        Item *item = &large[n_large];
        Envelope e = envelope(n_large);

        if (n_large == LARGE_MAX)
                return;
        if (roll(2) == 0) {
                expect(sender_stream_begin(&sender, &e, WIRE_SIZE_UNKNOWN, &item->stream) == 0);
        } else {
                item->size = WIRE_PAYLOAD_MAX + 1 + roll(80000);
                fill(n_large, 0, item->size);
                expect(sender_message(&sender, &e, data, item->size, sent_new(item, USEC_NEVER)) == 0);
        }
        n_large++;
}

static void write_stream(unsigned kind, bool end) {
        Item *item = &large[kind];
        size_t size = roll(6) == 0 ? roll(80000) : roll(500);

        if (item->stream == 0)
                return;
        fill(kind, item->size, size);
        expect(sender_stream_write(&sender, item->stream, data, size) == 0);
        item->size += size;
        if (end) {
                expect(sender_stream_end(&sender, item->stream, sent_new(item, USEC_NEVER)) == 0);
                item->stream = 0;
        }
}

/* The receiver's program */

static void receive_small(const WireHeader *header) {
        expect(header->kind < n_small);
        for (; next_small < header->kind; next_small++)
                expect(small[next_small].result == -ETIME); /* nothing else may be missing */
        expect(small[next_small].result == 0);
        expect(header->length == small[next_small].size);
        small[next_small++].is_complete = true;
}

static void receive_large(const WireHeader *header, const uint8_t *payload) {
        size_t n_prefix = (header->flags & (WIRE_FIRST | WIRE_LAST)) == WIRE_FIRST ? 8 : 0;
        Item *item = &large[header->kind];
        size_t n_wrong = 0;

        expect(header->kind < n_large);
        expect(!item->is_complete);
        expect(!!(header->flags & WIRE_FIRST) == (header->sequence == 1));
        for (size_t i = n_prefix; i < header->length; i++)
                n_wrong += payload[i] != pattern(header->kind, item->received++);
        expect(n_wrong == 0);
        item->is_complete = header->flags & WIRE_LAST;
}

static void receive(const WireHeader *header, const uint8_t *payload) {
        int r;

        r = intake_begin(&intake, header);
        if (r <= 0)
                return;
        if (roll(50) == 0) {
                intake_end(&intake, false); /* no memory: it is looked at again */
                r = intake_begin(&intake, header);
                expect(r == 1);
        }
        n_received[header->stream] += WIRE_HEADER_SIZE + header->length;
        expect(n_received[header->stream] <= intake.flow->granted);
        if (header->stream == 0)
                receive_small(header);
        else
                receive_large(header, payload);
        if (header->stream == 0 || roll(2) == 0) {
                Waiting *w = malloc(sizeof(*w)), **p = &waiting;

                while (*p)
                        p = &(*p)->next;
                *w = (Waiting) {};
                *p = w;
                intake_attach(&intake, &w->receipt);
        }
        intake_end(&intake, true);
}

/* Mostly in order, as a program does; at times past others, as replies are. */
static void take(void) {
        Waiting **p = &waiting, *w;

        while (*p && (*p)->next && roll(4) == 0)
                p = &(*p)->next;
        w = *p;
        if (!w)
                return;
        *p = w->next;
        intake_take(&w->receipt);
        free(w);
}

/* The link */

static void pump(void) {
        ssize_t n;

        sender_link.is_blocked = false;
        n = sender_write(&sender, &sender_link);
        expect(n >= 0 || n == -EAGAIN);
        n = read(peer_fd, rx + n_rx, sizeof(rx) - n_rx);
        n_rx += n > 0 ? (size_t) n : 0;
}

static void deliver(uint64_t n_frames) {
        size_t used = 0, size;

        while (n_frames-- > 0 && framer_peek(rx + used, n_rx - used, &size) == 0) {
                WireHeader header;

                wire_header_load(rx + used, &header);
                header.source = SOURCE;
                if (!target_is_lost)
                        receive(&header, rx + used + WIRE_HEADER_SIZE);
                used += size;
        }
        memmove(rx, rx + used, n_rx - used);
        n_rx -= used;
}

static void deliver_acks(unsigned n) {
        if (n > n_acks)
                n = n_acks;
        for (unsigned i = 0; i < n; i++)
                expect(sender_ack(&sender, TARGET, acks[i].stream, acks[i].sequence, ack_credits[i]) == 0);
        n_acks -= n;
        memmove(acks, acks + n, n_acks * sizeof(acks[0]));
        memmove(ack_credits, ack_credits + n, n_acks * sizeof(ack_credits[0]));
}

/* Some of what is under way gets through, the rest is gone. */
static void lose_sender_link(void) {
        deliver(roll(10));
        deliver_acks((unsigned) roll(5));
        sender_link_lost(&sender);
        while (read(peer_fd, rx, sizeof(rx)) > 0)
                ;
        n_rx = n_acks = 0;
        sender_link.is_blocked = false;
}

static void find_sender_link(void) {
        if (sender.is_up)
                return;
        ck_assert_int_eq(sender_welcome(&sender, true, roll(3) == 0, sender.initial_credit), 0);
        if (!target_is_lost)
                sender_target_alive(&sender, TARGET);
        else
                sender_target_away(&sender, TARGET);
}

/* What was sent before its return may still arrive, with numbers from beyond a gap, streams that begin late among them. */
static void find_target_link(void) {
        if (!target_is_lost)
                return;
        target_is_lost = false;
        sender_target_back(&sender, TARGET);
}

static void step(void) {
        switch (roll(24)) {
        case 0 ... 3:
                send_small();
                break;
        case 4:
                send_large();
                break;
        case 5 ... 6:
                if (n_large > 0)
                        write_stream((unsigned) roll(n_large), roll(8) == 0);
                break;
        case 7:
                sender_expire(&sender, now += roll(5));
                break;
        case 8 ... 11:
                pump();
                break;
        case 12 ... 14:
                deliver(roll(20));
                break;
        case 15 ... 17:
                take();
                break;
        case 18 ... 19:
                (void) intake_acknowledge(&intake);
                break;
        case 20:
                deliver_acks((unsigned) roll(10));
                break;
        case 21:
                if (roll(3) == 0)
                        lose_sender_link();
                break;
        case 22:
                if (roll(3) == 0) {
                        n_acks = (unsigned) roll(n_acks + 1);
                        target_is_lost = true;
                        if (roll(2) == 0) /* else it is back before anybody noticed */
                                sender_target_away(&sender, TARGET);
                }
                break;
        default:
                find_sender_link();
                find_target_link();
        }
}

/* Everything works again: in a bounded number of turns all is there. */
static void heal(void) {
        for (unsigned i = 0; i < n_large; i++)
                write_stream(i, true);
        find_sender_link();
        find_target_link();
        for (unsigned i = 0; i < 3000 && (!sender_is_empty(&sender) || waiting); i++) {
                pump();
                deliver(1000);
                take();
                take();
                ck_assert_int_eq(intake_acknowledge(&intake), 0);
                deliver_acks(N_ELEMENTS(acks));
        }
}

static void check_item(const Item *item, const char *what, unsigned i) {
        ck_assert_msg(item->n_outcomes == item->has_outcome, "%s %u was told %u outcomes", what, i, item->n_outcomes);
        ck_assert_msg(item->result == (item->is_complete ? 0 : -ETIME), "%s %u: %s", what, i, strerror(-item->result));
}

static void run_round(uint64_t number) {
        int fds[2];

        seed = number;
        now = 0;
        n_small = n_large = next_small = n_acks = 0;
        n_rx = 0;
        target_is_lost = false;
        memset(small, 0, sizeof(small));
        memset(large, 0, sizeof(large));
        memset(n_received, 0, sizeof(n_received));
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        link_init(&sender_link, epoll_fd);
        sender_link.fd = fds[0];
        peer_fd = fds[1];
        sender_init(&sender, epoll_fd, &sender_callbacks, NULL);
        intake_init(&intake, &intake_callbacks, NULL);
        intake.initial_credit = (uint32_t) (WIRE_FRAME_MAX + 1 + roll(200000));
        ck_assert_int_eq(sender_welcome(&sender, false, true, intake.initial_credit), 0);
        for (unsigned i = 0; i < STEPS; i++)
                step();
        heal();
        ck_assert_msg(sender_is_empty(&sender), "it stands still");
        ck_assert_uint_eq(sender.n_queued, 0);
        for (unsigned i = 0; i < n_small; i++)
                check_item(&small[i], "message", i);
        for (unsigned i = 0; i < n_large; i++) {
                check_item(&large[i], "large message", i);
                ck_assert_uint_eq(large[i].received, large[i].size);
        }
        sender_deinit(&sender);
        intake_deinit(&intake);
        link_deinit(&sender_link);
        close(peer_fd);
}

static void run_rounds(uint64_t first) {
        const char *one = getenv("TEST_SEED");

        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        for (uint64_t i = 0; i < ROUNDS; i++) {
                uint64_t number = one ? strtoull(one, NULL, 10) : first + i;

                if (getenv("TEST_SEEDS"))
                        fprintf(stderr, "%llu\n", (unsigned long long) number);
                run_round(number);
                if (one)
                        break;
        }
        close(epoll_fd);
}

/* In three, because each has its time limit. */
START_TEST(test_first) {
        run_rounds(1);
}
END_TEST

START_TEST(test_second) {
        run_rounds(1 + ROUNDS);
}
END_TEST

START_TEST(test_third) {
        run_rounds(1 + 2 * ROUNDS);
}
END_TEST

TEST_MAIN("client-random", test_first, test_second, test_third)
