/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Between text and sockaddr, by getaddrinfo(3) and getnameinfo(3). Owns nothing. */

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "service/net/address.h"

static int parse_unix(const char *path, Address **ret_addresses, size_t *ret_n_addresses, const char **ret_why) {
        struct sockaddr_un *sun;
        Address *address;

        if (path[0] != '/') {
                *ret_why = "the path of a local socket begins with /";
                return -EINVAL;
        }
        if (strlen(path) >= sizeof(sun->sun_path)) {
                *ret_why = "the path of a local socket has at most 107 bytes";
                return -ENAMETOOLONG;
        }
        address = calloc(1, sizeof(*address));
        if (!address) {
                *ret_why = "out of memory";
                return -ENOMEM;
        }
        sun = (struct sockaddr_un *) &address->storage;
        sun->sun_family = AF_UNIX;
        strcpy(sun->sun_path, path);
        address->size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
        *ret_addresses = address;
        *ret_n_addresses = 1;
        return 0;
}

static int resolve(const char *host, const char *port, Address **ret_addresses, size_t *ret_n_addresses, const char **ret_why) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
        Address *addresses;
        size_t n = 0;
        int r;

        r = getaddrinfo(host, port, &hints, &list);
        if (r != 0) {
                *ret_why = r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r);
                return -EADDRNOTAVAIL;
        }
        for (struct addrinfo *i = list; i; i = i->ai_next)
                n++;
        addresses = calloc(n, sizeof(*addresses));
        if (!addresses) {
                freeaddrinfo(list);
                *ret_why = "out of memory";
                return -ENOMEM;
        }
        n = 0;
        for (struct addrinfo *i = list; i; i = i->ai_next, n++) {
                memcpy(&addresses[n].storage, i->ai_addr, i->ai_addrlen);
                addresses[n].size = i->ai_addrlen;
        }
        freeaddrinfo(list);
        *ret_addresses = addresses;
        *ret_n_addresses = n;
        return 0;
}

int address_parse(const char *text, Address **ret_addresses, size_t *ret_n_addresses, const char **ret_why) {
        char host[256];
        const char *colon, *begin = text, *end;

        if (strncmp(text, "unix:", 5) == 0)
                return parse_unix(text + 5, ret_addresses, ret_n_addresses, ret_why);

        colon = strrchr(text, ':');
        end = colon;
        if (colon && text[0] == '[' && colon > text && colon[-1] == ']') {
                begin = text + 1;
                end = colon - 1;
        } else if (colon && memchr(text, ':', (size_t) (colon - text))) {
                *ret_why = "an IPv6 address goes in brackets, as in [::1]:20000";
                return -EINVAL;
        }
        if (!colon || end == begin || colon[1] == '\0') {
                *ret_why = "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH";
                return -EINVAL;
        }
        if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535) {
                *ret_why = "a port is a number from 0 to 65535";
                return -EINVAL;
        }
        if ((size_t) (end - begin) >= sizeof(host)) {
                *ret_why = "the host name is too long";
                return -ENAMETOOLONG;
        }
        memcpy(host, begin, (size_t) (end - begin));
        host[end - begin] = '\0';
        return resolve(host, colon + 1, ret_addresses, ret_n_addresses, ret_why);
}

void address_format(const Address *address, char ret[static ADDRESS_TEXT_MAX]) {
        char host[NI_MAXHOST], port[NI_MAXSERV];

        if (address->storage.ss_family == AF_UNIX) {
                const struct sockaddr_un *sun = (const struct sockaddr_un *) &address->storage;
                size_t n = address->size > offsetof(struct sockaddr_un, sun_path) ?
                                   address->size - offsetof(struct sockaddr_un, sun_path) : 0;

                snprintf(ret, ADDRESS_TEXT_MAX, "unix:%.*s", (int) strnlen(sun->sun_path, n), sun->sun_path);
                return;
        }
        if (getnameinfo((const struct sockaddr *) &address->storage, address->size, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                snprintf(ret, ADDRESS_TEXT_MAX, "?");
        else if (address->storage.ss_family == AF_INET6)
                snprintf(ret, ADDRESS_TEXT_MAX, "[%.100s]:%.8s", host, port);
        else
                snprintf(ret, ADDRESS_TEXT_MAX, "%.100s:%.8s", host, port);
}
