/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The data plane: listeners, the sockets of all links, and the turn that serves them. It has an epoll set of its own, whose
 * descriptor is one source of the event loop. */

#include "service/core/router.h"

typedef struct Net Net;

/* `out_of_descriptors` is called when accepting has to pause for want of them. */
typedef void (*NetHandler)(void *userdata);
int net_new(Router *router, uint64_t kernel_timeout_usec, NetHandler out_of_descriptors, void *userdata, Net **ret_net);

/* Closes everything at once. */
Net *net_free(Net *n);

/* Listens on an address as people write it. Returns 0, or a negative errno with *ret_why (see address_parse()). */
int net_listen(Net *n, const char *address, const char **ret_why);
/* … or on a descriptor that listens already; it is taken over. -EINVAL: it does not. */
int net_listen_fd(Net *n, int fd);

/* The addresses that are listened on, with the ports that the kernel has chosen: the n-th, or NULL. */
const char *net_get_address(Net *n, size_t index);

/* The service stops: accepts nobody any more, and closes what has not said HELLO yet. */
void net_stop(Net *n);

/* For new links */
void net_set_kernel_timeout(Net *n, uint64_t usec);

/* Readable when there is something to do. */
int net_get_fd(const Net *n);

/* When it must be called at the latest (CLOCK_MONOTONIC, usec). */
uint64_t net_get_deadline(const Net *n);

/* A turn: reads what is ready, up to a budget, does what is due, writes. Also call it after anything that the control plane did to
 * the router, so that it goes out. */
void net_turn(Net *n);

/* CLOCK_MONOTONIC, in usec */
uint64_t net_now(void);
