/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The resume token: HMAC-SHA-256 over id, name and principal. */

#include "protocol/wire.h"
#include "service/state.h"

void token_make(const uint8_t key[static STATE_KEY_SIZE], uint64_t id, WireText name, const char *principal,
                uint8_t ret[static WIRE_TOKEN_SIZE]);
