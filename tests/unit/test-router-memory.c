/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everything at once, with each allocation of the core failing in turn, alone or with all that follow. A failure may refuse a
 * connection or cost the one link that it concerns; fake_net_check() and the sanitizers see to the rest. The linker puts the
 * functions below in place of those of the C library (--wrap). What strndup() and tsearch() allocate inside the library can't be
 * reached so, so they fail whole. */

#include <search.h>
#include <stdio.h>

#include "tests/unit/fake-handover.h"
#include "tests/unit/run-tests.h"

static size_t n_allocations, n_failed, fail_from, fail_to;

static bool fails(void) {
        if (!fake_in_core)
                return false;
        n_allocations++;
        if (n_allocations < fail_from || n_allocations >= fail_to)
                return false;
        n_failed++;
        return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
        return fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
        return fails() ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size) {
        return fails() ? NULL : __real_realloc(p, size);
}

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__real_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size) {
        return fails() ? NULL : __real_strndup(text, size);
}

void *__real_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *)) {
        return fails() ? NULL : __real_tsearch(key, root, compare);
}

enum {
        N_LINKS = 16,
        ALL = SIZE_MAX,
};

static void kick(FakeNet *net, uint64_t id) {
        fake_in_core = true;
        (void) router_kick(net->router, id, "kicked");
        fake_in_core = false;
}

/* So many sessions that the tables grow */
static void crowd(FakeNet *net, size_t n) {
        for (size_t i = 0; i < n; i++)
                fake_hello(fake_open(net), "");
        fake_net_run(net);
}

static void meet(FakeNet *net, FakeLink **l) {
        static const char *const names[] = { "a", "b", "c", "d" };

        for (size_t i = 0; i < 4; i++) {
                l[i] = fake_open(net);
                fake_hello(l[i], names[i]);
                fake_heard(l[i]);
        }
        for (size_t i = 0; i < 4; i++)
                fake_watch(l[0], l[i]->id, true);
        fake_watch(l[1], 0, true);
        fake_watch(l[1], 77, true); /* a ghost */
        fake_watch(l[2], 78, true);
        fake_net_run(net);
}

/* Clients of the time before: those who are watched and those who come back. So many that each way, the tables grow at one of
 * them. */
static void remember(FakeNet *net, FakeLink *watcher) {
        for (uint64_t id = 100; id < 150; id++) {
                FakeLink *l = fake_open(net);
                char name[] = { (char) ('f' + (id - 100) / 26), (char) ('A' + (id - 100) % 26), 0 };

                fake_watch(watcher, 500 + id, true);
                l->id = id;
                fake_token(id, (WireText) { .data = name, .size = 2 }, "", l->token);
                fake_resume(l, l, name);
                fake_net_run(net);
        }
}

static void talk(FakeNet *net, FakeLink **l) {
        fake_stop_taking(l[2]);
        for (size_t i = 0; i < 4; i++) {
                fake_fill(l[0], l[2]->id, 3000);
                fake_fill(l[1], WIRE_TARGET_BROADCAST, 1500);
                fake_simple(l[0], WIRE_ACK, l[2]->id, 1);
                fake_simple(l[2], WIRE_PING, 0, 0);
                fake_ask_u64(l[2], WIRE_ASK_LIST, 0, 1);
                fake_send_bytes(l[3], "\x10\0\0\0\x10", 5);
                fake_net_run(net);
        }
        fake_data(l[0], 4711, 1, "");
        fake_take(l[2], 5000);
        fake_net_run(net);
        fake_net_advance(net, 6 * FAKE_SEC);
}

/* Each end that a link may come to while frames are on their way to it in the same turn */
static void end(FakeNet *net, FakeLink **l) {
        fake_hello(l[4] = fake_open(net), "b");
        fake_data(l[4], l[0]->id, 1, "held back");
        fake_net_run(net);
        fake_close(l[1], LINK_RESET);
        fake_net_run(net);
        fake_close(l[3], LINK_TIMEOUT);
        fake_net_run(net);
        fake_resume(l[5] = fake_open(net), l[3], "d");
        fake_heard(l[5]);
        fake_resume(l[6] = fake_open(net), l[5], "d"); /* while that one is up */
        fake_fill(l[0], l[5]->id, 100);
        fake_heard(l[6]);

        l[7] = fake_open(net);
        l[7]->id = 77;
        fake_token(77, (WireText) { .data = "former", .size = 6 }, "", l[7]->token);
        fake_resume(l[7], l[7], "former");
        fake_heard(l[7]);
        fake_fill(l[0], l[2]->id, 3000);
        fake_simple(l[0], WIRE_ACK, l[2]->id, 2);
        fake_net_run(net);
        kick(net, l[2]->id);
        fake_net_run(net);
        fake_simple(l[6], (WireType) 0xff, 0, 0);
        kick(net, 77);
        fake_net_run(net);
}

/* A link that has missed a frame for want of memory is ended in the same turn by something else. */
static void end_twice(FakeNet *net, FakeLink **l) {
        static const char *const names[] = { "e", "f", "g", "h" };
        FakeLink *sender = fake_open(net);

        fake_hello(sender, "sender");
        fake_net_run(net);
        for (size_t i = 8; i < 12; i++) {
                fake_hello(l[i] = fake_open(net), names[i - 8]);
                fake_heard(l[i]);
                fake_stop_taking(l[i]);
                fake_fill(l[0], l[i]->id, 2000);
                fake_net_run(net);
        }
        for (size_t i = 8; i < 12; i++)
                fake_simple(sender, WIRE_ACK, l[i]->id, 1); /* kept in a chunk of its own, before the backlog */
        fake_simple(l[8], (WireType) 0xff, 0, 0);
        fake_simple(l[9], WIRE_GOODBYE, 0, 0);
        fake_resume(l[12] = fake_open(net), l[10], "g");
        fake_close(l[11], LINK_EOF);
        fake_net_turn(net);
        fake_heard(l[12]);
        fake_simple(l[0], WIRE_PING, 0, 0);
        fake_in_core = true;
        router_stop(net->router);
        fake_in_core = false;
        fake_net_advance(net, 3 * FAKE_SEC);
}

/* It is done, or all stays as it was. */
static void hand_over(FakeNet *net) {
        uint8_t *data;
        size_t size;

        if (fake_net_save(net, &data, &size) < 0)
                return;
        (void) fake_net_take_over(net, data, size);
        free(data);
        fake_net_run(net);
}

/* Returns how many allocations failed. */
static size_t run(size_t from, size_t to) {
        FakeLink *l[N_LINKS] = {};
        FakeNet *net;

        n_allocations = n_failed = 0;
        fail_from = from;
        fail_to = to;
        net = fake_net_new(NULL);
        if (!net)
                return n_failed;
        meet(net, l);
        remember(net, l[0]);
        crowd(net, 20);
        talk(net, l);
        hand_over(net);
        end(net, l);
        crowd(net, 20);
        end_twice(net, l);
        fake_net_free(net);
        return n_failed;
}

START_TEST(each_allocation_fails) {
        size_t n;

        for (n = 1; run(n, n + 1) > 0; n++)
                ;
        ck_assert_uint_gt(n, 300); /* or it does not reach what it is for */
}
END_TEST

START_TEST(all_allocations_fail_from_one_on) {
        for (size_t n = 1; run(n, ALL) > 0; n++)
                ;
}
END_TEST

/* In the middle of talk, one failure: who is up then, and is told who else is? */
static size_t count_lost(size_t from) {
        FakeLink *l[N_LINKS] = {};
        FakeNet *net;
        size_t n_up = 0;

        fail_from = fail_to = 0;
        net = fake_net_new(NULL);
        meet(net, l);
        n_allocations = n_failed = 0;
        fail_from = from;
        fail_to = from + 1;
        talk(net, l);
        for (size_t i = 0; i < 4; i++)
                n_up += l[i]->link && l[i]->link->state == LINK_UP;
        fake_net_free(net);
        return 4 - n_up;
}

START_TEST(one_failure_costs_one_link_at_most) {
        for (size_t n = 1; n == 1 || n_failed > 0; n++)
                ck_assert_uint_le(count_lost(n), 1);
}
END_TEST

TEST_MAIN("router-memory", each_allocation_fails, all_allocations_fail_from_one_on, one_failure_costs_one_link_at_most)
