/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the service may be: from "HOST:PORT", "unix:/PATH" or nothing to a list of socket addresses. */

#include <stddef.h>
#include <sys/socket.h>

typedef struct Address {
        struct sockaddr_storage storage;
        socklen_t size;
} Address;

enum { ADDRESS_LIST_MAX = 16 }; /* a host with more addresses than that is tried at its first ones */

typedef struct AddressList {
        Address addresses[ADDRESS_LIST_MAX];
        size_t n_addresses;
} AddressList;

/* `text` NULL: $DIRECTSERVER, else the local sockets, else the loopback address, to be tried in this order. Resolving a host
 * name blocks. 0, or -EINVAL: not an address, -EHOSTUNREACH: no such host, -EAGAIN: the resolver can't say now, -ENAMETOOLONG:
 * of a path. */
int address_list_resolve(const char *text, AddressList *ret);
