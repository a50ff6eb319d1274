/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The linker puts the functions below in place of those of the C library (--wrap). What strndup() and tsearch() allocate inside
 * the library can't be reached so: they fail whole, and strings are counted as what they return. */

#include <search.h>
#include <string.h>

#include "tests/sim/alloc.h"
#include "tests/sim/world.h"
#include "tests/unit/fake-net.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void __real_free(void *p);
void *__real_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void __wrap_free(void *p);
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));

unsigned alloc_inside;

/* A set of addresses: open addressing, never more than half full */
static struct {
        void **slots;
        size_t n, mask;
        Rng rng;
        unsigned permyriad;
        uint64_t n_failed;
} alloc;

static size_t alloc_slot(const void *p) {
        size_t i = (size_t) (((uintptr_t) p >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & alloc.mask;

        while (alloc.slots[i] && alloc.slots[i] != p)
                i = (i + 1) & alloc.mask;
        return i;
}

static void alloc_grow(void) {
        void **slots = alloc.slots;
        size_t n_slots = slots ? alloc.mask + 1 : 0;

        alloc.mask = n_slots ? n_slots * 2 - 1 : 4095;
        alloc.slots = sim_must(__real_calloc(alloc.mask + 1, sizeof(void *)));
        for (size_t i = 0; i < n_slots; i++)
                if (slots[i])
                        alloc.slots[alloc_slot(slots[i])] = slots[i];
        __real_free(slots);
}

static bool is_inside(void) {
        return alloc_inside > 0 || fake_in_core;
}

static void *alloc_add(void *p) {
        if (!p || !is_inside())
                return p;
        if (alloc.n * 2 >= alloc.mask)
                alloc_grow();
        alloc.slots[alloc_slot(p)] = p;
        alloc.n++;
        return p;
}

/* True if it was there. Those behind it that are not in their places any more move up. */
static bool alloc_remove(void *p) {
        size_t hole, i;

        if (!p || alloc.n == 0)
                return false;
        hole = alloc_slot(p);
        if (!alloc.slots[hole])
                return false;
        alloc.slots[hole] = NULL;
        alloc.n--;
        for (i = (hole + 1) & alloc.mask; alloc.slots[i]; i = (i + 1) & alloc.mask) {
                void *moving = alloc.slots[i];

                alloc.slots[i] = NULL;
                alloc.slots[alloc_slot(moving)] = moving;
        }
        return true;
}

static bool fails(void) {
        if (alloc.permyriad == 0 || !is_inside() || rng_below(&alloc.rng, 10000) >= alloc.permyriad)
                return false;
        alloc.n_failed++;
        return true;
}

void alloc_set_failing(uint64_t seed, unsigned permyriad) {
        alloc.rng = rng_derive(seed, 3);
        alloc.permyriad = permyriad;
}

uint64_t alloc_get_failed(void) {
        return alloc.n_failed;
}

size_t alloc_count(void) {
        return alloc.n;
}

void alloc_forget(void) {
        __real_free(alloc.slots);
        memset(&alloc, 0, sizeof(alloc));
}

void *__wrap_malloc(size_t size) {
        return fails() ? NULL : alloc_add(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size) {
        return fails() ? NULL : alloc_add(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size) {
        bool was_inside;
        void *q;

        if (fails())
                return NULL;
        was_inside = alloc_remove(p);
        q = __real_realloc(p, size);
        return was_inside || !p ? alloc_add(q) : q;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        size_t total;

        return __builtin_mul_overflow(n, size, &total) ? NULL : __wrap_realloc(p, total);
}

char *__wrap_strdup(const char *text) {
        return fails() ? NULL : alloc_add(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t size) {
        return fails() ? NULL : alloc_add(__real_strndup(text, size));
}

void __wrap_free(void *p) {
        (void) alloc_remove(p);
        __real_free(p);
}

void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *)) {
        return fails() ? NULL : __real_tsearch(key, root, compare);
}
