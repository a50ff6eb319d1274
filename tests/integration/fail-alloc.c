/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Preloaded into a program, counts the allocations of all of its libraries and fails some of them. Which ones is said in a file
 * that the test has mapped as well (FAIL_ALLOC_CONTROL=PATH), so that it can begin and end at any time: see class Failing in
 * failing.py. What a library takes whose file's name contains FAIL_ALLOC_SPARE= does not count. With FAIL_ALLOC_TRACE=1 each
 * failure says on stderr where it was.
 *
 * The C library calls these functions where it allocates by itself (asprintf(), opendir(), tsearch()). What the sanitizers put in
 * the place of strdup() does not, so these are here too. For programs of one thread. */

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum { FRAMES_MAX = 32 };

typedef struct Control {
        uint64_t on;         /* 0: nothing is counted, and nothing fails */
        uint64_t first, end; /* these fail, counted from 1 */
        uint64_t n;          /* allocations so far */
        uint64_t n_failed;
} Control;

static Control *control;
static const char *spared;
static bool is_tracing;

/* Before main(), so that nothing is missed that a program does itself */
__attribute__((constructor)) static void set_up(void) {
        const char *path = getenv("FAIL_ALLOC_CONTROL");
        void *frame[1], *mapping;
        int fd;

        if (!path || control)
                return;
        spared = getenv("FAIL_ALLOC_SPARE");
        is_tracing = backtrace(frame, 1) > 0 && getenv("FAIL_ALLOC_TRACE"); /* the first call takes memory */
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                abort();
        mapping = mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapping == MAP_FAILED)
                abort();
        close(fd);
        control = mapping;
}

static bool is_spared(void *const *frames, int n) {
        Dl_info info;

        for (int i = 0; spared && i < n; i++)
                if (dladdr(frames[i], &info) && strstr(info.dli_fname, spared))
                        return true;
        return false;
}

static void trace(void *const *frames, int n) {
        static const char text[] = "An allocation fails:\n";

        (void) !write(STDERR_FILENO, text, sizeof(text) - 1);
        backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static bool fails(void) {
        void *frames[FRAMES_MAX];
        int n;

        if (!control || !control->on)
                return false;
        n = backtrace(frames, FRAMES_MAX);
        if (is_spared(frames, n))
                return false;
        control->n++;
        if (control->n < control->first || control->n >= control->end)
                return false;
        control->n_failed++;
        if (is_tracing)
                trace(frames, n);
        errno = ENOMEM;
        return true;
}

static void *real(const char *name) {
        void *function = dlsym(RTLD_NEXT, name);

        if (!function)
                abort();
        return function;
}

PUBLIC void *malloc(size_t size) {
        static void *(*next)(size_t);

        if (!next)
                next = real("malloc");
        return fails() ? NULL : next(size);
}

PUBLIC void *calloc(size_t n, size_t size) {
        static void *(*next)(size_t, size_t);

        if (!next)
                next = real("calloc");
        return fails() ? NULL : next(n, size);
}

PUBLIC void *realloc(void *p, size_t size) {
        static void *(*next)(void *, size_t);

        if (!next)
                next = real("realloc");
        return size > 0 && fails() ? NULL : next(p, size); /* of 0 bytes it frees */
}

PUBLIC void *reallocarray(void *p, size_t n, size_t size) {
        size_t product;

        if (__builtin_mul_overflow(n, size, &product)) {
                errno = ENOMEM;
                return NULL;
        }
        return realloc(p, product);
}

PUBLIC int posix_memalign(void **ret, size_t alignment, size_t size) {
        static int (*next)(void **, size_t, size_t);

        if (!next)
                next = real("posix_memalign");
        return fails() ? ENOMEM : next(ret, alignment, size);
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size) {
        static void *(*next)(size_t, size_t);

        if (!next)
                next = real("aligned_alloc");
        return fails() ? NULL : next(alignment, size);
}

static char *copy_text(const char *text, size_t n) {
        char *copy = malloc(n + 1);

        if (!copy)
                return NULL;
        memcpy(copy, text, n);
        copy[n] = '\0';
        return copy;
}

PUBLIC char *strdup(const char *text) {
        return copy_text(text, strlen(text));
}

PUBLIC char *strndup(const char *text, size_t size) {
        return copy_text(text, strnlen(text, size));
}
