/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every object of the library needs and no one owns: time, saturating sums, intrusive lists. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_NEVER UINT64_MAX

#define container_of(ptr, type, member) ((type *) (void *) ((char *) (ptr) - offsetof(type, member)))
#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* system.c: the monotonic clock; what changes with each tick of the kernel (1 to 10 ms), and takes a seventh of that to ask for;
 * and a number to begin with, for spreading things, not for secrets */
uint64_t usec_now(void);
uint64_t tick_now(void);
uint64_t random_seed(void);

/* USEC_NEVER stays what it is. */
static inline uint64_t usec_add(uint64_t a, uint64_t b) {
        return b > USEC_NEVER - a ? USEC_NEVER : a + b;
}

static inline uint64_t usec_min(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static inline int close_fd(int fd) {
        if (fd >= 0)
                close(fd);
        return -1;
}

static inline void close_fdp(int *fd) {
        close_fd(*fd);
}

static inline void freep(void *p) {
        free(*(void **) p);
}

#define _cleanup_free_ __attribute__((cleanup(freep)))
#define _cleanup_close_ __attribute__((cleanup(close_fdp)))

/* A member of a doubly linked list, and the list itself: an empty one points to itself. */
typedef struct List {
        struct List *previous;
        struct List *next;
} List;

static inline void list_init(List *l) {
        l->previous = l->next = l;
}

static inline bool list_is_empty(const List *l) {
        return l->next == l;
}

static inline void list_append(List *list, List *member) {
        member->previous = list->previous;
        member->next = list;
        list->previous->next = member;
        list->previous = member;
}

static inline void list_prepend(List *list, List *member) {
        list_append(list->next, member);
}

/* Leaves the member as a list of its own, so that taking it out twice does no harm. */
static inline void list_remove(List *member) {
        member->previous->next = member->next;
        member->next->previous = member->previous;
        list_init(member);
}
