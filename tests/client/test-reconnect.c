/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How long the pauses between attempts are, by what those before have ended with and how long the outage is. On a time of its
 * own: an outage of a day takes a moment, and no attempt is made. */

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"

static Fake fake;
static DirectClient *client;
static uint64_t now, lost_at, seed;

/* In place of client/system.c */
uint64_t usec_now(void) {
        return now;
}

uint64_t tick_now(void) {
        return now;
}

uint64_t random_seed(void) {
        return seed++;
}

/* A client that has just lost its link */
static void setup(void) {
        struct timespec ts;

        /* Later than the real time of the whole test, by which the handle's timer goes: that never fires */
        clock_gettime(CLOCK_MONOTONIC, &ts);
        now = lost_at = (uint64_t) ts.tv_sec * USEC_PER_SEC + 1000 * USEC_PER_SEC;
        fake_init(&fake);
        ck_assert_int_eq(direct_client_new(&client), 0);
        fake_connect(&fake, client);
        fake_close(&fake);
        while (client->session.state == SESSION_UP) {
                struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

                ck_assert_int_gt(poll(&pollfd, 1, 20000), 0);
                ck_assert_int_ge(direct_process(client), 0);
        }
        ck_assert_int_eq(client->session.state, SESSION_PAUSING);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

/* The next attempt ends so: the pause after it. */
static uint64_t pause_after(int error) {
        now = client->session.deadline;
        session_link_failed(client, error);
        ck_assert_int_eq(client->session.state, SESSION_PAUSING);
        return client->session.deadline - now;
}

/* All attempts until `outage` end so: the longest pause. */
static uint64_t longest_until(uint64_t outage, int error) {
        uint64_t longest = 0;

        while (client->session.deadline < lost_at + outage) {
                uint64_t pause = pause_after(error);

                if (pause > longest)
                        longest = pause;
        }
        return longest;
}

/* From the beginning, for the next case */
static void again(void) {
        teardown();
        setup();
}

START_TEST(test_first) {
        for (int i = 0; i < 50; i++) {
                ck_assert_uint_le(client->session.deadline - lost_at, 100 * USEC_PER_MSEC);
                again();
        }
        for (uint64_t max = 200 * USEC_PER_MSEC; max < USEC_PER_SEC; max *= 2)
                ck_assert_uint_le(pause_after(-ECONNREFUSED), max);
}
END_TEST

static void check_refused(int error) {
        uint64_t longest;

        longest = longest_until(120 * USEC_PER_SEC, error);
        ck_assert_uint_le(longest, USEC_PER_SEC);
        ck_assert_uint_gt(longest, USEC_PER_SEC * 9 / 10);
        while (now - lost_at < 24 * 3600 * USEC_PER_SEC) {
                uint64_t pause = pause_after(error);

                ck_assert_uint_le(pause, usec_min((now - lost_at) / 120 + USEC_PER_SEC, 10 * USEC_PER_SEC));
                if (pause > longest)
                        longest = pause;
        }
        ck_assert_uint_gt(longest, 9 * USEC_PER_SEC);
}

/* The service's host answers, or there is only a connection that the service took into its end. */
START_TEST(test_refused) {
        check_refused(-ECONNREFUSED);
        again();
        check_refused(-ECONNRESET);
}
END_TEST

START_TEST(test_local) {
        static const int errors[] = { -ENOENT, -EACCES, -ECONNREFUSED };

        for (size_t i = 0; i < N_ELEMENTS(errors); i++) {
                client->link.addresses.addresses[0].storage.ss_family = AF_UNIX;
                ck_assert_uint_le(longest_until(3600 * USEC_PER_SEC, errors[i]), USEC_PER_SEC);
                again();
        }
}
END_TEST

/* The host or the way to it is gone; or the service is full, or somebody has the name. */
START_TEST(test_silence) {
        static const int errors[] = { -ETIMEDOUT, -EHOSTUNREACH, -EUSERS, -EADDRINUSE };

        for (size_t i = 0; i < N_ELEMENTS(errors); i++) {
                uint64_t longest = longest_until(1000 * USEC_PER_SEC, errors[i]);

                ck_assert_uint_gt(longest, 9 * USEC_PER_SEC);
                ck_assert_uint_le(longest, 10 * USEC_PER_SEC);
                again();
        }
}
END_TEST

/* What it has been does not count: its host is there. */
START_TEST(test_host_is_back) {
        (void) longest_until(60 * USEC_PER_SEC, -EHOSTUNREACH);
        ck_assert_uint_le(longest_until(120 * USEC_PER_SEC, -ECONNREFUSED), USEC_PER_SEC);
}
END_TEST

TEST_MAIN_FIXTURE("client-reconnect", setup, teardown, test_first, test_refused, test_local, test_silence, test_host_is_back)
