/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Values, errors with their file and line, and the order of files. */

#include <errno.h>
#include <stddef.h>

#include "service/config-value.h"
#include "service/config.h"
#include "run-tests.h"
#include "temp-directory.h"

#define MSEC UINT64_C(1000)
#define SEC UINT64_C(1000000)

static Config config;
static char *error;

static void setup(void) {
        temp_directory_make();
        config = CONFIG_NULL;
        error = NULL;
}

static void teardown(void) {
        config_deinit(&config);
        free(error);
        temp_directory_remove();
}

static int load(const char *path) {
        config_deinit(&config);
        free(error);
        error = NULL;
        return config_load(path, NULL, &config, &error);
}

static int load_text(const char *text) {
        return load(temp_write("c.conf", text));
}

static void load_well(const char *text) {
        int r = load_text(text);

        ck_assert_msg(r == 0, "%s: %s", text, error ? error : strerror(-r));
        ck_assert_ptr_null(error);
}

START_TEST(defaults) {
        load_well("");
        ck_assert_ptr_null(config.listen);
        ck_assert_int_eq(config.bus, BUS_SYSTEM);
        ck_assert_uint_eq(config.max_clients, 16384);
        ck_assert_uint_eq(config.ping_interval_usec, 10 * SEC);
        ck_assert_uint_eq(config.kernel_timeout_usec, 5 * SEC);
        ck_assert_uint_eq(config.grace_usec, 30 * SEC);
        ck_assert_uint_eq(config.slow_client_timeout_usec, 0);
        ck_assert_uint_eq(config.broadcast_wait_usec, 500 * MSEC);
        ck_assert_uint_eq(config.outbox_high, 4 << 20);
        ck_assert_uint_eq(config.outbox_low, 1 << 20);
        ck_assert_uint_eq(config.initial_credit, 128 << 10);
        ck_assert_uint_eq(config.spin_usec, 0);
}
END_TEST

START_TEST(everything_set) {
        load_well("# all keys\n"
                  "[Server]\n"
                  "Listen=127.0.0.1:0 [::1]:20000\t unix:/run/x.sock\n"
                  "; not a default among them\n"
                  "Bus=user\n"
                  "MaxClients=7\n"
                  "PingIntervalSec=1min 30s\n"
                  "\n"
                  "KernelTimeoutSec=2.5\n"
                  "GraceSec = 500ms  \n"
                  "  SlowClientTimeoutSec=10\n"
                  "    # a comment that is indented\n"
                  "BroadcastWaitMSec=2s\n"
                  "OutboxHighWater=2M\n"
                  "OutboxLowWater=65536\n"
                  "InitialCredit=512K\n"
                  "SpinUSec=50\n");
        ck_assert_str_eq(config.listen[0], "127.0.0.1:0");
        ck_assert_str_eq(config.listen[1], "[::1]:20000");
        ck_assert_str_eq(config.listen[2], "unix:/run/x.sock");
        ck_assert_ptr_null(config.listen[3]);
        ck_assert_int_eq(config.bus, BUS_USER);
        ck_assert_uint_eq(config.max_clients, 7);
        ck_assert_uint_eq(config.ping_interval_usec, 90 * SEC);
        ck_assert_uint_eq(config.kernel_timeout_usec, 2500 * MSEC);
        ck_assert_uint_eq(config.grace_usec, 500 * MSEC);
        ck_assert_uint_eq(config.slow_client_timeout_usec, 10 * SEC);
        ck_assert_uint_eq(config.broadcast_wait_usec, 2 * SEC);
        ck_assert_uint_eq(config.outbox_high, 2 << 20);
        ck_assert_uint_eq(config.outbox_low, 65536);
        ck_assert_uint_eq(config.initial_credit, 512 << 10);
        ck_assert_uint_eq(config.spin_usec, 50);
}
END_TEST

START_TEST(harmless_oddities) {
        load_well("[Server]\r\nMaxClients=5\r\n");
        ck_assert_uint_eq(config.max_clients, 5);
        load_well("[Server]\nMaxClients=6"); /* no line end */
        ck_assert_uint_eq(config.max_clients, 6);
        load_well("[Server]\nMaxClients=7\n[Server]\nGraceSec=7\n");
        ck_assert_uint_eq(config.max_clients, 7);
        ck_assert_uint_eq(config.grace_usec, 7 * SEC);
        load_well("[Server]\nMaxClients=\"8\"\n");
        ck_assert_uint_eq(config.max_clients, 8);
        load_well("[Server]\nSlowClientTimeoutSec=infinity\nListen=\n");
        ck_assert_uint_eq(config.slow_client_timeout_usec, 0);
        ck_assert_ptr_null(config.listen);
        load_well("[Server]\n");
        load_well("\n\n# nothing\n");
}
END_TEST

static const struct Bad {
        const char *text;
        const char *error; /* behind the path */
} bad[] = {
        { "[Server]\n\nPingIntervalSec=abc\n", ":3: PingIntervalSec=abc is not a time; give seconds, as in PingIntervalSec=10" },
        { "[Server]\nPingIntervalSec=-1\n", ":2: PingIntervalSec=-1 is not a time; give seconds, as in PingIntervalSec=10" },
        { "[Server]\nPingIntervalSec=10 parsecs\n",
          ":2: PingIntervalSec=10 parsecs is not a time; give seconds, as in PingIntervalSec=10" },
        { "[Server]\nGraceSec=infinity\n", ":2: GraceSec=infinity is not a time; give seconds, as in GraceSec=30" },
        { "[Server]\nSlowClientTimeoutSec=never\n",
          ":2: SlowClientTimeoutSec=never is not a time; give seconds, or infinity, as in SlowClientTimeoutSec=0" },
        { "[Server]\nBroadcastWaitMSec=x\n",
          ":2: BroadcastWaitMSec=x is not a time; give milliseconds, as in BroadcastWaitMSec=500" },
        { "[Server]\nSpinUSec=x\n", ":2: SpinUSec=x is not a time; give microseconds, as in SpinUSec=0" },
        { "[Server]\nSpinUSec=1001\n", ":2: SpinUSec=1001 is too large; give at most 1ms" },
        { "[Server]\nPingIntervalSec=99ms\n", ":2: PingIntervalSec=99ms is too small; give at least 100ms" },
        { "[Server]\nPingIntervalSec=2h\n", ":2: PingIntervalSec=2h is too large; give at most 1h" },
        { "[Server]\nGraceSec=49d\n", ":2: GraceSec=49d is too large; give at most 1d" },
        { "[Server]\nGraceSec=99999999999999999999\n",
          ":2: GraceSec=99999999999999999999 is not a time; give seconds, as in GraceSec=30" },
        { "[Server]\nMaxClients=0\n", ":2: MaxClients=0 is too small; give at least 1" },
        { "[Server]\nMaxClients=1048577\n", ":2: MaxClients=1048577 is too large; give at most 1048576" },
        { "[Server]\nMaxClients=1e3\n", ":2: MaxClients=1e3 is not a number; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients=+5\n", ":2: MaxClients=+5 is not a number; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients=0x10\n", ":2: MaxClients=0x10 is not a number; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients=18446744073709551616\n",
          ":2: MaxClients=18446744073709551616 is not a number; give one, as in MaxClients=16384" },
        { "[Server]\nOutboxHighWater=1T\n",
          ":2: OutboxHighWater=1T is not a size; give bytes, or K, M, G, as in OutboxHighWater=4M" },
        { "[Server]\nOutboxHighWater=1MB\n",
          ":2: OutboxHighWater=1MB is not a size; give bytes, or K, M, G, as in OutboxHighWater=4M" },
        { "[Server]\nOutboxHighWater=18446744073709551615G\n",
          ":2: OutboxHighWater=18446744073709551615G is not a size; give bytes, or K, M, G, as in OutboxHighWater=4M" },
        { "[Server]\nOutboxHighWater=65575\n", ":2: OutboxHighWater=65575 is too small; give at least 65576" },
        { "[Server]\nInitialCredit=65576\n", ":2: InitialCredit=65576 is too small; give at least 65577" },
        { "[Server]\nInitialCredit=4G\n", ":2: InitialCredit=4G is too large; give at most 4294967295" },
        { "[Server]\nBus=session\n", ":2: Bus=session is not a bus; give system, user or none, as in Bus=system" },
        { "[Server]\nListen=20000\n",
          ":2: Listen=20000 is not a list of addresses; give HOST:PORT or unix:/PATH, as in Listen=127.0.0.1:20000" },
        { "[Server]\nMaxClients=\n", ":2: MaxClients= has no value; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients=\"\"\n", ":2: MaxClients= has no value; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients\n", ":2: MaxClients= has no value; give one, as in MaxClients=16384" },
        { "[Server]\nMaxClients=1\nBus none\n", ":3: neither KEY=VALUE nor a comment; a value is written on one line" },
        { "[Server]\nListen=127.0.0.1:1\n  127.0.0.1:2\n",
          ":3: neither KEY=VALUE nor a comment; a value is written on one line" },
        { "[Server]\nMaxClients=1 # one\n",
          ":2: a comment sign behind the value of MaxClients=; comments stand on their own lines" },
        { "[Server]\nListen=unix:/run/a#b\n",
          ":2: a comment sign behind the value of Listen=; comments stand on their own lines" },
        { "[Server]\nMaxClients=1\nBus=none\nMaxClients=2\n", ":2: MaxClients= is given again further down in the same file" },
        { "[Server]\nPingIntervalSecs=1\n", ":2: unknown key PingIntervalSecs=; did you mean PingIntervalSec=?" },
        { "[Server]\nmaxclients=1\n", ":2: unknown key maxclients=; did you mean MaxClients=?" },
        { "[Server]\nMaxCleints=1\n", ":2: unknown key MaxCleints=; did you mean MaxClients=?" },
        { "[Server]\nBroadcastWaitSec=1\n", ":2: unknown key BroadcastWaitSec=; did you mean BroadcastWaitMSec=?" },
        { "[Server]\nColour=blue\n", ":2: unknown key Colour=; directserver.conf(5) lists the keys" },
        { "[Server]\nBus=\x1b[31m\xff\n", ":2: Bus=\\x1b[31m\\xff is not a bus; give system, user or none, as in Bus=system" },
        { "[Server]\nX=1\n", ":2: unknown key X=; directserver.conf(5) lists the keys" },
        { "[Sever]\nMaxClients=1\n", ":2: MaxClients= stands in the unknown section [Sever]; the section is called [Server]" },
        { "[Server]\nMaxClients=1\n[More]\nX=1\n",
          ":4: X= stands in the unknown section [More]; the section is called [Server]" },
        { "MaxClients=1\n", ":1: MaxClients= stands outside of any section; write [Server] above it" },
        { "[Server\nMaxClients=1\n", ":1: Missing bracket" },
        { "[Server] x\nMaxClients=1\n", ":1: Text after section" },
        { "[]\nMaxClients=1\n", ":1: Empty section name" },
        { "[Server]\nMax Clients=1\n", ":2: Missing delimiter" },
        { "[Server]\nOutboxLowWater=4M\n",
          ":2: OutboxLowWater (4194304) is not smaller than OutboxHighWater (4194304)" },
        { "[Server]\nOutboxLowWater=300K\nOutboxHighWater=200K\n",
          ":2: OutboxLowWater (307200) is not smaller than OutboxHighWater (204800)" },
};

START_TEST(bad_input) {
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                char expected[1024];

                snprintf(expected, sizeof(expected), "%s%s", temp_path("c.conf"), bad[i].error);
                ck_assert_msg(load_text(bad[i].text) < 0, "%s", bad[i].text);
                ck_assert_ptr_nonnull(error);
                ck_assert_str_eq(error, expected);
                ck_assert_ptr_null(config.listen);
        }
}
END_TEST

START_TEST(failure_leaves_the_output_untouched) {
        Config before = { .max_clients = 42 };

        ck_assert_int_eq(config_load(temp_write("c.conf", "[Server]\nListen=a:1\nX=1\n"), NULL, &before, &error), -EINVAL);
        ck_assert_uint_eq(before.max_clients, 42);
        ck_assert_ptr_null(before.listen);
}
END_TEST

START_TEST(times) {
        static const struct {
                const char *text;
                int r;
                uint64_t usec;
        } cases[] = {
                { "0", 0, 0 },           { "1", 0, SEC },          { "1s", 0, SEC },       { "1 s", 0, SEC },
                { "1ms", 0, MSEC },      { "1us", 0, 1 },          { "1m", 0, 60 * SEC },  { "1min", 0, 60 * SEC },
                { "1h", 0, 3600 * SEC }, { "2d", 0, 172800 * SEC }, { "1h 5min", 0, 3900 * SEC }, { "1h5min3s", 0, 3903 * SEC },
                { "0.5", 0, 500 * MSEC }, { "1.000001", 0, SEC + 1 }, { "1.0000019", 0, SEC + 1 }, { "0.5ms", 0, 500 },
                { "1.5min", 0, 90 * SEC }, { "18446744073709", 0, UINT64_C(18446744073709) * SEC },
                { "", -EINVAL, 0 },      { " ", -EINVAL, 0 },      { "s", -EINVAL, 0 },    { "1x", -EINVAL, 0 },
                { "1.", -EINVAL, 0 },    { ".5", -EINVAL, 0 },     { "1..5", -EINVAL, 0 }, { "1,5", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },    { "1s x", -EINVAL, 0 },   { "1S", -EINVAL, 0 },   { "18446744073710", -EINVAL, 0 },
                { "18446744073709s 18446744073709s", -EINVAL, 0 }, { "18446744073709.999999", -EINVAL, 0 },
                { "99999999999999999999us", -EINVAL, 0 },          { "1e3", -EINVAL, 0 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                uint64_t usec = 77;

                ck_assert_msg(value_seconds.parse(cases[i].text, &usec) == cases[i].r, "%s", cases[i].text);
                ck_assert_msg(usec == (cases[i].r == 0 ? cases[i].usec : 77), "%s", cases[i].text);
        }
}
END_TEST

START_TEST(addresses) {
        static const char *const good[] = { "127.0.0.1:0", "localhost:65535", "[::1]:20000", "[fe80::1%eth0]:1", "*:1", "unix:/x",
                                            "a:1 b:2", "", "   ", "a.b-c:00080" };
        static const char *const wrong[] = {
                "a",     ":1",      "a:",     "a:65536", "a:-1",   "a:1x",    "::1:1",   "[]:1",
                "[::1]", "[::1]1:", "[::1:5", "unix:",   "unix:x", "unix:@x", "a:1,b:2", "a:99999999999999999999"
        };
        char path[256] = "unix:/";
        char **list = NULL;

        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
                ck_assert_msg(value_listen.parse(good[i], &list) == 0, "%s", good[i]);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                ck_assert_msg(value_listen.parse(wrong[i], &list) == -EINVAL, "%s", wrong[i]);

        memset(path + 6, 'p', 106);
        ck_assert_int_eq(value_listen.parse(path, &list), 0); /* 107 bytes and the final 0 */
        path[6 + 106] = 'p';
        ck_assert_int_eq(value_listen.parse(path, &list), -EINVAL);
        ck_assert_uint_eq(strlen(list[0]), 5 + 107); /* a failure keeps the old list */
        value_listen_free(list);
}
END_TEST

START_TEST(files_that_are_not_there) {
        ck_assert_int_eq(load(temp_path("none.conf")), -ENOENT);
        ck_assert_ptr_nonnull(strstr(error, "none.conf: No such file or directory"));
        ck_assert_int_eq(load(temp_directory), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error, ": this is not a file"));

        free(error);
        ck_assert_int_eq(config_load_from(temp_path("no"), temp_path("neither"), NULL, &config, &error), 0);
        ck_assert_uint_eq(config.max_clients, 16384);
}
END_TEST

START_TEST(dropins_of_a_given_file) {
        const char *path = temp_write("c.conf", "[Server]\nMaxClients=1\nGraceSec=1\nBus=none\n");

        temp_mkdir("c.conf.d");
        temp_write("c.conf.d/20.conf", "[Server]\nMaxClients=20\n");
        temp_write("c.conf.d/10.conf", "[Server]\nMaxClients=10\nGraceSec=10\n");
        temp_write("c.conf.d/30.conf.bak", "[Server]\nMaxClients=30\n");
        temp_write("c.conf.d/.40.conf", "[Server]\nMaxClients=40\n");
        ck_assert_int_eq(load(path), 0);
        ck_assert_uint_eq(config.max_clients, 20);
        ck_assert_uint_eq(config.grace_usec, 10 * SEC);
        ck_assert_int_eq(config.bus, BUS_NONE);

        temp_write("c.conf.d/20.conf", "[Server]\n\nMaxClient=20\n");
        ck_assert_int_eq(load(temp_path("c.conf")), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error, "c.conf.d/20.conf:3: unknown key MaxClient=; did you mean MaxClients=?"));

        temp_write("c.conf.d/20.conf", "[Server]\nOutboxLowWater=500K\n");
        temp_write("c.conf.d/30.conf", "[Server]\nOutboxHighWater=400K\n");
        ck_assert_int_eq(load(temp_path("c.conf")), -ERANGE);
        ck_assert_ptr_nonnull(strstr(error, "c.conf.d/20.conf:2: OutboxLowWater (512000) is not smaller"));

        temp_write("c.conf.d/20.conf", "[Server]\n");
        ck_assert_int_eq(load(temp_path("c.conf")), 0);
        ck_assert_uint_eq(config.outbox_low, config.outbox_high / 4);

        ck_assert_int_eq(symlink("/nonexistent", temp_path("c.conf.d/50.conf")), 0);
        ck_assert_int_eq(load(temp_path("c.conf")), -ENOENT);
        ck_assert_ptr_nonnull(strstr(error, "50.conf: No such file"));
}
END_TEST

static int load_both(void) {
        config_deinit(&config);
        free(error);
        error = NULL;
        return config_load_from(temp_path("etc"), temp_path("usr"), NULL, &config, &error);
}

START_TEST(the_administrator_and_the_vendor) {
        temp_mkdir("etc");
        temp_mkdir("usr");
        temp_mkdir("etc/directserver.conf.d");
        temp_mkdir("usr/directserver.conf.d");

        /* The vendor's file stands in until there is one in etc; then it is not read at all. */
        temp_write("usr/directserver.conf", "[Server]\nMaxClients=1\nGraceSec=1\n");
        ck_assert_int_eq(load_both(), 0);
        ck_assert_uint_eq(config.max_clients, 1);
        temp_write("etc/directserver.conf", "[Server]\nMaxClients=2\n");
        ck_assert_int_eq(load_both(), 0);
        ck_assert_uint_eq(config.max_clients, 2);
        ck_assert_uint_eq(config.grace_usec, 30 * SEC);

        /* Drop-ins go by name, whosesoever they are. */
        temp_write("usr/directserver.conf.d/20.conf", "[Server]\nMaxClients=20\n");
        temp_write("etc/directserver.conf.d/10.conf", "[Server]\nMaxClients=10\nGraceSec=10\n");
        ck_assert_int_eq(load_both(), 0);
        ck_assert_uint_eq(config.max_clients, 20);
        ck_assert_uint_eq(config.grace_usec, 10 * SEC);

        /* One in etc replaces the vendor's of the same name, and /dev/null masks it. */
        temp_write("etc/directserver.conf.d/20.conf", "[Server]\nGraceSec=20\n");
        ck_assert_int_eq(load_both(), 0);
        ck_assert_uint_eq(config.max_clients, 10);
        ck_assert_uint_eq(config.grace_usec, 20 * SEC);
        ck_assert_int_eq(unlink(temp_path("etc/directserver.conf.d/20.conf")), 0);
        ck_assert_int_eq(symlink("/dev/null", temp_path("etc/directserver.conf.d/20.conf")), 0);
        ck_assert_int_eq(load_both(), 0);
        ck_assert_uint_eq(config.max_clients, 10);
        ck_assert_uint_eq(config.grace_usec, 10 * SEC);
}
END_TEST

static int load_instance(const char *instance) {
        config_deinit(&config);
        free(error);
        error = NULL;
        return config_load_from(temp_path("etc"), temp_path("usr"), instance, &config, &error);
}

/* An instance has files of its own, and nothing of the main service's. */
START_TEST(instances) {
        temp_mkdir("etc");
        temp_mkdir("usr");
        temp_mkdir("etc/directserver.conf.d");
        temp_mkdir("usr/directserver@alpha.conf.d");
        temp_write("etc/directserver.conf", "[Server]\nMaxClients=1\n");
        temp_write("etc/directserver.conf.d/10.conf", "[Server]\nMaxClients=2\n");
        ck_assert_int_eq(load_instance("alpha"), 0);
        ck_assert_uint_eq(config.max_clients, 16384);
        temp_write("etc/directserver@alpha.conf", "[Server]\nMaxClients=3\n");
        ck_assert_int_eq(load_instance("alpha"), 0);
        ck_assert_uint_eq(config.max_clients, 3);
        temp_write("usr/directserver@alpha.conf.d/10.conf", "[Server]\nMaxClients=4\n");
        ck_assert_int_eq(load_instance("alpha"), 0);
        ck_assert_uint_eq(config.max_clients, 4);
        ck_assert_int_eq(load_instance("beta"), 0);
        ck_assert_uint_eq(config.max_clients, 16384);
        ck_assert_int_eq(load_instance(NULL), 0);
        ck_assert_uint_eq(config.max_clients, 2);
}
END_TEST

START_TEST(comparing) {
        Config a = CONFIG_NULL, b = CONFIG_NULL;
        char *fixed, *changed;

        ck_assert_int_eq(config_load(temp_write("a.conf", "[Server]\nListen=a:1 b:2\n"), NULL, &a, &error), 0);
        ck_assert_int_eq(config_load(temp_write("b.conf", "[Server]\nListen=a:1  b:2\n"), NULL, &b, &error), 0);
        ck_assert_int_eq(config_compare(&a, &b, &fixed, &changed), 0);
        ck_assert_str_eq(fixed, "");
        ck_assert_str_eq(changed, "");
        free(fixed);
        free(changed);
        config_deinit(&b);

        temp_write("b.conf", "[Server]\nListen=a:1\nBus=user\nGraceSec=31\nInitialCredit=2M\n");
        ck_assert_int_eq(config_load(temp_path("b.conf"), NULL, &b, &error), 0);
        ck_assert_int_eq(config_compare(&a, &b, &fixed, &changed), 0);
        ck_assert_str_eq(fixed, "Listen Bus");
        ck_assert_str_eq(changed, "GraceSec InitialCredit");
        free(fixed);
        free(changed);
        config_deinit(&a);
        config_deinit(&b);
}
END_TEST

START_TEST(buses) {
        BusKind bus = BUS_SYSTEM;

        ck_assert_int_eq(config_parse_bus("none", &bus), 0);
        ck_assert_int_eq(bus, BUS_NONE);
        ck_assert_int_eq(config_parse_bus("None", &bus), -EINVAL);
        ck_assert_int_eq(config_parse_bus("", &bus), -EINVAL);
        ck_assert_int_eq(bus, BUS_NONE);
}
END_TEST

/* Also that each is within its bounds, which defaults are not held against when they are set. */
START_TEST(each_default_is_valid) {
        const char *name, *text;
        size_t n = 0;

        for (; config_get_key(n, &name, &text); n++) {
                char file[256];

                if (!*text)
                        continue;
                snprintf(file, sizeof(file), "[Server]\n%s=%s\n", name, text);
                load_well(file);
        }
        ck_assert_uint_eq(n, 12);
}
END_TEST

TEST_MAIN_FIXTURE("config", setup, teardown, defaults, everything_set, harmless_oddities, bad_input,
          failure_leaves_the_output_untouched, times, addresses, files_that_are_not_there, dropins_of_a_given_file,
          the_administrator_and_the_vendor, instances, comparing, buses, each_default_is_valid)
