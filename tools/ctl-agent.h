/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* polkit's agent for terminals, which asks for the password where no desktop does. */

#include "tools/ctl.h"

/* Starts it if it is of any use here. Without it, polkit refuses, which is told then. */
void ctl_agent_open(const Ctl *ctl);
void ctl_agent_close(void);
