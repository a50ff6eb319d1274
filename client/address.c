/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Parses and resolves addresses. It opens no socket and keeps nothing. */

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "client/address.h"
#include "protocol/wire.h"

#define ADDRESS_LOCAL_SOCKET "/run/directserver/directserver.sock"

static void address_list_add(AddressList *list, const void *address, socklen_t size) {
        Address *a;

        if (list->n_addresses >= ADDRESS_LIST_MAX || size > sizeof(a->storage))
                return;
        a = &list->addresses[list->n_addresses++];
        *a = (Address) { .size = size };
        memcpy(&a->storage, address, size);
}

static int address_list_add_path(AddressList *list, const char *path) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        size_t size = strlen(path);

        if (path[0] != '/')
                return -EINVAL;
        if (size >= sizeof(un.sun_path))
                return -ENAMETOOLONG;
        memcpy(un.sun_path, path, size + 1);
        address_list_add(list, &un, (socklen_t) (offsetof(struct sockaddr_un, sun_path) + size + 1));
        return 0;
}

static int address_list_add_host(AddressList *list, const char *host, const char *port) {
        static const struct {
                int eai;
                int error;
        } errors[] = {
                { EAI_AGAIN, -EAGAIN },
                { EAI_MEMORY, -ENOMEM },
                { EAI_NONAME, -EHOSTUNREACH },
                { EAI_FAIL, -EHOSTUNREACH },
                { EAI_SERVICE, -EINVAL },
        };
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
        int r;

        r = getaddrinfo(host, port, &hints, &found);
        if (r == EAI_SYSTEM)
                return -errno;
        if (r != 0) {
                for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
                        if (errors[i].eai == r)
                                return errors[i].error;
                return -EHOSTUNREACH;
        }
        for (struct addrinfo *a = found; a; a = a->ai_next)
                address_list_add(list, a->ai_addr, a->ai_addrlen);
        freeaddrinfo(found);
        return 0;
}

static bool port_is_valid(const char *port) {
        unsigned long value;
        char *end;

        if (port[0] < '0' || port[0] > '9')
                return false;
        value = strtoul(port, &end, 10);
        return *end == '\0' && value >= 1 && value <= UINT16_MAX;
}

/* "HOST:PORT", "[IPV6]:PORT", "[IPV6]", "HOST" */
static int address_list_add_text(AddressList *list, const char *text) {
        char host[256], port[8]; /* a host name has at most 253 bytes, a port five digits */
        const char *host_start = text, *host_end, *rest;

        if (text[0] == '[') {
                host_start = text + 1;
                host_end = strchr(host_start, ']');
                if (!host_end)
                        return -EINVAL;
                rest = host_end + 1;
        } else
                rest = host_end = text + strcspn(text, ":");
        if (host_end == host_start || (size_t) (host_end - host_start) >= sizeof(host))
                return -EINVAL;
        memcpy(host, host_start, (size_t) (host_end - host_start));
        host[host_end - host_start] = '\0';

        if (rest[0] == '\0')
                snprintf(port, sizeof(port), "%d", WIRE_DEFAULT_PORT);
        else if (rest[0] == ':' && strlen(rest + 1) < sizeof(port) && port_is_valid(rest + 1))
                strcpy(port, rest + 1);
        else
                return -EINVAL;
        return address_list_add_host(list, host, port);
}

static void address_list_add_default(AddressList *list) {
        struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_port = htons(WIRE_DEFAULT_PORT),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const char *directory = getenv("XDG_RUNTIME_DIR");
        char path[sizeof(((struct sockaddr_un *) NULL)->sun_path)];

        if (directory && snprintf(path, sizeof(path), "%s/directserver.sock", directory) < (int) sizeof(path))
                (void) address_list_add_path(list, path); /* a directory that makes no address is one that has no socket */
        (void) address_list_add_path(list, ADDRESS_LOCAL_SOCKET);
        address_list_add(list, &loopback, sizeof(loopback));
}

int address_list_resolve(const char *text, AddressList *ret) {
        AddressList list = {};
        int r = 0;

        if (!text)
                text = getenv("DIRECTSERVER");
        if (!text || text[0] == '\0')
                address_list_add_default(&list);
        else if (strncmp(text, "unix:", 5) == 0)
                r = address_list_add_path(&list, text + 5);
        else
                r = address_list_add_text(&list, text);
        if (r < 0)
                return r;
        *ret = list;
        return 0;
}
