/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the descriptor and the texts of one link. A peer that has closed may have sent a lot before it did: so a failed write only
 * ends the writing, and the link ends when what there is to read has been read. */

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "service/net/socket.h"

enum { IOV_MAX_WRITE = 1024 }; /* UIO_MAXIOV */

/* Since Linux 6.15 (include/uapi/linux/tcp.h); C libraries do not have it yet. */
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

static void describe_local_peer(int fd, char text[static ADDRESS_TEXT_MAX], char principal[static 16]) {
        struct ucred ucred = {};
        socklen_t size = sizeof(ucred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) < 0) {
                snprintf(text, ADDRESS_TEXT_MAX, "unix:");
                return;
        }
        snprintf(text, ADDRESS_TEXT_MAX, "unix:pid=%d,uid=%u", ucred.pid, ucred.uid);
        snprintf(principal, 16, "uid:%u", ucred.uid);
}

static int socket_alloc(int fd, const Address *peer, Socket **ret_socket) {
        char text[ADDRESS_TEXT_MAX], principal[16] = "";
        bool local = peer->storage.ss_family == AF_UNIX;
        Socket *s;

        if (local)
                describe_local_peer(fd, text, principal);
        else
                address_format(peer, text);
        s = malloc(sizeof(*s) + strlen(text) + 1);
        if (!s) {
                close(fd);
                return -ENOMEM;
        }
        *s = (Socket) { .kind = EVENT_SOCKET, .fd = fd, .local = local };
        memcpy(s->principal, principal, sizeof(principal));
        strcpy(s->address, text);
        *ret_socket = s;
        return 0;
}

int socket_new(int fd, const Address *peer, Router *router, Socket **ret_socket) {
        Socket *s;
        int r;

        r = socket_alloc(fd, peer, &s);
        if (r < 0)
                return r;
        r = link_new(router, s, s->address, s->principal, &s->link);
        if (r < 0) {
                socket_free(s);
                return r;
        }
        *ret_socket = s;
        return 0;
}

/* A peer that has been reset meanwhile has no address any more, but its end is still to be read. */
static int find_peer(int fd, Address *ret) {
        socklen_t size;
        int type;

        size = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
                return -EINVAL;
        *ret = (Address) { .size = sizeof(ret->storage) };
        if (getsockname(fd, (struct sockaddr *) &ret->storage, &ret->size) < 0)
                return -errno;
        if (ret->storage.ss_family == AF_UNIX)
                return 0;
        *ret = (Address) { .size = sizeof(ret->storage) };
        if (getpeername(fd, (struct sockaddr *) &ret->storage, &ret->size) < 0)
                *ret = (Address) {};
        return 0;
}

int socket_new_passed(int fd, bool was_reset, Socket **ret_socket) {
        Address peer;
        int r;

        r = find_peer(fd, &peer);
        if (r < 0) {
                close(fd);
                return r;
        }
        r = socket_alloc(fd, &peer, ret_socket);
        if (r >= 0)
                (*ret_socket)->write_broken = (*ret_socket)->was_reset = was_reset;
        return r;
}

Socket *socket_free(Socket *s) {
        if (!s)
                return NULL;
        link_free(s->link);
        if (s->fd >= 0)
                close(s->fd);
        free(s);
        return NULL;
}

/* What an error of the kernel says about the end of a link */
static LinkEnd classify(const Socket *s, int error) {
        switch (error) {
        case EPIPE: /* reset after the peer had closed: it has closed */
                return LINK_EOF;
        case ECONNRESET: /* on the local socket: closed, with bytes unread; there is no network that could have lost it */
                return s->local ? LINK_EOF : LINK_RESET;
        case ETIMEDOUT:
        case EHOSTUNREACH:
        case EHOSTDOWN:
        case ENETUNREACH:
        case ENETDOWN:
                return LINK_TIMEOUT;
        default:
                return LINK_RESET;
        }
}

size_t socket_read(Socket *s, uint8_t *buffer, size_t room) {
        Link *l = s->link;
        size_t n_tail = l->framer.n_tail, size = link_get_read_size(l), n = 0;
        ssize_t k;

        if (size > room - n_tail)
                size = room - n_tail;
        k = recv(s->fd, buffer + n_tail, size, MSG_DONTWAIT);
        if (k > 0)
                n = (size_t) k;
        else if (k == 0) {
                link_end(l, s->was_reset ? LINK_RESET : LINK_EOF);
                return 0;
        } else if (errno != EAGAIN && errno != EINTR) {
                link_end(l, classify(s, errno));
                return 0;
        }
        if (n == 0)
                return 0;
        n += framer_take(&l->framer, buffer);
        link_input(l, buffer, n);
        return n;
}

static size_t iov_size(const struct iovec *iov, size_t n) {
        size_t size = 0;

        for (size_t i = 0; i < n; i++)
                size += iov[i].iov_len;
        return size;
}

/* Most often there is one piece, and send(2) has less to copy and check than sendmsg(2). */
static ssize_t write_pieces(int fd, struct iovec *iov, size_t n) {
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };

        if (n == 1)
                return send(fd, iov[0].iov_base, iov[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void write_output(Socket *s) {
        Link *l = s->link;
        const Turn *turn = &l->router->turn;

        while (!s->write_blocked) {
                struct iovec iov[IOV_MAX_WRITE];
                size_t n = link_get_output(l, turn, iov, IOV_MAX_WRITE), size = iov_size(iov, n);
                ssize_t k;

                if (size == 0)
                        return;
                if (s->write_broken) {
                        link_sent(l, size);
                        continue;
                }
                k = write_pieces(s->fd, iov, n);
                if (k >= 0) {
                        link_sent(l, (size_t) k);
                        s->write_blocked = (size_t) k < size;
                } else if (errno == EAGAIN || errno == ENOBUFS)
                        s->write_blocked = true;
                else if (errno != EINTR) {
                        s->write_broken = true;
                        s->was_reset = classify(s, errno) == LINK_RESET;
                }
        }
}

void socket_flush(Socket *s) {
        Link *l = s->link;

        if (l->state != LINK_DEAD) {
                write_output(s);
                link_keep(l);
        }
        if (l->state == LINK_DEAD)
                return;
        if (link_is_finished(l) && !s->shut) {
                shutdown(s->fd, SHUT_WR);
                s->shut = true;
        }
}

void socket_update(Socket *s, int epoll_fd) {
        struct epoll_event event = { .data.ptr = s };
        bool wants_input = link_wants_input(s->link);
        int operation;

        if (wants_input)
                s->hung = false;
        event.events = (wants_input ? EPOLLIN : EPOLLRDHUP) | (s->write_blocked ? EPOLLOUT : 0);
        if (s->hung)
                operation = EPOLL_CTL_DEL;
        else if (!s->in_epoll)
                operation = EPOLL_CTL_ADD;
        else if (s->mask != event.events)
                operation = EPOLL_CTL_MOD;
        else
                return;
        if (operation == EPOLL_CTL_DEL && !s->in_epoll)
                return;
        if (epoll_ctl(epoll_fd, operation, s->fd, &event) < 0) {
                link_end(s->link, LINK_RESET); /* out of memory, or of watches (fs.epoll.max_user_watches) */
                return;
        }
        s->in_epoll = operation != EPOLL_CTL_DEL;
        s->mask = event.events;
}

/* What the kernel knows */

void socket_set_tcp_options(int fd, uint64_t kernel_timeout_usec) {
        int on = 1, timeout_ms = (int) (kernel_timeout_usec / 1000);
        int idle = timeout_ms / 2000 > 1 ? timeout_ms / 2000 : 1, interval = 1, count = idle + 1;

        /* A kernel without one of these serves as well, only notices a dead host later. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
        /* So that a shut window is probed often enough to tell a dead host from a program that does not read; else it
         * takes minutes. */
        setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &timeout_ms, sizeof(timeout_ms));
}

static bool get_tcp_info(const Link *l, struct tcp_info *ret) {
        const Socket *s = l->userdata;
        socklen_t size = sizeof(*ret);

        memset(ret, 0, sizeof(*ret));
        return !s->local && getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, ret, &size) >= 0;
}

void socket_get_kernel_figures(Link *l, uint32_t *ret_silence_ms, uint32_t *ret_rtt_usec) {
        struct tcp_info info;

        *ret_silence_ms = *ret_rtt_usec = 0;
        if (!get_tcp_info(l, &info))
                return;
        *ret_silence_ms = info.tcpi_last_ack_recv;
        *ret_rtt_usec = info.tcpi_rtt;
}

bool socket_is_pending(const Link *l) {
        const Socket *s = l->userdata;
        int n = 0;

        return !s->local && ioctl(s->fd, SIOCOUTQ, &n) >= 0 && n > 0;
}

/* Since Linux 5.11, TCP_USER_TIMEOUT also ends a connection whose peer acknowledges all probes but keeps its window shut for that
 * long (see tcp_probe_timer()): a program that computes for a minute without reading. What it does not read may all be in buffers
 * of the kernel. So it is off while the output is stalled, and socket_is_dead() asks the kernel instead. */
void socket_set_stalled(Link *l, bool on, uint64_t kernel_timeout_usec) {
        const Socket *s = l->userdata;
        int timeout_ms = on ? 0 : (int) (kernel_timeout_usec / 1000);

        if (!s->local)
                setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

bool socket_is_dead(Link *l, uint64_t kernel_timeout_usec) {
        struct tcp_info info;

        if (l->router->now - l->stalled_usec < kernel_timeout_usec)
                return false; /* it may have been idle before */
        if (!get_tcp_info(l, &info) || info.tcpi_last_ack_recv < kernel_timeout_usec / 1000)
                return false;
        /* A live kernel answers each window probe and each retransmission within a round trip, however rare they have become. */
        return info.tcpi_probes >= 2 || (info.tcpi_retransmits >= 2 && info.tcpi_last_ack_recv > info.tcpi_last_data_sent + 500);
}
