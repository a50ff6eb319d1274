/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Drives the core without a socket: a sender, some receivers, and in each turn one batch of equal frames from one to the
 * others in turn, as the data plane would feed it. Under callgrind, that gives the instructions per message, which no other
 * load on the machine can change. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/core/router.h"

enum {
        TURNS = 1000,
        BATCH_MAX = 128 * 1024, /* one read */
        IOV_MAX_WRITE = 64,
        RECEIVERS_MAX = 8,
};

typedef struct Core {
        Router *router;
        Link *sender, *receivers[RECEIVERS_MAX];
        size_t n_receivers;
        uint8_t *batch;
        size_t n_batch;
        uint64_t n_written;
} Core;

static void ignore_session(void *userdata, Session *s) {
}
static void ignore_left(void *userdata, Session *s, WireReason reason, const char *text) {
}
static void ignore_ended(void *userdata, IdRange ids) {
}
static void ignore_refused(void *userdata, Link *l, WireRefusal code, const char *text) {
}
static void ignore_protocol_error(void *userdata, Link *l, Session *s, const char *text) {
}
static void ignore(void *userdata) {
}
static void no_token(void *userdata, uint64_t id, WireText name, const char *principal, uint8_t ret[static WIRE_TOKEN_SIZE]) {
        memset(ret, 0, WIRE_TOKEN_SIZE);
}

static const RouterOps ops = {
        .joined = ignore_session,
        .left = ignore_left,
        .ended = ignore_ended,
        .settle = ignore,
        .state_changed = ignore_session,
        .refused = ignore_refused,
        .protocol_error = ignore_protocol_error,
        .ids_low = ignore,
        .make_token = no_token,
};

static const RouterConfig config = {
        .max_clients = 16,
        .ping_interval_usec = UINT64_C(3600) * 1000 * 1000,
        .grace_usec = 1000 * 1000,
        .broadcast_wait_usec = 1000 * 1000,
        .outbox_high = 1024 * 1024,
        .outbox_low = 256 * 1024,
        .urgent_high = 1024 * 1024,
        .initial_credit = 1024 * 1024,
};

/* Writes all that there is, as the data plane does at the end of a turn. */
static void write_all(Core *c) {
        Link *l;

        while ((l = router_pop_dirty(c->router))) {
                struct iovec iov[IOV_MAX_WRITE];
                size_t n;

                while ((n = link_get_output(l, &c->router->turn, iov, IOV_MAX_WRITE)) > 0) {
                        size_t size = 0;

                        for (size_t i = 0; i < n; i++)
                                size += iov[i].iov_len;
                        link_sent(l, size);
                        c->n_written += size;
                }
                link_keep(l);
        }
        router_end_turn(c->router, 1000);
}

static Link *open_link(Core *c, uint64_t now) {
        uint8_t frame[WIRE_HELLO_FRAME_MAX];
        WireHello hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION, .version_max = WIRE_VERSION };
        WireHeader header = { .type = WIRE_HELLO };
        Link *l;
        int n;

        n = wire_hello_store(&hello, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);
        if (n < 0 || link_new(c->router, NULL, "", "", &l) < 0)
                abort();
        header.length = (uint32_t) n;
        wire_header_store(frame, &header);
        router_set_now(c->router, now);
        link_input(l, frame, WIRE_HEADER_SIZE + header.length);
        write_all(c);
        if (l->state != LINK_UP)
                abort();
        return l;
}

static void fill_batch(Core *c, uint32_t size, uint32_t n_frames) {
        WireHeader header = {
                .length = size,
                .type = WIRE_DATA,
                .flags = WIRE_FIRST | WIRE_LAST,
        };

        c->n_batch = (size_t) n_frames * (WIRE_HEADER_SIZE + size);
        c->batch = calloc(1, c->n_batch);
        if (!c->batch)
                abort();
        for (size_t i = 0; i < n_frames; i++) {
                header.target = c->receivers[i % c->n_receivers]->session->id;
                wire_header_store(c->batch + i * (WIRE_HEADER_SIZE + size), &header);
        }
}

/* What callgrind counts; see the --toggle-collect= below. */
void core_turns(Core *c, uint64_t now, unsigned n_turns);
__attribute__((noinline)) void core_turns(Core *c, uint64_t now, unsigned n_turns) {
        for (unsigned i = 0; i < n_turns; i++) {
                router_set_now(c->router, now + i);
                link_input(c->sender, c->batch, c->n_batch);
                write_all(c);
        }
}

static void core_close(Core *c) {
        link_free(c->sender);
        for (size_t i = 0; i < c->n_receivers; i++)
                link_free(c->receivers[i]);
        router_free(c->router);
        free(c->batch);
}

static int usage(const char *program) {
        fprintf(stderr,
                "usage: %s PAYLOAD-BYTES FRAMES-PER-TURN [RECEIVERS]\n"
                "\n"
                "To count the instructions per message, divide what\n"
                "  valgrind --tool=callgrind --callgrind-out-file=core.out --toggle-collect=core_turns %s 128 64\n"
                "says that it has collected by the number of messages that is printed. Where they go:\n"
                "  callgrind_annotate core.out\n",
                program, program);
        return EXIT_FAILURE;
}

int main(int argc, char **argv) {
        static const uint8_t seed[ROUTER_SEED_SIZE] = { 1 };
        unsigned long size, n_frames, n_receivers;
        uint64_t now = 1000 * 1000;
        Core c = {};

        if (argc < 3 || argc > 4)
                return usage(argv[0]);
        size = strtoul(argv[1], NULL, 10);
        n_frames = strtoul(argv[2], NULL, 10);
        n_receivers = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
        if (n_receivers < 1 || n_receivers > RECEIVERS_MAX) {
                fprintf(stderr, "%s: there are 1 to %d receivers.\n", argv[0], RECEIVERS_MAX);
                return EXIT_FAILURE;
        }
        if (size > WIRE_PAYLOAD_MAX || n_frames < 1 || n_frames * (WIRE_HEADER_SIZE + size) > BATCH_MAX) {
                fprintf(stderr, "%s: a batch has 1 to %d bytes in frames of at most %d bytes.\n", argv[0], BATCH_MAX,
                        WIRE_PAYLOAD_MAX);
                return EXIT_FAILURE;
        }
        if (router_new(&config, &ops, NULL, now, seed, &c.router) < 0)
                abort();
        router_add_ids(c.router, 1, 2 * ROUTER_IDS_LOW);
        c.sender = open_link(&c, now);
        while (c.n_receivers < n_receivers)
                c.receivers[c.n_receivers++] = open_link(&c, now);
        fill_batch(&c, (uint32_t) size, (uint32_t) n_frames);
        core_turns(&c, now, TURNS);
        printf("%lu messages\n", TURNS * n_frames);
        core_close(&c);
        return EXIT_SUCCESS;
}
