/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which addresses are those of the own host. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "protocol/loopback.h"
#include "tests/unit/run-tests.h"

static bool is_loopback(const char *text) {
        struct sockaddr_in in = { .sin_family = AF_INET };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

        if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
                return loopback_is((struct sockaddr *) &in);
        ck_assert_int_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        return loopback_is((struct sockaddr *) &in6);
}

START_TEST(own_host) {
        static const char *const own[] = { "127.0.0.0", "127.0.0.1", "127.0.1.1", "127.255.255.255", "::1", "::ffff:127.0.0.1" };

        for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
                ck_assert_msg(is_loopback(own[i]), "%s", own[i]);
}
END_TEST

START_TEST(other_hosts) {
        static const char *const others[] = {
                "0.0.0.0", "126.255.255.255", "128.0.0.0", "1.0.0.127", "::", "::2", "1::1", "fe80::1", "::ffff:128.0.0.1",
                "::127.0.0.1", "7f00::1",
        };
        struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "127.0.0.1" };

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                ck_assert_msg(!is_loopback(others[i]), "%s", others[i]);
        ck_assert(!loopback_is((struct sockaddr *) &un));
}
END_TEST

TEST_MAIN("loopback", own_host, other_hosts)
