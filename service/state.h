/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The state directory: the id counter, the key of the resume tokens, unless that is a credential, and the account of who may
 * resume. Files are replaced atomically (written aside, synced, renamed, directory synced). Two services may share a directory:
 * each change is made under a short lock. The account is kept by the first; the clients of another can't resume after it has
 * ended. */

#include "service/state-account.h"
#include "service/state-key.h"

typedef struct State State;

/* `path` NULL: $STATE_DIRECTORY, else for root /var/lib/directserver, else $XDG_STATE_HOME/directserver, else
 * ~/.local/state/directserver; of these three instances/INSTANCE, if `instance` is not NULL. Makes the directory (0700) and the
 * key (0600, from getrandom) if there are none. Returns 0, or a negative errno with *ret_error: one line for people (free() it)
 * that names the file. A damaged file is such an error: guessing could issue an id twice. */
int state_open(const char *path, const char *instance, State **ret_state, char **ret_error);
State *state_free(State *state);

const uint8_t *state_get_key(const State *state);
bool state_has_credential(const State *state); /* the key is one */
const char *state_get_path(const State *state);

/* Reserves `n` ids that nobody has had or will have: on return [*ret_first, *ret_first + n) are ours, on disk. Returns 0;
 * -EINVAL if n is 0; -EOVERFLOW if there are not as many left; -EUCLEAN if the counter was damaged meanwhile; -ENOSPC, -EROFS
 * and what else writing a file may give. Then no id was reserved, or none that anybody will get. */
int state_reserve_ids(State *state, uint64_t n, uint64_t *ret_first);

/* Who may resume, as far as it is not one of state_reserve_ids(), and why it may be fewer than there were. */
const IdRanges *state_get_resumable(const State *state);
StateLoss state_get_loss(const State *state);

/* These ids were reserved before, and may resume although the account says nothing of them. Returns 0, or -ENOMEM. */
int state_add_resumable(State *state, IdRange ids);

/* These ids may not resume any more. What is final when state_settle() returns: see state_account_settle(). */
void state_end_ids(State *state, IdRange ids);
int state_settle(State *state);
