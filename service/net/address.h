/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Addresses as people write them: "HOST:PORT", "[IPV6]:PORT", "unix:/PATH". */

#include <stddef.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_MAX = 128 }; /* "unix:" and the longest path, or an IPv6 address with scope and port */

typedef struct Address {
        struct sockaddr_storage storage;
        socklen_t size;
} Address;

/* What `text` stands for: several for a host name. Resolving one blocks. Returns 0 with *ret_addresses (free() it), or a negative
 * errno with *ret_why, a constant text that goes behind the address in a message. */
int address_parse(const char *text, Address **ret_addresses, size_t *ret_n_addresses, const char **ret_why);

/* As people write it; "unix:" for a local socket without a path. */
void address_format(const Address *address, char ret[static ADDRESS_TEXT_MAX]);
