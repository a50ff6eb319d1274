/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The key of the resume tokens: a credential of the unit, or a file in the state directory. */

#include <stdbool.h>
#include <stdint.h>

/* As credential: its name. As file: made when it is missing. */
#define STATE_KEY_CREDENTIAL "directserver.resume-key"
#define STATE_KEY_FILE "resume-key"

enum {
        STATE_KEY_SIZE = 32,
};

typedef struct StateKey {
        uint8_t bytes[STATE_KEY_SIZE];
        bool is_new;        /* made now, so there are no tokens yet */
        bool is_credential; /* given by the administrator; then the state directory has none, or one that nobody reads */
} StateKey;

/* Under the lock of the directory, whose path is for what is said. Returns 0, or a negative errno with *ret_error: one line for
 * people that names the file, and never has a byte of the key. */
int state_key_load(int dirfd, const char *path, StateKey *ret_key, char **ret_error);
