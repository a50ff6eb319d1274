/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files that make up the configuration, in the order in which they are read. */

#include <stddef.h>

typedef struct ConfigFiles {
        char **paths;
        size_t n;
} ConfigFiles;

#define CONFIG_FILES_NULL ((ConfigFiles) {})

void config_files_deinit(ConfigFiles *files);

/* `base` and the drop-ins of base.d/, which end in .conf and come in the order of their names. `vendor_base` NULL: `base` must
 * be there. Else vendor_base stands in for a base that is missing (both may be), and the drop-ins of vendor_base.d/ are sorted
 * in with those of base.d/; one of the same name in base.d/ replaces it. What is a link to /dev/null is left out. All files
 * that are returned are plain files that can be read. Returns 0, or a negative errno with *ret_error, one line for people
 * (NULL if memory ran out). */
int config_files_find(const char *base, const char *vendor_base, ConfigFiles *ret_files, char **ret_error);
