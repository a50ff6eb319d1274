/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables for people, through libsmartcols, and the pager. */

#include <libsmartcols.h>

#include "tools/ctl.h"

typedef struct CtlColumn {
        const char *name;
        double width; /* as libsmartcols has it */
        int flags;    /* SCOLS_FL_* */
} CtlColumn;

/* NULL-terminated by the name. 0 or a negative errno */
int ctl_table_new(const Ctl *ctl, const CtlColumn *columns, struct libscols_table **ret_table);

/* Adds a line with copies of the texts, which may be NULL, and their count that of the columns. `ret_line` may be NULL. */
int ctl_table_add(struct libscols_table *table, const char *const *texts, struct libscols_line **ret_line);

static inline void ctl_table_unrefp(struct libscols_table **table) {
        scols_unref_table(*table);
}

/* Of stdout; 0: it is no terminal */
size_t ctl_terminal_width(void);

/* Sends what is printed from here on through a pager if stdout is a terminal with fewer lines than these. */
void ctl_pager_open(const Ctl *ctl, size_t n_lines);

/* Waits until the user has left it. */
void ctl_pager_close(void);
