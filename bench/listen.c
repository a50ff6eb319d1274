/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where both relays listen. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/listen.h"
#include "protocol/loopback.h"

int listen_somewhere(uint16_t *ret_port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int fd;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, LOOPBACK_CONGESTION, strlen(LOOPBACK_CONGESTION)); /* as the service does */
        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &size) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        *ret_port = ntohs(address.sin_port);
        return fd;
}
