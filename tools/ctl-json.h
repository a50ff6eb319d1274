/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON out of D-Bus messages, with the names that the properties have there. */

#include <stdio.h>

#include "tools/ctl.h"

void ctl_json_write_text(FILE *f, const char *text);

/* Reads an a{sv} of basic types and arrays of strings, writes an object. 0, or a negative errno */
int ctl_json_write_properties(FILE *f, sd_bus_message *m);

/* Prints valid JSON without white space as it is, or for people. */
void ctl_json_print(const Ctl *ctl, const char *text);

/* Reads an a{sv} and prints it as an object. */
int ctl_json_print_properties(const Ctl *ctl, sd_bus_message *m);
