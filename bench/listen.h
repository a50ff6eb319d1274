/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* Listens on a free port of the loopback address, without blocking. Returns the descriptor, or a negative errno. */
int listen_somewhere(uint16_t *ret_port);
