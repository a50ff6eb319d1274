/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listens to what each client writes and reads, and holds it against the protocol: numbers, credit, sending again, addresses. */

#include "tests/sim/net.h"

void ledger_init(void);
void ledger_deinit(void);
void ledger_attach(Conn *c);
void ledger_detach(Conn *c);
