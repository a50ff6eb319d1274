/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one router saves and another restores: all of it, and what becomes of it when it is damaged. That nobody notices is
 * tested by all the other tests of the router, which run a second time with a handover after each turn. */

#include <errno.h>
#include <stdio.h>

#include "service/core/handover-records.h"
#include "service/core/handover.h"
#include "tests/unit/fake-handover.h"
#include "tests/unit/run-tests.h"

enum {
        UNKNOWN_RECORD = 4711,
        HEAD_SIZE = 24,
        END_SIZE = 4,
};

static FakeNet *net;
static FakeLink *a, *b, *c; /* 1001, 1002, 1003 */

static void setup(void) {
        RouterConfig config = fake_config();

        config.outbox_high = 600; /* so that there is little to try each byte of */
        config.outbox_low = 300;
        config.sender_share = 300;
        net = fake_net_new(&config);
        net->hands_over = false;
}

static void teardown(void) {
        net = fake_net_free(net);
}

/* Something of everything: who waits for whom, watches, is away, has left unheard, is still to come; half frames both ways,
 * answers that have passed others; a newcomer that has said nothing, one that has said half, and one that waits for a name. */
static void populate(void) {
        FakeLink *away, *waiting, *half;
        WireHello hello = fake_hello_init("half");

        a = fake_client(net, "a");
        b = fake_client(net, "b");
        c = fake_client(net, "c");
        away = fake_client(net, "away");
        strcpy(a->principal, "uid:1");
        fake_watch(a, 0, true);
        fake_watch(a, b->id, true);
        fake_watch(a, away->id, true);
        fake_watch(c, 77, true);
        fake_net_run(net);
        fake_close(away, LINK_TIMEOUT);
        fake_net_advance(net, FAKE_SEC);
        fake_data(c, WIRE_TARGET_BROADCAST, 5, "to all");
        fake_net_run(net);
        (void) idranges_remove(&net->router->former, (IdRange) { 78, 79 });
        router_add_ids(net->router, 200000, 10);
        fake_session(a)->since_usec = 4711;

        fake_stop_taking(b);
        fake_take(b, 33); /* of what follows */
        while (LIST_EMPTY(&a->link->pauses)) {
                fake_fill(a, b->id, 150);
                fake_net_run(net);
        }
        fake_net_advance(net, FAKE_SEC); /* by then it is stalled */
        fake_simple(c, WIRE_ACK, b->id, 9);
        fake_data(a, b->id, 7, "not read yet");
        fake_send_bytes(c, "\x10\0\0\0\x10", 5);
        (void) fake_open(net);
        half = fake_open(net);
        fake_hello_full(half, &hello);
        half->n_in -= 3;
        waiting = fake_open(net);
        fake_hello(waiting, "c");
        fake_net_run(net);
}

static void save(uint8_t **ret_data, size_t *ret_size) {
        ck_assert_int_eq(fake_net_save(net, ret_data, ret_size), 0);
}

/* As if it had been written so: with a checksum that is right. */
static void seal(uint8_t *data, size_t size) {
        RecordWriter w;
        uint8_t *sealed;
        size_t n;

        records_begin(&w, 0);
        record_put_bytes(&w, data + HEAD_SIZE, size - HEAD_SIZE - END_SIZE);
        memcpy(w.data, data, HEAD_SIZE);
        ck_assert_int_eq(records_end(&w, &sealed, &n), 0);
        ck_assert_uint_eq(n, size);
        memcpy(data, sealed, size);
        free(sealed);
}

/* As records_end() has it, of a writer with another version */
static int take_over_version(uint16_t version, uint16_t reader_min) {
        uint8_t *data;
        size_t size;
        int r;

        save(&data, &size);
        wire_store_u16(data + 8, version);
        wire_store_u16(data + 10, reader_min);
        seal(data, size);
        r = fake_net_take_over(net, data, size);
        free(data);
        return r;
}

START_TEST(nothing) {
        fake_net_hand_over(net);
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "");
        ck_assert_uint_eq(fake_client(net, "a")->id, FAKE_FIRST_ID);
}
END_TEST

/* Twice, because lists come out in the other order each time. */
START_TEST(the_same_comes_out) {
        uint8_t *first, *second;
        size_t n_first, n_second;

        populate();
        save(&first, &n_first);
        fake_events(net);
        fake_net_hand_over(net);
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_hand_over(net);
        fake_net_run(net);
        save(&second, &n_second);
        ck_assert_mem_eq(first, second, n_first < n_second ? n_first : n_second);
        ck_assert_uint_eq(n_first, n_second);
        free(first);
        free(second);
}
END_TEST

START_TEST(all_goes_on) {
        char heard[8192];

        populate();
        fake_net_hand_over(net);
        ck_assert_str_eq(fake_heard(a), "watch @4 unknown; watch @4 alive; watch @4 alive; away 1004 link lost @4; "
                                        "data 1003>-1 #5 to all");
        fake_take(b, FAKE_UNLIMITED);
        snprintf(heard, sizeof(heard), "%s", fake_heard(b));
        ck_assert_ptr_nonnull(strstr(heard, "data 1003>-1 #5 to all; "));
        ck_assert_ptr_nonnull(strstr(heard, "ack 1003>1002 #9; "));
        ck_assert_ptr_nonnull(strstr(heard, "; data 1001>1002 #7 not read yet"));
        fake_send_bytes(c, "\0\0\0\0\0\0\0\0\0\0\0\xe9\3\0\0\0\0\0\0", 19); /* to 1001 */
        fake_send_bytes(c, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
        fake_send_bytes(c, "sixteen in all..", 16);
        ck_assert_str_eq(fake_heard(a), "data 1003>1001 #1 sixteen in all..");
}
END_TEST

START_TEST(cut_short) {
        uint8_t *data;
        size_t size;

        populate();
        save(&data, &size);
        for (size_t n = 0; n < size; n++) {
                uint8_t *part = malloc(n + 1); /* of just its size, for the sanitizers */

                memcpy(part, data, n);
                ck_assert_int_eq(fake_net_take_over(net, part, n), -EBADMSG);
                /* … and as if it had ended there: there may be less in it, but nothing that is half */
                if (n >= HEAD_SIZE + END_SIZE) {
                        int r;

                        wire_store_u64(part + 16, n);
                        seal(part, n);
                        r = fake_net_take_over(net, part, n);
                        ck_assert(r == 0 || r == -EBADMSG);
                        fake_net_run(net);
                }
                free(part);
        }
        free(data);
        fake_net_run(net);
}
END_TEST

START_TEST(any_byte_changed) {
        uint8_t *data;
        size_t size;

        populate();
        save(&data, &size);
        for (size_t i = 0; i < size; i++) {
                for (unsigned bit = 0; bit < 8; bit++) {
                        data[i] ^= (uint8_t) (1 << bit);
                        ck_assert_int_eq(fake_net_take_over(net, data, size), -EBADMSG);
                        data[i] ^= (uint8_t) (1 << bit);
                }
        }
        ck_assert_int_eq(fake_net_take_over(net, data, size), 0);
        free(data);
        fake_net_run(net);
}
END_TEST

/* Changed by somebody who knows how to make a checksum: it may be restored as something else, but the router must be whole. */
START_TEST(any_byte_changed_and_sealed) {
        size_t size = SIZE_MAX, n_restored = 0;

        for (size_t i = HEAD_SIZE; i < size - END_SIZE; i++) {
                uint8_t *data;
                int r;

                if (!net)
                        setup();
                if (net->router->n_links == 0)
                        populate();
                save(&data, &size);
                data[i] ^= (uint8_t) (1 + i % 255);
                seal(data, size);
                r = fake_net_take_over(net, data, size);
                ck_assert(r == 0 || r == -EBADMSG);
                free(data);
                if (r < 0)
                        continue;
                n_restored++;
                fake_take(b, FAKE_UNLIMITED);
                fake_net_run(net); /* and checks */
                net = fake_net_free(net);
        }
        ck_assert_uint_gt(n_restored, 100);
}
END_TEST

START_TEST(versions) {
        populate();
        ck_assert_int_eq(take_over_version(RECORDS_VERSION, RECORDS_VERSION), 0);
        fake_net_run(net);
        ck_assert_int_eq(take_over_version(RECORDS_VERSION + 1, RECORDS_VERSION), 0);
        fake_net_run(net);
        ck_assert_int_eq(take_over_version(UINT16_MAX, RECORDS_VERSION), 0);
        fake_net_run(net);
        ck_assert_int_eq(take_over_version(RECORDS_VERSION + 1, RECORDS_VERSION + 1), -EBADMSG);
        ck_assert_int_eq(take_over_version(RECORDS_WRITER_MIN - 1, RECORDS_WRITER_MIN - 1), -EBADMSG);
}
END_TEST

/* Writes all records anew, with an unknown one behind each, and each with a field more. Leaves out those of type `without`. */
static void rewrite(uint32_t without, bool with_more, uint8_t **ret_data, size_t *ret_size) {
        WireReader records, fields;
        RecordWriter w;
        uint8_t *data;
        uint32_t type;
        size_t size;

        save(&data, &size);
        ck_assert_int_eq(records_open(data, size, &records), 0);
        records_begin(&w, 0);
        while (records_next(&records, &type, &fields) > 0) {
                if (type == without)
                        continue;
                record_begin(&w, type);
                record_put_bytes(&w, fields.p, record_get_rest(&fields));
                /* What ends with a list or with bytes can't have more fields */
                if (with_more && type != RECORD_FORMER && type != RECORD_TAIL && type != RECORD_OUTPUT &&
                    type != RECORD_ROUTING_TIME)
                        record_put_u64(&w, UINT64_MAX);
                record_end(&w);
                if (with_more) {
                        record_begin(&w, UNKNOWN_RECORD);
                        record_put_text16(&w, "of a later version", 18);
                        record_end(&w);
                }
        }
        ck_assert_int_eq(records_end(&w, ret_data, ret_size), 0);
        free(data);
}

START_TEST(more_than_is_known) {
        uint8_t *before, *more, *after;
        size_t n_before, n_more, n_after;

        populate();
        fake_net_hand_over(net);
        fake_net_run(net);
        save(&before, &n_before);
        rewrite(0, true, &more, &n_more);
        ck_assert_int_eq(fake_net_take_over(net, more, n_more), 0);
        fake_net_hand_over((fake_net_run(net), net));
        fake_net_run(net);
        save(&after, &n_after);
        ck_assert_uint_eq(n_before, n_after);
        ck_assert_mem_eq(before, after, n_before);
        free(before);
        free(more);
        free(after);
}
END_TEST

START_TEST(less_than_is_known) {
        static const uint32_t optional[] = {
                RECORD_FORMER, RECORD_WATCH, RECORD_WATCH_LEFT, RECORD_WAITING, RECORD_PAUSE, RECORD_SHARE, RECORD_LOAD_SAMPLE,
                RECORD_ROUTING_TIME,
        };
        LoadFigures figures;
        uint8_t *data;
        size_t size;

        populate();
        for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
                rewrite(optional[i], false, &data, &size);
                ck_assert_int_eq(fake_net_take_over(net, data, size), 0);
                free(data);
                fake_net_run(net);
                router_get_load(net->router, &figures);
        }
        rewrite(RECORD_ROUTER, false, &data, &size);
        ck_assert_int_eq(fake_net_take_over(net, data, size), -EBADMSG);
        free(data);
        rewrite(RECORD_LINK, false, &data, &size); /* then some are neither there nor away */
        ck_assert_int_eq(fake_net_take_over(net, data, size), -EBADMSG);
        free(data);
}
END_TEST

/* As populate() was saved when the format was new: whatever has been added since, this must be understood. */
START_TEST(of_the_first_version) {
        static uint8_t data[8192];
        WireReader records, fields;
        uint32_t type, n_links;
        size_t size;
        FILE *f;

        f = fopen(getenv("HANDOVER_STATE"), "rb");
        ck_assert_ptr_nonnull(f);
        size = fread(data, 1, sizeof(data), f);
        fclose(f);
        ck_assert_int_eq(records_open(data, size, &records), 0);
        ck_assert_int_eq(records_next(&records, &type, &fields), 1);
        ck_assert_uint_eq(type, RECORD_ROUTER);
        (void) wire_read_u16(&fields);
        n_links = wire_read_u32(&fields);
        a = fake_open(net);
        b = fake_open(net);
        fake_stop_taking(b);
        strcpy(a->principal, "uid:1");
        for (uint32_t i = 2; i < n_links; i++)
                (void) fake_open(net);
        ck_assert_int_eq(fake_net_take_over(net, data, size), 0);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->sessions.n_members, 4);
        ck_assert_str_eq(a->link->session->name, "a");
        ck_assert_uint_gt(b->link->outbox.n_kept, 600);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(LIST_EMPTY(&a->link->pauses));
}
END_TEST

START_TEST(other_descriptors) {
        uint8_t *data;
        size_t size;

        populate();
        save(&data, &size);
        strcpy(a->principal, "uid:2");
        ck_assert_int_eq(fake_net_take_over(net, data, size), -EBADMSG);
        strcpy(a->principal, "uid:1");
        (void) fake_open(net);
        ck_assert_int_eq(fake_net_take_over(net, data, size), -EBADMSG);
        free(data);
        fake_net_run(net);
}
END_TEST

/* Nobody is blamed for the time in which nobody served, and no clock is relied on. */
START_TEST(time_stands_still) {
        static const uint64_t gaps[] = { 0, FAKE_SEC, 3600 * (uint64_t) FAKE_SEC };
        LoadFigures figures;
        FakeLink *away;

        a = fake_client(net, "a");
        b = fake_client(net, "b");
        away = fake_client(net, "c");
        fake_close(away, LINK_TIMEOUT);
        fake_net_run(net);
        fake_net_advance(net, 2 * FAKE_SEC);
        fake_events(net);
        for (size_t i = 0; i < 3; i++) {
                uint8_t *data;
                size_t size;

                save(&data, &size);
                net->now += gaps[i];
                ck_assert_int_eq(fake_net_take_over(net, data, size), 0);
                free(data);
                fake_net_run(net);
                ck_assert_str_eq(fake_events(net), "");
                router_get_load(net->router, &figures);
                ck_assert_uint_eq(figures.uptime_usec, (2 + i) * FAKE_SEC);
                fake_net_advance(net, FAKE_SEC);
        }
        fake_net_advance(net, 5 * FAKE_SEC - 1);
        ck_assert_str_eq(fake_heard(a), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_heard(a), "ping 1");
        fake_pong(a, 1);
        fake_net_advance(net, 20 * FAKE_SEC - 1);
        ck_assert_str_eq(fake_events(net), "state b busy");
        fake_pong(a, 2);
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_events(net), "left c link lost");

        /* Of another boot */
        {
                uint8_t *data;
                size_t size;

                save(&data, &size);
                net->now = 1;
                ck_assert_int_eq(fake_net_take_over(net, data, size), 0);
                free(data);
                fake_net_run(net);
                ck_assert_str_eq(fake_events(net), "");
        }
}
END_TEST

/* The successor may have been told other limits: whoever waits still goes on some time, and nobody is disconnected. */
START_TEST(other_settings) {
        static const size_t marks[][2] = { { 100, 50 }, { 100, 0 }, { 599, 598 }, { 100000, 0 }, { 100000, 99999 } };

        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
                teardown();
                setup();
                populate();
                ck_assert(!LIST_EMPTY(&a->link->pauses));
                net->config.outbox_high = marks[i][0];
                net->config.outbox_low = marks[i][1];
                net->config.max_clients = 1;
                net->config.grace_usec = net->config.broadcast_wait_usec = 0;
                net->config.ping_interval_usec = FAKE_SEC;
                fake_net_hand_over(net);
                fake_net_run(net);
                while (b->link->outbox.n_kept > 0) {
                        fake_take(b, 20);
                        fake_net_run(net);
                }
                ck_assert(LIST_EMPTY(&a->link->pauses));
                fake_take(b, FAKE_UNLIMITED);
                ck_assert_ptr_nonnull(strstr(fake_heard(b), "; data 1001>1002 #7 not read yet"));
                ck_assert_uint_eq(net->router->sessions.n_members, 4);
        }
}
END_TEST

/* So much waits for it that it could not be told who has left: it is told by the next router. */
START_TEST(who_left_unheard) {
        FakeLink *d, *sender;

        a = fake_client(net, "a");
        b = fake_client(net, "b");
        d = fake_client(net, "d");
        fake_watch(a, b->id, true);
        fake_watch(a, d->id, true);
        fake_heard(a);
        fake_stop_taking(a);
        for (size_t i = 0; i < 17; i++) {
                sender = fake_client(net, "");
                fake_fill(sender, a->id, 65536);
                fake_net_run(net);
        }
        fake_close(b, LINK_EOF);
        fake_close(d, LINK_RESET);
        fake_net_run(net);
        ck_assert(fake_session(a)->missed_presence);
        fake_net_hand_over(net);
        fake_take(a, FAKE_UNLIMITED);
        fake_net_run(net);
        fake_net_hand_over(net);
        ck_assert_ptr_nonnull(strstr(fake_heard(a), "; left 1002 died @"));
        ck_assert(!fake_session(a)->missed_presence);
        ck_assert_uint_eq(fake_session(a)->n_watches, 1);
}
END_TEST

/* What is there of an outbox is written to the byte, in its order. */
START_TEST(output_to_the_byte) {
        uint8_t *before, *after;
        size_t n_before, n_after;

        populate();
        for (size_t i = 0; i < 300; i++) {
                before = fake_get_queued(b, &n_before);
                fake_net_hand_over(net);
                after = fake_get_queued(b, &n_after);
                ck_assert_uint_eq(n_before, n_after);
                ck_assert_mem_eq(before, after, n_before);
                free(before);
                free(after);
                if (i % 7 == 0)
                        fake_simple(c, WIRE_ACK, b->id, 10 + i);
                fake_take(b, 1 + i % 50);
                fake_net_run(net);
        }
        fake_take(b, FAKE_UNLIMITED);
        fake_heard(b);
        ck_assert_uint_eq(b->heard, b->n_out);
}
END_TEST

/* It has closed, and waits, though by now there would be room for what it has sent: no new pause would be made for that. */
START_TEST(who_leaves_and_waits) {
        a = fake_client(net, "a");
        b = fake_client(net, "b");
        fake_stop_taking(b);
        for (size_t n = 0; n < FAKE_HIGH + LINK_LEAVING_BYTES + 20 * WIRE_FRAME_MAX; n += WIRE_FRAME_MAX)
                fake_fill(a, b->id, WIRE_FRAME_MAX);
        fake_close(a, LINK_EOF);
        fake_net_run(net);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_take(b, 10 * WIRE_FRAME_MAX);
        fake_net_run(net);
        ck_assert_uint_lt(b->link->outbox.n_kept, FAKE_HIGH + LINK_LEAVING_BYTES);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_net_hand_over(net);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert_ptr_null(a->link);
}
END_TEST

TEST_MAIN_FIXTURE("handover", setup, teardown, nothing, the_same_comes_out, all_goes_on, cut_short, any_byte_changed,
                  any_byte_changed_and_sealed, versions, more_than_is_known, less_than_is_known, of_the_first_version,
                  other_descriptors, time_stands_still, other_settings, who_left_unheard, output_to_the_byte,
                  who_leaves_and_waits)
