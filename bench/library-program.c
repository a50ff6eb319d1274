/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three processes: this one, which takes orders and reports; the sender; the receiver. They are forked before any library is
 * called, so each has its own. Beside the server, the receiver has a pipe to the sender: it says there that a half of the window
 * has arrived, which is two system calls for hundreds of messages, and when all has. Both look at their processor time before
 * the first message is sent, and when the last has arrived, so what a library does in threads of its own counts as well.
 *
 * A message begins with eight bytes that say which one it is. The first of a round is compared byte by byte. Large ones may pass
 * each other, so those that have arrived are marked. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/library-program.h"

#define IS_LAST (UINT64_C(1) << 63)

enum {
        ROUND_SHIFT = 48,
        ROUND_MAX = 0x7fff,
        MESSAGES_MAX = 1 << 24,       /* in a round: some seconds of the fastest */
        SIZE_MAX_BYTES = 1 << 20,     /* of a message: NATS takes no larger ones */
        WINDOW_BYTES = 8 << 20,       /* large messages: within what all servers keep for a slow receiver (Redis: 8 MiB) */
        IN_ORDER_MAX = 65536,         /* libdirectclient lets larger ones pass each other */
        CLOCK_EVERY = 32,             /* small messages between two looks at the clock */
        STALL_MS = 2000,              /* nothing has come for so long: what has not come is lost */
        CREDIT_MS = STALL_MS + 1000,  /* and the sender can't wait for it any longer */
        REPORT_MS = 60 * 1000,        /* a round takes a few seconds at most */
};

typedef struct Order {
        uint64_t round, duration_nsec;
} Order;

typedef struct Report {
        int result;
        uint64_t messages, out_of_order, elapsed_nsec, user_usec, system_usec, peak_kib;
} Report;

/* One process; the other two only use what is theirs */
static struct {
        const Library *library;
        Place place;
        unsigned window;
        int credit_fds[2]; /* the sender reads, the receiver writes */
        uint8_t *message;  /* as it is sent, or as the first is expected */

        uint64_t round;
        uint64_t n_taken, n_total, n_next, n_out_of_order;
        uint8_t *taken; /* a bit for each message of a round */
        int error;
} self;

static uint64_t now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static uint64_t to_usec(struct timeval tv) {
        return (uint64_t) tv.tv_sec * 1000000 + (uint64_t) tv.tv_usec;
}

static void begin_report(Report *report) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        *report = (Report) {
                .elapsed_nsec = now_nsec(),
                .user_usec = to_usec(usage.ru_utime),
                .system_usec = to_usec(usage.ru_stime),
        };
}

static void end_report(Report *report) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        report->elapsed_nsec = now_nsec() - report->elapsed_nsec;
        report->user_usec = to_usec(usage.ru_utime) - report->user_usec;
        report->system_usec = to_usec(usage.ru_stime) - report->system_usec;
        report->peak_kib = (uint64_t) usage.ru_maxrss;
}

static void make_message(void) {
        for (size_t i = 0; i < self.place.size; i++)
                self.message[i] = (uint8_t) (i * 7 + i / 251);
}

/* The receiver */

static int tell_sender(char what) {
        return write(self.credit_fds[1], &what, 1) == 1 ? 0 : -errno;
}

static bool is_marked(uint64_t n) {
        uint8_t bit = (uint8_t) (1 << n % 8);
        bool was = self.taken[n / 8] & bit;

        self.taken[n / 8] |= bit;
        return was;
}

void program_take(const void *data, size_t size) {
        uint64_t header, n;

        if (size != self.place.size) {
                self.error = -EPROTO;
                return;
        }
        memcpy(&header, data, sizeof(header));
        if ((header & ~IS_LAST) >> ROUND_SHIFT != self.round)
                return; /* it was given up in a round before */
        n = header & ((UINT64_C(1) << ROUND_SHIFT) - 1);
        if (n >= MESSAGES_MAX || is_marked(n)) {
                self.error = -EPROTO;
                return;
        }
        if (n == 0 && memcmp((const uint8_t *) data + sizeof(header), self.message + sizeof(header), size - sizeof(header)) != 0)
                self.error = -EPROTO;
        self.n_out_of_order += n < self.n_next;
        self.n_next = n + 1;
        if (header & IS_LAST)
                self.n_total = n + 1;
        self.n_taken++;
        if (self.window > 0 && self.n_taken % (self.window / 2) == 0)
                self.error = tell_sender('c');
}

static void receiver_arm(const Order *order) {
        self.round = order->round;
        self.n_taken = self.n_next = self.n_out_of_order = 0;
        self.n_total = UINT64_MAX;
        memset(self.taken, 0, MESSAGES_MAX / 8);
}

static int receiver_run(Report *report) {
        uint64_t before;
        int r;

        do {
                before = self.n_taken;
                r = self.library->receive(STALL_MS);
        } while (r >= 0 && self.error >= 0 && self.n_taken < self.n_total && self.n_taken > before);
        end_report(report);
        report->messages = self.n_taken;
        report->out_of_order = self.n_out_of_order;
        (void) tell_sender('E');
        return r < 0 ? r : self.error;
}

/* The sender */

/* 1, 0 at the end of the round, or a negative errno */
static int hear_receiver(void) {
        struct pollfd pollfd = { .fd = self.credit_fds[0], .events = POLLIN };
        char what;

        if (poll(&pollfd, 1, CREDIT_MS) <= 0)
                return -ETIMEDOUT;
        return read(self.credit_fds[0], &what, 1) == 1 ? what != 'E' : -EPIPE;
}

/* 1 when all has been sent, 0 if the receiver has given up, or a negative errno */
static int sender_pump(const Order *order, Report *report) {
        unsigned every = self.place.size < 4096 ? CLOCK_EVERY : 1, room = self.window;
        uint64_t end = now_nsec() + order->duration_nsec;
        bool is_last = false;
        int r = 1;

        for (uint64_t n = 0; r >= 0 && !is_last; n++) {
                uint64_t header;

                if (self.window > 0 && room == 0) {
                        r = self.library->flush();
                        if (r >= 0)
                                r = hear_receiver();
                        if (r <= 0)
                                return r;
                        room = self.window / 2;
                }
                is_last = (n % every == 0 && now_nsec() >= end) || n == MESSAGES_MAX - 1;
                header = (is_last ? IS_LAST : 0) | order->round << ROUND_SHIFT | n;
                memcpy(self.message, &header, sizeof(header));
                r = self.library->send(self.message, self.place.size);
                report->messages = n + 1;
                room--;
        }
        if (r >= 0)
                r = self.library->flush();
        return r < 0 ? r : 1;
}

static int sender_run(const Order *order, Report *report) {
        int r = sender_pump(order, report);

        while (r > 0)
                r = hear_receiver();
        end_report(report);
        return r;
}

/* Both */

static int report_to(int fd, const Report *report) {
        return send(fd, report, sizeof(*report), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

_Noreturn static void child_main(int fd, bool is_receiver) {
        Report report = {};
        Order order;

        self.message = malloc(self.place.size);
        self.taken = is_receiver ? malloc(MESSAGES_MAX / 8) : NULL;
        if (!self.message || (is_receiver && !self.taken))
                _exit(EXIT_FAILURE);
        make_message();
        report.result = is_receiver ? self.library->open_receiver(&self.place) : self.library->open_sender(&self.place);
        while (report_to(fd, &report) >= 0 && report.result >= 0 && recv(fd, &order, sizeof(order), 0) == sizeof(order)) {
                if (is_receiver) {
                        receiver_arm(&order);
                        if (report_to(fd, &(Report) {}) < 0)
                                break;
                }
                begin_report(&report);
                report.result = is_receiver ? receiver_run(&report) : sender_run(&order, &report);
        }
        _exit(report.result < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Their parent */

static int wait_report(int fd, Report *ret_report) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        int r;

        r = poll(&pollfd, 1, REPORT_MS);
        if (r <= 0)
                return r < 0 ? -errno : -ETIMEDOUT;
        if (recv(fd, ret_report, sizeof(*ret_report), 0) != sizeof(*ret_report))
                return -EPIPE;
        return ret_report->result;
}

static int start(bool is_receiver, int *ret_fd) {
        pid_t parent = getpid(), pid;
        Report report;
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                close(fds[0]);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                child_main(fds[1], is_receiver);
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return wait_report(fds[0], &report);
}

static int run_round(int sender_fd, int receiver_fd, const Order *order) {
        Report sender, receiver;
        int r;

        if (send(receiver_fd, order, sizeof(*order), MSG_NOSIGNAL) < 0)
                return -errno;
        r = wait_report(receiver_fd, &receiver);
        if (r < 0)
                return r;
        if (send(sender_fd, order, sizeof(*order), MSG_NOSIGNAL) < 0)
                return -errno;
        r = wait_report(sender_fd, &sender);
        if (r >= 0)
                r = wait_report(receiver_fd, &receiver);
        if (r < 0)
                return r;
        if (receiver.out_of_order > 0 && self.place.size <= IN_ORDER_MAX)
                return -EPROTO;
        printf("{\"messages\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"elapsed_nsec\": %" PRIu64 ", \"peak_kib\": %" PRIu64,
               receiver.messages, sender.messages - receiver.messages, sender.elapsed_nsec, sender.peak_kib + receiver.peak_kib);
        printf(", \"sender_user_usec\": %" PRIu64 ", \"sender_system_usec\": %" PRIu64, sender.user_usec, sender.system_usec);
        printf(", \"receiver_user_usec\": %" PRIu64 ", \"receiver_system_usec\": %" PRIu64 "}\n", receiver.user_usec,
               receiver.system_usec);
        return fflush(stdout) == 0 ? 0 : -errno;
}

static const char *find_way(const char *name) {
        const char *const *way = self.library->ways;

        while (*way && strcmp(*way, name) != 0)
                way++;
        return *way;
}

static int parse(int argc, char **argv) {
        Place *p = &self.place;
        int n = argc >= 3 ? sscanf(argv[1], "%u:%u", &p->port, &p->receive_port) : 0;

        p->size = argc >= 3 ? strtoul(argv[2], NULL, 10) : 0;
        p->way = argc >= 4 ? find_way(argv[3]) : "";
        if (n < 1 || argc > 4 || p->size < sizeof(uint64_t) || p->size > SIZE_MAX_BYTES || !p->way) {
                fprintf(stderr, "usage: %s PORT[:PORT] BYTES [WAY] | --version\nWAY:", argv[0]);
                for (const char *const *way = self.library->ways; *way; way++)
                        fprintf(stderr, " %s", *way);
                fprintf(stderr, "\n");
                return -EINVAL;
        }
        if (n == 1)
                p->receive_port = p->port;
        return 0;
}

int program_main(int argc, char **argv, const Library *library) {
        int sender_fd, receiver_fd, r;
        Order order = {};
        char line[64];

        self.library = library;
        if (argc == 2 && strcmp(argv[1], "--version") == 0) {
                puts(library->get_version());
                return EXIT_SUCCESS;
        }
        r = parse(argc, argv);
        if (r < 0)
                return EXIT_FAILURE;
        self.window = library->window;
        if (self.window > WINDOW_BYTES / self.place.size)
                self.window = (unsigned) (WINDOW_BYTES / self.place.size);
        r = pipe2(self.credit_fds, O_CLOEXEC) < 0 ? -errno : 0;
        if (r >= 0)
                r = start(true, &receiver_fd);
        if (r >= 0)
                r = start(false, &sender_fd);
        while (r >= 0 && fgets(line, sizeof(line), stdin)) {
                order.round = (order.round + 1) & ROUND_MAX;
                order.duration_nsec = strtoull(line, NULL, 10) * 1000000;
                r = run_round(sender_fd, receiver_fd, &order);
        }
        if (r < 0) { /* the two are killed */
                printf("{\"failed\": \"%s\"}\n", r == -EPROTO ? "what arrived is not what was sent" : strerror(-r));
                return EXIT_FAILURE;
        }
        close(sender_fd);
        close(receiver_fd);
        while (wait(NULL) > 0)
                ;
        return EXIT_SUCCESS;
}
