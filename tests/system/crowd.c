/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A crowd of clients that talk all the time, while others do something to their service. Each sends numbered messages to the next
 * one of its process, at a rate that all keep together, and checks what it gets: once, in order, whole. A message has the time
 * at which it was due, also where it could be sent later only, so the longest delay is the pause that programs have noticed.
 *
 *   crowd --address=ADDRESS [--clients=N] [--processes=N] [--rate=MESSAGES/S] [--size=MAX]
 *
 * It says "ready" when all are connected. To each line on stdin it answers with one line of JSON: the counts so far, and the
 * longest delay since the answer before. At the end of stdin it sends no more, waits until all has arrived and all senders know,
 * and ends with a last line. What must not be is said on stderr, and is its exit status. */

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <directclient.h>

enum {
        TICK_MS = 5,
        EVENTS_MAX = 256,
        SIZE_MAX_BYTES = 65536, /* what fits one frame: only such messages are ordered among each other */
        PATIENCE_SECONDS = 60,
        WRONG_MAX = 20, /* said by each process; the rest is only counted */
};

typedef struct Head {
        uint64_t due_usec; /* CLOCK_MONOTONIC */
        uint32_t sender, number;
} Head;

/* Shared by all processes */
typedef struct Counts {
        _Atomic uint64_t connected;    /* that a client was connected, resumed sessions included */
        _Atomic uint64_t disconnected; /* links that were lost or closed */
        _Atomic uint64_t sent, delivered, received, wrong;
        _Atomic uint64_t refused;     /* attempts to send that found no room or no link */
        _Atomic uint64_t longest_usec; /* since the last report */
        _Atomic bool stop;
} Counts;

typedef struct Client {
        DirectClient *handle;
        uint64_t id, refused_usec; /* when it could not send what was due, else 0 */
        uint32_t number, n_sent, n_received;
} Client;

static struct {
        const char *address;
        uint32_t n_clients, n_processes, rate, size;
} options = { .n_clients = 100, .n_processes = 2, .rate = 1000, .size = sizeof(Head) };

static Counts *counts;
static Client *clients; /* of this process */
static uint32_t n_clients;
static unsigned n_said;
static uint8_t pattern[SIZE_MAX_BYTES + 256];

static uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static void wrong(const Client *client, const char *what, const char *detail) {
        atomic_fetch_add(&counts->wrong, 1);
        if (n_said++ < WRONG_MAX)
                fprintf(stderr, "client %" PRIu32 " %s %s\n", client->number, what, detail);
}

static void check(const Client *client, const char *what, int r) {
        if (r < 0)
                wrong(client, what, strerror(-r));
}

/* Sizes and contents that follow from who sends it and which it is */
static size_t size_of(uint32_t sender, uint32_t number) {
        return sizeof(Head) + (sender * UINT32_C(2654435761) + number * UINT32_C(40503)) % (options.size - sizeof(Head) + 1);
}

static const uint8_t *contents_of(uint32_t sender, uint32_t number) {
        return pattern + (sender + number) % 256;
}

static void on_event(DirectClient *handle, const DirectEvent *event, void *userdata) {
        Client *client = userdata;

        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                if (client->id != 0 && (event->id != client->id || !event->resumed))
                        wrong(client, "came back as another", "");
                client->id = event->id;
                atomic_fetch_add(&counts->connected, 1);
                break;
        case DIRECT_EVENT_DISCONNECTED:
                atomic_fetch_add(&counts->disconnected, 1);
                break;
        case DIRECT_EVENT_FAILED:
        case DIRECT_EVENT_KICKED:
        case DIRECT_EVENT_UNDELIVERED:
        case DIRECT_EVENT_LOST:
                wrong(client, "was told:", event->text);
                break;
        }
}

static void on_sent(DirectClient *handle, int result, void *userdata) {
        check(userdata, "has failed to send:", result);
        atomic_fetch_add(&counts->delivered, 1);
}

static void on_message(DirectClient *handle, DirectMessage *message, void *userdata) {
        Client *client = userdata;
        const uint8_t *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);
        uint64_t delay, longest;
        char text[100];
        Head head;

        if (size < sizeof(head)) {
                wrong(client, "has received", "a part of a message");
                direct_message_free(message);
                return;
        }
        memcpy(&head, data, sizeof(head));
        if (head.number != client->n_received++) {
                snprintf(text, sizeof(text), "%" PRIu32 " of client %" PRIu32 ", not %" PRIu32, head.number, head.sender,
                         client->n_received - 1);
                wrong(client, "has received", text);
                client->n_received = head.number + 1;
        }
        if (size != size_of(head.sender, head.number) ||
            memcmp(data + sizeof(head), contents_of(head.sender, head.number), size - sizeof(head)) != 0)
                wrong(client, "has received", "other bytes than were sent");
        delay = now_usec() - head.due_usec;
        longest = atomic_load(&counts->longest_usec);
        while (delay > longest && !atomic_compare_exchange_weak(&counts->longest_usec, &longest, delay))
                ;
        atomic_fetch_add(&counts->received, 1);
        direct_message_free(message);
}

static void send_next(uint32_t index) {
        static uint8_t buffer[SIZE_MAX_BYTES];
        Client *client = &clients[index];
        Head head = { .due_usec = client->refused_usec ?: now_usec(), .sender = client->number, .number = client->n_sent };
        size_t size = size_of(head.sender, head.number);
        int r;

        memcpy(buffer, &head, sizeof(head));
        memcpy(buffer + sizeof(head), contents_of(head.sender, head.number), size - sizeof(head));
        r = direct_send_async(client->handle, clients[(index + 1) % n_clients].id, 1, buffer, size, on_sent, client);
        if (r == -EAGAIN || r == -ENOTCONN) {
                client->refused_usec = head.due_usec;
                atomic_fetch_add(&counts->refused, 1);
                return;
        }
        check(client, "can't send:", r);
        client->refused_usec = 0;
        client->n_sent++;
        atomic_fetch_add(&counts->sent, 1);
}

/* What was due since the last tick, by turns */
static void send_due(void) {
        static uint64_t begun_usec, n_due;
        static uint32_t next;
        uint64_t n;

        if (begun_usec == 0)
                begun_usec = now_usec();
        n = (now_usec() - begun_usec) * options.rate / options.n_processes / 1000000;
        for (; n_due < n; n_due++, next = (next + 1) % n_clients)
                send_next(next);
}

static bool is_settled(void) {
        uint64_t sent = atomic_load(&counts->sent);

        return atomic_load(&counts->delivered) == sent && atomic_load(&counts->received) == sent;
}

static void client_start(Client *client, uint32_t number, int epoll_fd) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

        client->number = number;
        if (direct_client_new(&client->handle) < 0)
                errx(EXIT_FAILURE, "no memory");
        check(client, "handler", direct_set_event_handler(client->handle, on_event, client));
        check(client, "handler", direct_set_message_handler(client->handle, on_message, client));
        check(client, "connect", direct_connect_start(client->handle, options.address));
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, direct_get_fd(client->handle), &event) < 0)
                err(EXIT_FAILURE, "epoll_ctl");
}

static void run_process(uint32_t first, uint32_t n) {
        struct itimerspec tick = { .it_interval.tv_nsec = TICK_MS * 1000000, .it_value.tv_nsec = TICK_MS * 1000000 };
        struct epoll_event event = { .events = EPOLLIN }, ready[EVENTS_MAX];
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC), timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        bool is_open = true;

        n_clients = n;
        clients = calloc(n, sizeof(*clients));
        if (epoll_fd < 0 || timer_fd < 0 || !clients || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event) < 0 ||
            timerfd_settime(timer_fd, 0, &tick, NULL) < 0)
                err(EXIT_FAILURE, "start");
        for (uint32_t i = 0; i < n; i++)
                client_start(&clients[i], first + i, epoll_fd);
        while (is_open) {
                int n_ready = epoll_wait(epoll_fd, ready, EVENTS_MAX, -1);

                for (int i = 0; i < n_ready; i++) {
                        Client *client = ready[i].data.ptr;
                        uint64_t ticks;

                        if (client) {
                                check(client, "process", direct_process(client->handle)); /* the next round has the rest */
                                continue;
                        }
                        (void) !read(timer_fd, &ticks, sizeof(ticks));
                        if (atomic_load(&counts->stop))
                                is_open = !is_settled();
                        else if (atomic_load(&counts->connected) >= options.n_clients)
                                send_due();
                }
        }
        for (uint32_t i = 0; i < n; i++)
                direct_client_free(clients[i].handle);
}

static void start_processes(void) {
        for (uint32_t i = 0; i < options.n_processes; i++) {
                uint32_t first = (uint32_t) ((uint64_t) i * options.n_clients / options.n_processes);
                uint32_t end = (uint32_t) ((uint64_t) (i + 1) * options.n_clients / options.n_processes);
                pid_t pid = fork();

                if (pid < 0)
                        err(EXIT_FAILURE, "fork");
                if (pid == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        run_process(first, end - first);
                        exit(EXIT_SUCCESS);
                }
        }
}

static void report(void) {
        printf("{\"connected\": %" PRIu64 ", \"disconnected\": %" PRIu64 ", \"sent\": %" PRIu64 ", \"delivered\": %" PRIu64
               ", \"received\": %" PRIu64 ", \"refused\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"longest_ms\": %.1f}\n",
               atomic_load(&counts->connected), atomic_load(&counts->disconnected), atomic_load(&counts->sent),
               atomic_load(&counts->delivered), atomic_load(&counts->received), atomic_load(&counts->refused),
               atomic_load(&counts->wrong), (double) atomic_exchange(&counts->longest_usec, 0) / 1e3);
        fflush(stdout);
}

/* Returns whether all processes have ended well. */
static bool wait_for_processes(void) {
        bool good = true;
        int status;

        alarm(PATIENCE_SECONDS); /* ends us, and all with us */
        for (uint32_t i = 0; i < options.n_processes; i++)
                good = wait(&status) > 0 && status == 0 && good;
        return good;
}

static bool parse(int argc, char **argv) {
        static const struct option table[] = {
                { "address", required_argument, NULL, 'a' }, { "clients", required_argument, NULL, 'c' },
                { "processes", required_argument, NULL, 'p' }, { "rate", required_argument, NULL, 'r' },
                { "size", required_argument, NULL, 's' },      {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0) {
                uint32_t number = optarg ? (uint32_t) strtoul(optarg, NULL, 10) : 0;

                if (c == 'a')
                        options.address = optarg;
                else if (c == 'c')
                        options.n_clients = number;
                else if (c == 'p')
                        options.n_processes = number;
                else if (c == 'r')
                        options.rate = number;
                else if (c == 's')
                        options.size = number;
                else
                        return false;
        }
        return optind == argc && options.address && options.n_processes > 0 && options.n_clients >= 2 * options.n_processes &&
               options.size >= sizeof(Head) && options.size <= SIZE_MAX_BYTES;
}

int main(int argc, char **argv) {
        struct rlimit limit;
        char line[100];
        bool good;

        if (!parse(argc, argv))
                errx(EXIT_FAILURE, "usage: crowd --address=ADDRESS [--clients=N] [--processes=N] [--rate=N] [--size=MAX]");
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        for (size_t i = 0; i < sizeof(pattern); i++)
                pattern[i] = (uint8_t) (i * 7 + i / 256);
        counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (counts == MAP_FAILED)
                err(EXIT_FAILURE, "mmap");
        start_processes();
        while (atomic_load(&counts->connected) < options.n_clients && waitpid(-1, NULL, WNOHANG) == 0)
                usleep(1000);
        puts("ready");
        fflush(stdout);
        while (fgets(line, sizeof(line), stdin))
                report();
        atomic_store(&counts->stop, true);
        good = wait_for_processes();
        report();
        return good && atomic_load(&counts->wrong) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
