/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The small objects: the hash table, the inbox, the questions' deadlines, the watches, the addresses. */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "client/address.h"
#include "client/inbox.h"
#include "client/map.h"
#include "client/questions.h"
#include "client/util.h"
#include "client/watches.h"
#include "tests/unit/run-tests.h"

START_TEST(test_map) {
        enum { N = 1000 };
        static MapNode nodes[N], same[3];
        size_t n = 0;
        Map map = {};

        ck_assert_ptr_null(map_any(&map));
        for (size_t i = 0; i < N; i++)
                map_insert(&map, &nodes[i], i * 1000);
        for (size_t i = 0; i < 3; i++)
                map_insert(&map, &same[i], 7);
        for (const MapNode *node = NULL; (node = map_next(&map, node));)
                n++;
        ck_assert_uint_eq(n, N + 3);
        for (size_t i = 0; i < N; i++)
                ck_assert_ptr_eq(map_find(&map, i * 1000), &nodes[i]);
        ck_assert_ptr_null(map_find(&map, 8));
        n = 0;
        for (MapNode *node = map_find(&map, 7); node; node = map_find_next(node))
                n++;
        ck_assert_uint_eq(n, 3);
        for (MapNode *node; (node = map_any(&map)); n++)
                map_remove(&map, node);
        ck_assert_uint_eq(n, N + 6);
        map_deinit(&map);
}
END_TEST

static const NoticeType notice_type;

START_TEST(test_inbox) {
        Notice messages[2], others[2];
        Inbox inbox;

        inbox_init(&inbox);
        ck_assert(!inbox_is_waiting(&inbox, true));
        inbox_push(&inbox, &others[0], &notice_type, 10);
        inbox_push_message(&inbox, &messages[0], &notice_type, 10);
        inbox_push(&inbox, &others[1], &notice_type, 10);
        inbox_push_message(&inbox, &messages[1], &notice_type, INBOX_WEIGHT_MAX);
        ck_assert(inbox.full);
        ck_assert_ptr_eq(inbox_pop(&inbox, true), &others[0]);
        ck_assert_ptr_eq(inbox_pop(&inbox, true), &messages[0]);
        ck_assert_ptr_eq(inbox_pop(&inbox, true), &others[1]);
        ck_assert(inbox.full); /* not before half of it is gone */
        ck_assert(!inbox_is_waiting(&inbox, false));
        ck_assert_ptr_null(inbox_pop(&inbox, false));
        ck_assert_ptr_eq(inbox_pop_message(&inbox), &messages[1]);
        ck_assert(!inbox.full);
        ck_assert_uint_eq(inbox.weight, 0);
        inbox_push(&inbox, &others[0], &notice_type, 10); /* the ends of the queues are right */
        ck_assert_ptr_eq(inbox_pop(&inbox, true), &others[0]);
        ck_assert_ptr_null(inbox_pop(&inbox, true));
}
END_TEST

static uint64_t finished[512];
static size_t n_finished;

static void on_finished(Question *q, void *userdata) {
        finished[n_finished++] = q->deadline;
        question_free(q);
}

START_TEST(test_questions) {
        enum { N = 300 };
        Questions questions;
        Question *all[N];

        questions_init(&questions, on_finished, NULL);
        ck_assert_uint_eq(questions_get_deadline(&questions), USEC_NEVER);
        for (size_t i = 0; i < N; i++) {
                all[i] = question_new(QUESTION_CALL);
                all[i]->deadline = i % 10 == 0 ? USEC_NEVER : (i * 7919) % 1000 + 1;
                all[i]->target = i % 3 + 1;
                ck_assert_int_eq(questions_add(&questions, all[i]), 0);
                ck_assert_ptr_eq(questions_find(&questions, question_get_tag(all[i])), all[i]);
        }
        for (size_t i = 5; i < N; i += 7) { /* out of the middle of the heap */
                questions_remove(&questions, all[i]);
                question_free(all[i]);
        }
        questions_expire(&questions, 500);
        ck_assert_uint_gt(n_finished, 0);
        ck_assert_uint_gt(questions_get_deadline(&questions), 500);
        questions_expire(&questions, 1001);
        for (size_t i = 1; i < n_finished; i++)
                ck_assert_uint_le(finished[i - 1], finished[i]);
        ck_assert_uint_eq(questions_get_deadline(&questions), USEC_NEVER);
        n_finished = 0;
        questions_finish_calls(&questions, 1, -EPIPE);
        ck_assert_uint_gt(questions.n_calls, 0);
        ck_assert_uint_gt(n_finished, 0);
        questions_finish_all(&questions, -ECONNRESET);
        ck_assert_uint_eq(questions.n_calls, 0);
        questions_deinit(&questions);
}
END_TEST

static unsigned n_on, n_off;

static void on_ask(uint64_t id, bool on, bool is_gone, void *userdata) {
        if (on)
                n_on++;
        else
                n_off++;
}

START_TEST(test_watches) {
        Watches watches;

        watches_init(&watches, on_ask, NULL);
        ck_assert_int_eq(watches_use(&watches, 5), 0);
        ck_assert_int_eq(watches_use(&watches, 5), 0);
        ck_assert_int_eq(watches_set(&watches, 5, true), 0);
        ck_assert_uint_eq(n_on, 1);
        ck_assert(watches_is_wanted(&watches, 5));
        watches_unuse(&watches, 5);
        watches_unuse(&watches, 5);
        ck_assert_int_eq(watches_set(&watches, 5, false), 0);
        ck_assert(!watches_is_wanted(&watches, 5));
        ck_assert_uint_eq(n_off, 0); /* idle, for the next call */
        ck_assert_int_eq(watches_use(&watches, 5), 0);
        ck_assert_uint_eq(n_on, 1);
        watches_unuse(&watches, 5);
        for (uint64_t id = 100; id < 100 + WATCHES_IDLE_MAX; id++) {
                ck_assert_int_eq(watches_use(&watches, id), 0);
                watches_unuse(&watches, id);
        }
        ck_assert_uint_eq(n_off, 1); /* the longest idle one had to go */
        ck_assert_ptr_null(watches_find(&watches, 5));
        ck_assert_int_eq(watches_set(&watches, 0, true), 0);
        ck_assert(watches_is_wanted(&watches, 12345));
        n_on = 0;
        watches_renew(&watches);
        ck_assert_uint_eq(n_on, WATCHES_IDLE_MAX + 1);
        watches_forget(&watches, 100);
        watches_unuse(&watches, 100);
        watches_deinit(&watches);
}
END_TEST

START_TEST(test_addresses) {
        static const char *const bad[] = { ":1",     "host:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:1x", "[::1",
                                           "[::1]1", "[]:1",  "unix:",       "unix:relative",   "::1" };
        const struct sockaddr_in6 *in6;
        const struct sockaddr_in *in;
        const struct sockaddr_un *un;
        AddressList list;

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                ck_assert_msg(address_list_resolve(bad[i], &list) < 0, "%s", bad[i]);
        ck_assert_int_eq(address_list_resolve("127.0.0.1", &list), 0);
        in = (const struct sockaddr_in *) &list.addresses[0].storage;
        ck_assert_uint_eq(list.n_addresses, 1);
        ck_assert_uint_eq(ntohs(in->sin_port), 20000);
        ck_assert_int_eq(address_list_resolve("127.0.0.1:65535", &list), 0);
        ck_assert_int_eq(address_list_resolve("[::1]:77", &list), 0);
        in6 = (const struct sockaddr_in6 *) &list.addresses[0].storage;
        ck_assert_int_eq(in6->sin6_family, AF_INET6);
        ck_assert_uint_eq(ntohs(in6->sin6_port), 77);
        ck_assert_int_eq(address_list_resolve("unix:/a/b", &list), 0);
        un = (const struct sockaddr_un *) &list.addresses[0].storage;
        ck_assert_str_eq(un->sun_path, "/a/b");

        setenv("DIRECTSERVER", "127.0.0.1:5", 1);
        ck_assert_int_eq(address_list_resolve(NULL, &list), 0);
        in = (const struct sockaddr_in *) &list.addresses[0].storage;
        ck_assert_uint_eq(ntohs(in->sin_port), 5);
        unsetenv("DIRECTSERVER");
        setenv("XDG_RUNTIME_DIR", "/x", 1);
        ck_assert_int_eq(address_list_resolve(NULL, &list), 0);
        ck_assert_uint_eq(list.n_addresses, 3);
        un = (const struct sockaddr_un *) &list.addresses[0].storage;
        ck_assert_str_eq(un->sun_path, "/x/directserver.sock");
        ck_assert_int_eq(list.addresses[2].storage.ss_family, AF_INET);
}
END_TEST

TEST_MAIN("client-tables", test_map, test_inbox, test_questions, test_watches, test_addresses)
