/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What comes out on stderr and in the journal, that nothing else does, and the rate limit. */

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "service/log-messages.h"
#include "service/log.h"
#include "run-tests.h"
#include "temp-directory.h"

#define SEC UINT64_C(1000000)

static int saved_stderr;

static void setup(void) {
        temp_directory_make();
        unsetenv("JOURNAL_STREAM");
        saved_stderr = dup(STDERR_FILENO);
        ck_assert_int_ge(saved_stderr, 0);
        ck_assert_int_ge(dup2(open(temp_path("stderr"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO), 0);
}

static void teardown(void) {
        dup2(saved_stderr, STDERR_FILENO);
        close(saved_stderr);
        temp_directory_remove();
}

static void assert_stderr(const char *expected) {
        static char text[65536];
        ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

        ck_assert_int_ge(n, 0);
        text[n] = '\0';
        ck_assert_int_eq(ftruncate(STDERR_FILENO, 0), 0);
        ck_assert_str_eq(text, expected);
}

START_TEST(to_people) {
        log_info("Listening on %s", "127.0.0.1:20000");
        assert_stderr("directserver: Listening on 127.0.0.1:20000\n");
        log_notice("one");
        ck_assert_int_eq(log_warning(-ENOSPC, "%s: %m", "state"), -ENOSPC);
        ck_assert_int_eq(log_error(-EINVAL, "wrong"), -EINVAL);
        assert_stderr("directserver: one\ndirectserver: state: No space left on device\ndirectserver: wrong\n");
}
END_TEST

START_TEST(fields_are_for_the_journal) {
        LogFields fields = {
                .message = LOG_MESSAGE_CLIENT_KICKED, .client_name = "w", .client_id = 7, .address = "a", .reason = "r"
        };

        ck_assert_int_eq(log_full(LOG_NOTICE, 0, &fields, "Client %s was ended", "w"), 0);
        assert_stderr("directserver: Client w was ended\n");
}
END_TEST

START_TEST(errno_is_kept) {
        errno = EDOM;
        log_error(-EIO, "x");
        ck_assert_int_eq(errno, EDOM);
}
END_TEST

START_TEST(control_characters_do_not_get_through) {
        log_info("%s", "a\nb\x1b[31m\x7f\tc\xc2\x9b\xff\xc3(");
        assert_stderr("directserver: a\\x0ab\\x1b[31m\\x7f\\x09c\\xc2\\x9b\\xff\\xc3(\n");
        log_info("%s", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
        assert_stderr("directserver: \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n");
}
END_TEST

START_TEST(long_lines_are_cut) {
        char *text = malloc(100001);
        static char line[65536];
        ssize_t n;

        ck_assert_ptr_nonnull(text);
        for (unsigned fill = 0; fill < 2; fill++) {
                memset(text, fill == 0 ? 'x' : '\n', 100000);
                text[100000] = '\0';
                log_info("%s", text);
                n = pread(STDERR_FILENO, line, sizeof(line) - 1, 0);
                ck_assert_int_gt(n, 1000);
                ck_assert_int_lt(n, 3000);
                ck_assert_ptr_eq(memchr(line, '\n', (size_t) n), line + n - 1); /* one line, and whole */
                ck_assert_int_eq(ftruncate(STDERR_FILENO, 0), 0);
        }
        free(text);
}
END_TEST

START_TEST(cleaning) {
        static const struct {
                const char *text;
                size_t size;
                const char *expected;
        } cases[] = {
                { "", 1, "" },
                { "abc", 1, "" },
                { "abc", 3, "ab" },
                { "abc", 4, "abc" },
                { "\n", 4, "" },
                { "\n", 5, "\\x0a" },
                { "a\nb", 5, "a" },
                { "\xc3\xa4", 2, "" },
                { "\xc3\xa4", 3, "\xc3\xa4" },
                { "\xc3", 5, "\\xc3" },
                { "\xe2\x82", 16, "\\xe2\\x82" },
                { "\xf0\x9f\x98\x80", 5, "\xf0\x9f\x98\x80" },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char buffer[32];

                memset(buffer, 'Z', sizeof(buffer));
                ck_assert_uint_eq(log_clean_text(cases[i].text, buffer, cases[i].size), strlen(cases[i].expected));
                ck_assert_str_eq(buffer, cases[i].expected);
                ck_assert_int_eq(buffer[cases[i].size], 'Z');
        }
}
END_TEST

static void set_journal_stream(const char *suffix) {
        struct stat st;
        char text[64];

        ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
        snprintf(text, sizeof(text), "%ju:%ju%s", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino, suffix);
        ck_assert_int_eq(setenv("JOURNAL_STREAM", text, 1), 0);
}

START_TEST(another_stream_is_not_ours) {
        static const char *const streams[] = { "", ":", "1:2", "x", "0:0" };

        for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
                ck_assert_int_eq(setenv("JOURNAL_STREAM", streams[i], 1), 0);
                log_info("to stderr");
                assert_stderr("directserver: to stderr\n");
        }
        set_journal_stream("0");
        log_info("to stderr");
        assert_stderr("directserver: to stderr\n");
}
END_TEST

static bool write_proc(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);

        if (fd >= 0)
                close(fd);
        return done;
}

/* An empty /run, in namespaces of our own. False where the kernel does not let us; the test is then about nothing. */
static bool empty_run(void) {
        char uids[64], gids[64];

        snprintf(uids, sizeof(uids), "%u %u 1", geteuid(), geteuid());
        snprintf(gids, sizeof(gids), "%u %u 1", getegid(), getegid());
        return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_proc("/proc/self/setgroups", "deny") &&
                write_proc("/proc/self/uid_map", uids) && write_proc("/proc/self/gid_map", gids) &&
                mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0;
}

/* A journal of our own: the library's path for it is fixed. Returns its socket, or -1. */
static int fake_journal(void) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
        int fd;

        if (!empty_run())
                return -1;
        ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
        ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
        return fd;
}

static bool has_line(const char *entry, const char *line) {
        size_t n = strlen(line);

        for (const char *p = entry; (p = strstr(p, line)); p++)
                if ((p == entry || p[-1] == '\n') && p[n] == '\n')
                        return true;
        return false;
}

static void receive(int fd, char *entry, size_t size) {
        ssize_t n = recv(fd, entry, size - 1, 0);

        ck_assert_int_gt(n, 0);
        entry[n] = '\0';
}

START_TEST(to_the_journal) {
        LogFields fields = { .message = LOG_MESSAGE_PROTOCOL_ERROR,
                             .client_name = "worker-3",
                             .client_id = UINT64_C(9223372036854775807),
                             .address = "192.0.2.7:41234",
                             .reason = "a\nPRIORITY=0" };
        char entry[8192];
        int fd = fake_journal();

        if (fd < 0)
                return;
        set_journal_stream("");
        ck_assert_int_eq(log_full(LOG_WARNING, -EBADMSG, &fields, "Client %s: %m", "worker-3"), -EBADMSG);
        receive(fd, entry, sizeof(entry));
        ck_assert(has_line(entry, "MESSAGE=Client worker-3: Bad message"));
        ck_assert(has_line(entry, "MESSAGE_ID=" LOG_MESSAGE_ID_PROTOCOL_ERROR));
        ck_assert(has_line(entry, "PRIORITY=4"));
        ck_assert(!has_line(entry, "PRIORITY=0"));
        ck_assert(has_line(entry, "SYSLOG_IDENTIFIER=directserver"));
        ck_assert(has_line(entry, "CLIENT_NAME=worker-3"));
        ck_assert(has_line(entry, "CLIENT_ID=9223372036854775807"));
        ck_assert(has_line(entry, "CLIENT_ADDRESS=192.0.2.7:41234"));
        ck_assert(has_line(entry, "REASON=a\\x0aPRIORITY=0"));
        ck_assert(has_line(entry, "ERRNO=74"));
        assert_stderr("");

        /* What is not there is left out. */
        log_info("plain");
        receive(fd, entry, sizeof(entry));
        ck_assert(has_line(entry, "MESSAGE=plain"));
        ck_assert(has_line(entry, "PRIORITY=6"));
        ck_assert_ptr_null(strstr(entry, "MESSAGE_ID="));
        ck_assert_ptr_null(strstr(entry, "CLIENT_"));
        ck_assert_ptr_null(strstr(entry, "REASON="));
        ck_assert_ptr_null(strstr(entry, "ERRNO="));

        /* A stream that is not the journal's: people read it. */
        set_journal_stream("7");
        log_info("seen");
        ck_assert_int_eq(recv(fd, entry, sizeof(entry), 0), -1);
        assert_stderr("directserver: seen\n");
}
END_TEST

START_TEST(the_journal_is_gone) {
        if (!empty_run())
                return;
        set_journal_stream("");
        log_info("not lost");
        assert_stderr("directserver: not lost\n");
}
END_TEST

START_TEST(message_ids) {
        ck_assert_ptr_null(log_message_id(LOG_MESSAGE_NONE));
        ck_assert_ptr_null(log_message_id(_LOG_MESSAGE_N));
        for (unsigned i = LOG_MESSAGE_NONE + 1; i < _LOG_MESSAGE_N; i++) {
                const char *id = log_message_id((LogMessage) i);

                ck_assert_ptr_nonnull(id);
                ck_assert_uint_eq(strlen(id), 32);
                ck_assert_uint_eq(strspn(id, "0123456789abcdef"), 32);
                for (unsigned j = i + 1; j < _LOG_MESSAGE_N; j++)
                        ck_assert_str_ne(id, log_message_id((LogMessage) j));
        }
}
END_TEST

START_TEST(limit) {
        LogLimit l = { .interval_usec = 10 * SEC, .burst = 3 };
        unsigned left_out = 99;
        uint64_t now = 5 * SEC;

        for (unsigned i = 0; i < 3; i++) {
                ck_assert(log_limit_pass(&l, now, &left_out));
                ck_assert_uint_eq(left_out, 0);
        }
        for (unsigned i = 0; i < 50; i++)
                ck_assert(!log_limit_pass(&l, now + i, &left_out));
        ck_assert(!log_limit_pass(&l, now + 10 * SEC - 1, &left_out));

        /* The interval is over: the first line says how many were not written, once. */
        ck_assert(log_limit_pass(&l, now + 10 * SEC, &left_out));
        ck_assert_uint_eq(left_out, 51);
        ck_assert(log_limit_pass(&l, now + 10 * SEC, &left_out));
        ck_assert_uint_eq(left_out, 0);
        ck_assert(log_limit_pass(&l, now + 10 * SEC, &left_out));
        ck_assert(!log_limit_pass(&l, now + 10 * SEC, &left_out));

        /* After a long pause too. */
        ck_assert(log_limit_pass(&l, now + 1000 * SEC, &left_out));
        ck_assert_uint_eq(left_out, 1);
}
END_TEST

START_TEST(limit_of_nothing) {
        LogLimit none = { .interval_usec = SEC, .burst = 0 }, at_once = { .interval_usec = 0, .burst = 1 };
        unsigned left_out;

        for (uint64_t now = 0; now < 10 * SEC; now += SEC / 2) {
                ck_assert(!log_limit_pass(&none, now, &left_out));
                ck_assert(log_limit_pass(&at_once, now, &left_out));
        }
}
END_TEST

TEST_MAIN_FIXTURE("log", setup, teardown, to_people, fields_are_for_the_journal, errno_is_kept,
          control_characters_do_not_get_through, long_lines_are_cut, cleaning, another_stream_is_not_ours, to_the_journal,
          the_journal_is_gone, message_ids, limit, limit_of_nothing)
