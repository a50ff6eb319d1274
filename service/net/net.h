/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The data plane: listeners, the sockets of all links, and the turn that serves them. Its epoll set is what the service sleeps
 * in. */

#include "service/core/handover.h"

typedef struct Net Net;

/* `out_of_descriptors` is called when accepting has to pause for want of them. */
typedef void (*NetHandler)(void *userdata);
int net_new(Router *router, uint64_t kernel_timeout_usec, NetHandler out_of_descriptors, void *userdata, Net **ret_net);

/* Closes everything at once; nobody is told of the end of a link. */
Net *net_free(Net *n);

/* Listens on an address as people write it. Returns 0, or a negative errno with *ret_why (see address_parse()). */
int net_listen(Net *n, const char *address, const char **ret_why);
/* … or on a descriptor that listens already; it is taken over. -EINVAL: it does not. */
int net_listen_fd(Net *n, int fd);

/* The addresses that are listened on, with the ports that the kernel has chosen: the n-th, or NULL. */
const char *net_get_address(Net *n, size_t index);

/* The service stops: accepts nobody any more, and closes what has not said HELLO yet. */
void net_stop(Net *n);

/* What is handed over of a link beside its descriptor and what the router knows */
enum {
        NET_MARK_RESET = 1, /* the kernel has said so, and says it only once */
};

/* All links in one order, between two turns. The descriptors stay ours. */
typedef struct NetLinks {
        size_t n;
        Link **links;
        int *fds;
        uint8_t *marks;
} NetLinks;

#define NET_LINKS_NULL ((NetLinks) {})

/* Returns 0, or -ENOMEM. */
int net_get_links(Net *n, NetLinks *ret_links);
void net_links_deinit(NetLinks *links);

/* Descriptors of links that another service has had, for handover_restore(): owned until they are given to a data plane. */
typedef struct NetPassed {
        size_t n;
        HandoverLink *links;
} NetPassed;

#define NET_PASSED_NULL ((NetPassed) {})

/* Takes the descriptors over, also when it fails: 0; -EINVAL: one is no stream socket; -ENOMEM. */
int net_passed_init(NetPassed *passed, const int *fds, const uint8_t *marks, size_t n);
/* Closes those that were not given on. */
void net_passed_deinit(NetPassed *passed);

/* They become the data plane's: after handover_restore() and before the first turn. */
void net_adopt(Net *n, NetPassed *passed);

/* For new links */
void net_set_kernel_timeout(Net *n, uint64_t usec);

/* Before it sleeps it polls for up to so long, while traffic is brisk (spin.h); 0: never. */
void net_set_spin(Net *n, uint64_t usec);

/* The control plane's descriptor, which is waited for beside the links. Returns 0 or a negative errno. */
int net_set_control(Net *n, int fd);

/* A turn: reads what is ready, up to a budget, does what is due, writes. If it may sleep it waits until there is something to
 * do. Also call it, and not to sleep, after anything that the control plane did to the router, so that it goes out. Returns
 * whether the control plane's descriptor may be readable. */
bool net_turn(Net *n, bool may_sleep);

/* CLOCK_MONOTONIC, in usec */
uint64_t net_now(void);
