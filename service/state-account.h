/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file "resumable" of the state directory: which ids may resume after this process. Others are not told that a client is gone
 * before that is in there. */

#include "service/core/idranges.h"

#define STATE_ACCOUNT_FILE "resumable"

typedef enum StateLoss {
        STATE_LOSS_NONE,
        STATE_LOSS_MISSING, /* there is no account, though there was a service before */
        STATE_LOSS_DAMAGED,
        STATE_LOSS_MACHINE, /* the machine was started again, and not after an orderly end of the service */
        STATE_LOSS_KEY,     /* their tokens were made with another key */
        STATE_LOSS_SHARED,  /* another service that runs uses the directory, and keeps its account */
} StateLoss;

enum {
        STATE_ACCOUNT_MARK_SIZE = 32 + 1, /* hexadecimal digits, terminated */
};

typedef struct StateAccount {
        int dirfd;          /* borrowed */
        int fd;             /* where to append; -1: there is no file that could be believed */
        char mark[STATE_ACCOUNT_MARK_SIZE]; /* of the key that those who may resume have their tokens of */
        bool is_kept;       /* false: not by this process; then all below does nothing */
        IdRanges resumable;
        char *text;         /* the lines that are not in the file yet */
        size_t n_text, n_text_allocated;
        bool has_lost_text; /* … are not all of them */
        size_t n_file, n_rewritten; /* its size, and that when it was last written as a whole */
} StateAccount;

#define STATE_ACCOUNT_NULL ((StateAccount) { .dirfd = -1, .fd = -1 })

/* Under the lock of the directory. Reads what there is, and makes it an account of this process. What can't be believed is left
 * out: then nobody may resume, which is safe. `mark` tells the key from others, and does not give it away. Returns 0 or a
 * negative errno. */
int state_account_open(StateAccount *a, int dirfd, const char *mark, StateLoss *ret_loss);
/* An orderly end: what is in the account then counts also if the machine is started again. */
void state_account_close(StateAccount *a);

/* Neither reaches the file before state_account_settle(). The second can't fail. */
int state_account_add(StateAccount *a, IdRange ids);
void state_account_end(StateAccount *a, IdRange ids);

/* Returns when the file has all, for whoever reads it after this process was killed. A negative errno: it could not be written;
 * then it was removed, so that nobody may resume, and is made again when that works. */
int state_account_settle(StateAccount *a);
