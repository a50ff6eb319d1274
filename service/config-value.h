/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Configuration values: from text as people write it to numbers, and whether two are the same. */

#include <stdbool.h>
#include <stdint.h>

/* A kind of value. parse() stores at `field`, replacing (and freeing) what is there, only if it succeeds; it returns 0,
 * -EINVAL if the text is no such value, or -ENOMEM. */
typedef struct ValueType {
        int (*parse)(const char *text, void *field);
        bool (*equal)(const void *a, const void *b);
        bool is_number;        /* the field is a u64 that has bounds */
        const char *complaint; /* goes between "KEY=TEXT" and an example */
} ValueType;

extern const ValueType value_number;         /* uint64_t: 16384 */
extern const ValueType value_size;           /* uint64_t, bytes: 65536, 256K, 1M, 2G; powers of 1024 */
extern const ValueType value_seconds;        /* uint64_t, usec: 10, 2.5, 500ms, 1min 30s; a plain number is seconds */
extern const ValueType value_milliseconds;   /* the same, but a plain number is milliseconds */
extern const ValueType value_microseconds;   /* … microseconds */
extern const ValueType value_seconds_or_never; /* seconds; "infinity" is 0 */
extern const ValueType value_bus;            /* BusKind */
extern const ValueType value_listen;         /* char **: addresses between white space; none: NULL */

char **value_listen_free(char **listen);
