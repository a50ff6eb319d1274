/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What each target defines; libFuzzer calls it, or run-corpus.c. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Like assert(), but also with NDEBUG. */
#define fuzz_assert(condition)   \
        do {                     \
                if (!(condition)) \
                        abort(); \
        } while (0)
