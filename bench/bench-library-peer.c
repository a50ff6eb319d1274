/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the process, the socket that its orders go over, and the memory that its figures are in. The process dies with its parent.
 * It is ended with SIGKILL, so that one that is stopped, or stuck in a call, can be ended as well. */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench-library-peer.h"

uint64_t peer_now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

void *peer_share(size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        return p == MAP_FAILED ? NULL : p;
}

/* The peer */

static int send_unreliable(PeerSelf *self, uint64_t target, uint16_t kind, const void *data, size_t size) {
        static const DirectSendOptions options = { .flags = DIRECT_SEND_UNRELIABLE };

        return direct_send_with(self->client, target, kind, data, size, &options, sizeof(options));
}

int self_turn(PeerSelf *self, uint64_t usec) {
        int r = 0;

        if (!self->has_more)
                r = direct_wait(self->client, usec);
        if (r >= 0)
                r = direct_process(self->client);
        if (r < 0)
                return r;
        self->has_more = r > 0;
        return self->error;
}

int self_send(PeerSelf *self, uint64_t target, uint16_t kind, const void *data, size_t size, bool unreliable) {
        int r;

        for (;;) {
                r = unreliable ? send_unreliable(self, target, kind, data, size) :
                                 direct_send(self->client, target, kind, data, size);
                if (r != -EAGAIN)
                        break;
                self->is_blocked = true;
                while (self->is_blocked) {
                        r = self_turn(self, DIRECT_FOREVER);
                        if (r < 0)
                                return r;
                }
        }
        if (r >= 0 && kind != KIND_LAST)
                self->figures->n_sent++;
        return r;
}

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        PeerSelf *self = userdata;
        const void *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);
        int r = 0;

        if (direct_message_is_request(message))
                r = direct_reply(client, message, data, size);
        else if (direct_message_get_stream(message) > 0)
                self->saw_end |= direct_message_is_last(message);
        else
                switch (direct_message_get_kind(message)) {
                case KIND_LAST:
                        self->saw_last = true;
                        break;
                case KIND_ANSWER:
                        if (self->on_answer)
                                self->on_answer(self, data, size);
                        break;
                case KIND_ECHO:
                        r = direct_send(client, direct_message_get_source(message), KIND_ANSWER, data, size);
                        /* fall through */
                default:
                        self->figures->n_taken++;
                }
        if (r < 0)
                self->error = r;
        direct_message_free(message);
}

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        PeerSelf *self = userdata;

        switch (event->type) {
        case DIRECT_EVENT_WRITABLE:
                self->is_blocked = false;
                break;
        case DIRECT_EVENT_UNDELIVERED:
                self->error = event->error;
                break;
        case DIRECT_EVENT_DISCONNECTED:
        case DIRECT_EVENT_FAILED:
                self->error = -ECONNRESET;
                break;
        default:
                break;
        }
}

static int self_connect(PeerSelf *self, const char *address, uint64_t send_buffer) {
        int r;

        r = direct_client_new(&self->client);
        if (r < 0)
                return r;
        /* So that a file comes in parts, however small it is */
        direct_set_max_message(self->client, 65536);
        if (send_buffer > 0)
                direct_set_send_buffer(self->client, send_buffer);
        direct_set_message_handler(self->client, on_message, self);
        direct_set_event_handler(self->client, on_event, self);
        r = direct_connect(self->client, address);
        if (r >= 0)
                self->figures->id = direct_get_id(self->client);
        return r;
}

static int self_report(int fd, int result) {
        return send(fd, &result, sizeof(result), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int self_obey(PeerSelf *self, int fd) {
        PeerOrder order;

        if (recv(fd, &order, sizeof(order), 0) != sizeof(order))
                return -EPIPE;
        return self_report(fd, order.task(self, &order));
}

static int self_run(PeerSelf *self, int fd) {
        struct pollfd fds[] = {
                { .fd = direct_get_fd(self->client), .events = POLLIN },
                { .fd = fd, .events = POLLIN },
        };
        int r = 0;

        while (r >= 0) {
                if (poll(fds, 2, self->has_more ? 0 : -1) < 0)
                        return -errno;
                r = self_turn(self, 0);
                if (r >= 0 && fds[1].revents)
                        r = self_obey(self, fd);
        }
        return r;
}

_Noreturn static void self_main(PeerFigures *figures, void *shared, int fd, const char *address, uint64_t send_buffer) {
        PeerSelf self = { .figures = figures, .shared = shared };
        int r;

        r = self_connect(&self, address, send_buffer);
        if (r >= 0)
                r = self_report(fd, 0);
        if (r >= 0)
                r = self_run(&self, fd);
        fprintf(stderr, "A peer has failed: %s %s\n", strerror(-r), direct_get_error(self.client));
        (void) self_report(fd, r);
        _exit(EXIT_FAILURE);
}

/* Its parent */

void peer_stop(Peer *p) {
        if (p->pid > 0) {
                kill(p->pid, SIGKILL);
                while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        if (p->fd >= 0)
                close(p->fd);
        if (p->figures)
                munmap(p->figures, sizeof(*p->figures));
        *p = PEER_NULL;
}

int peer_start(const char *address, uint64_t send_buffer, void *shared, Peer *ret_peer) {
        __attribute__((cleanup(peer_stop))) Peer p = PEER_NULL;
        pid_t parent = getpid();
        int fds[2], r;

        p.figures = peer_share(sizeof(*p.figures));
        if (!p.figures)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        p.fd = fds[0];
        p.pid = fork();
        if (p.pid == 0) {
                close(fds[0]);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                self_main(p.figures, shared, fds[1], address, send_buffer);
        }
        r = p.pid < 0 ? -errno : 0;
        close(fds[1]);
        if (r >= 0)
                r = -clock_getcpuclockid(p.pid, &p.clock);
        if (r >= 0)
                r = peer_wait(&p, 0);
        if (r < 0)
                return r;
        *ret_peer = p;
        p = PEER_NULL;
        return 0;
}

int peer_order(Peer *p, const PeerOrder *order) {
        p->figures->n_done = 0;
        p->figures->round_trips = (Histogram) {};
        return send(p->fd, order, sizeof(*order), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int peer_wait(Peer *p, uint64_t duration_nsec) {
        struct pollfd pollfd = { .fd = p->fd, .events = POLLIN };
        int r, result;

        r = poll(&pollfd, 1, PEER_WAIT_MS + (int) (duration_nsec / 1000000));
        if (r <= 0)
                return r < 0 ? -errno : -ETIMEDOUT;
        if (recv(p->fd, &result, sizeof(result), 0) != sizeof(result))
                return -EPIPE;
        return result;
}

int peer_do(Peer *p, const PeerOrder *order) {
        int r = peer_order(p, order);

        return r < 0 ? r : peer_wait(p, order->duration_nsec);
}

int peer_get_cpu(const Peer *p, uint64_t *ret_nsec) {
        struct timespec ts;

        if (clock_gettime(p->clock, &ts) < 0)
                return -errno;
        *ret_nsec = (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
        return 0;
}

static uint64_t get_status_kib(pid_t pid, const char *key) {
        char path[64], line[256];
        uint64_t kib = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
        f = fopen(path, "re");
        if (!f)
                return 0;
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%" SCNu64, &kib) == 1)
                        break;
        fclose(f);
        return kib;
}

uint64_t peer_get_rss_kib(pid_t pid) {
        return get_status_kib(pid, "VmRSS:");
}

uint64_t peer_get_peak_kib(pid_t pid) {
        return get_status_kib(pid, "VmHWM:");
}
