/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A second, simple account of names, ids, and the epoch, that the router is held against. */

#include <stdbool.h>
#include <stdint.h>

void model_init(void);
void model_deinit(void);
void model_started(unsigned number);
void model_joined(uint64_t id, const char *name, uint64_t epoch);
void model_left(uint64_t id, uint64_t epoch);

/* Was this told rightly, by the start `number` of the service? */
bool model_has_left(unsigned number, uint64_t id, uint64_t epoch); /* at that epoch, or before it */
bool model_is_change(unsigned number, uint64_t id, bool joined, uint64_t epoch);
/* The first id above this one that was ever issued; 0: there is none. */
uint64_t model_next_id(uint64_t after);
/* The name that the client with this id has or had; NULL: there never was one. */
const char *model_get_name(uint64_t id);
