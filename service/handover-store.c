/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One descriptor is stored, whatever the number of links: the end of a pair of local sockets, with all others on their way in it.
 * The manager compares each descriptor that it gets with all that it has, so that one for each link would take it minutes for
 * some thousands, and their names would not fit into the environment.
 *
 *      the first message       1 byte, 0; the memfd with the state, sealed
 *      each that follows       the marks of some descriptors, a byte each; so many descriptors
 *
 * The other end is closed: what is on its way stays, and behind it there is an end. Owns nothing. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "service/handover-store.h"

enum {
        FDS_MAX = 253,                  /* of one message: SCM_MAX_FD of the kernel */
        BARRIER_USEC = 5 * 1000 * 1000, /* for the manager to have taken it: it may be busy with a start of the whole system */
        SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
};

typedef union Control {
        struct cmsghdr header; /* for its alignment */
        uint8_t space[CMSG_SPACE(FDS_MAX * sizeof(int))];
} Control;

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

/* systemd says so by itself since version 254; before, the unit does. */
bool handover_store_is_available(void) {
        const char *socket = getenv("NOTIFY_SOCKET"), *n = getenv("FDSTORE");

        return socket && *socket && n && atoi(n) > 0;
}

/* Storing */

static int write_all(int fd, const uint8_t *data, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}

static int make_state(const uint8_t *data, size_t size, int *ret_fd) {
        __attribute__((cleanup(close_fd))) int fd = memfd_create("directserver-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int send_fds(int socket, const int *fds, const uint8_t *marks, size_t n) {
        struct iovec iov = { .iov_base = (void *) marks, .iov_len = n };
        Control control = {};
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = CMSG_SPACE(n * sizeof(int)),
        };

        control.header = (struct cmsghdr) {
                .cmsg_level = SOL_SOCKET,
                .cmsg_type = SCM_RIGHTS,
                .cmsg_len = CMSG_LEN(n * sizeof(int)),
        };
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
        return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int fill(int socket, int state_fd, const int *fds, const uint8_t *marks, size_t n_fds) {
        int r;

        r = send_fds(socket, &state_fd, &(uint8_t) { 0 }, 1);
        for (size_t i = 0; r >= 0 && i < n_fds; i += FDS_MAX)
                r = send_fds(socket, fds + i, marks + i, n_fds - i < FDS_MAX ? n_fds - i : FDS_MAX);
        return r;
}

int handover_store_put(const uint8_t *data, size_t size, const int *fds, const uint8_t *marks, size_t n_fds) {
        __attribute__((cleanup(close_fd))) int state_fd = -1, in = -1, out = -1;
        int pair[2], r;

        r = make_state(data, size, &state_fd);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        in = pair[0];
        out = pair[1];
        r = fill(in, state_fd, fds, marks, n_fds);
        if (r < 0)
                return r;
        /* Not to be polled: the manager would see the end behind what is in there, and drop it. */
        r = sd_pid_notify_with_fds(0, false, "FDSTORE=1\nFDNAME=" HANDOVER_STORE_NAME "\nFDPOLL=0", &out, 1);
        if (r <= 0)
                return r < 0 ? r : -ENOTCONN;
        return sd_notify_barrier(false, BARRIER_USEC) > 0 ? 0 : 1;
}

/* Taking */

static int reserve(HandoverStored *s, size_t n) {
        int *fds = realloc(s->fds, n * sizeof(*fds));
        uint8_t *marks;

        if (!fds)
                return -ENOMEM;
        s->fds = fds;
        marks = realloc(s->marks, n);
        if (!marks)
                return -ENOMEM;
        s->marks = marks;
        return 0;
}

/* 1, or 0: that was all. */
static int receive_fds(int socket, HandoverStored *s) {
        Control control = {};
        struct iovec iov;
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
        size_t n = 0;
        ssize_t k;
        int r;

        r = reserve(s, s->n_fds + FDS_MAX);
        if (r < 0)
                return r;
        iov = (struct iovec) { .iov_base = s->marks + s->n_fds, .iov_len = FDS_MAX };
        k = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (k < 0)
                return errno == EAGAIN ? 0 : -errno;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                        size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                        memcpy(s->fds + s->n_fds + n, CMSG_DATA(c), n_here * sizeof(int));
                        n += n_here;
                }
        s->n_fds += n;
        if (k == 0 && n == 0)
                return 0;
        /* Cut off: there are fewer descriptors than this process may have */
        return (size_t) k != n || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? -EBADMSG : 1;
}

static int map_state(int fd, HandoverStored *s) {
        struct stat st;
        void *p;
        int seals;

        seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size == 0)
                return -EBADMSG;
        p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        s->data = p;
        s->size = (size_t) st.st_size;
        return 0;
}

static int take_state(int socket, HandoverStored *s) {
        int r;

        r = receive_fds(socket, s);
        if (r >= 0 && s->n_fds != 1)
                r = -EBADMSG;
        if (r < 0)
                return r;
        r = map_state(s->fds[0], s);
        close(s->fds[0]);
        s->n_fds = 0;
        return r;
}

int handover_store_take(int fd, HandoverStored *ret_stored) {
        __attribute__((cleanup(close_fd))) int socket = fd;
        HandoverStored stored = HANDOVER_STORED_NULL;
        int r;

        sd_notify(false, "FDSTOREREMOVE=1\nFDNAME=" HANDOVER_STORE_NAME);
        r = take_state(socket, &stored);
        if (r >= 0)
                do
                        r = receive_fds(socket, &stored);
                while (r > 0);
        if (r < 0) {
                handover_stored_deinit(&stored);
                return r == -ENOTSOCK ? -EBADMSG : r;
        }
        *ret_stored = stored;
        return 0;
}

void handover_stored_deinit(HandoverStored *s) {
        for (size_t i = 0; i < s->n_fds; i++)
                close(s->fds[i]);
        if (s->data)
                munmap((void *) s->data, s->size);
        free(s->fds);
        free(s->marks);
        *s = HANDOVER_STORED_NULL;
}
