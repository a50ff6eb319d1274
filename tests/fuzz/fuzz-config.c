/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as a configuration file: either a configuration within all bounds, or an error with words. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "protocol/wire.h"
#include "service/config.h"

static void check_config(const Config *config) {
        char *fixed, *changed;

        fuzz_assert(config->bus <= BUS_NONE);
        fuzz_assert(config->max_clients >= 1);
        fuzz_assert(config->ping_interval_usec >= 100000);
        fuzz_assert(config->kernel_timeout_usec >= 1000000);
        fuzz_assert(config->grace_usec / 1000 <= UINT32_MAX);
        fuzz_assert(config->outbox_low > 0 && config->outbox_low < config->outbox_high);
        fuzz_assert(config->initial_credit > 65576 && config->initial_credit <= UINT32_MAX);
        fuzz_assert(!config->listen || config->listen[0]);
        fuzz_assert(config_compare(config, config, &fixed, &changed) == 0 && !*fixed && !*changed);
        free(fixed);
        free(changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char path[64], *error = NULL;
        Config config = CONFIG_NULL;
        int fd, r;

        fd = memfd_create("config", MFD_CLOEXEC);
        fuzz_assert(fd >= 0 && write(fd, data, size) == (ssize_t) size);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = config_load(path, NULL, &config, &error);
        fuzz_assert(r == 0 || (r < 0 && error && wire_text_is_clean(error, strlen(error)) && !config.listen));
        fuzz_assert(r < 0 || !error);
        if (r == 0)
                check_config(&config);
        config_deinit(&config);
        free(error);
        close(fd);
        return 0;
}
