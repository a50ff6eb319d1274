/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ASK and ANSWER. */

#include "service/core/link.h"

void questions_answer(Link *l, const WireHeader *header, const uint8_t *payload);
