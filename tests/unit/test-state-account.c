/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may resume, for whoever opens the state directory after a service that has ended in order, was killed, or has lost its
 * machine. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "service/state.h"
#include "run-tests.h"
#include "temp-directory.h"

static State *state;

static void set_boot(const char *id) {
        ck_assert_int_eq(setenv("DIRECTSERVER_BOOT_ID", id, 1), 0);
}

static void setup(void) {
        temp_directory_make();
        set_boot("1111");
        state = NULL;
}

static void teardown(void) {
        state_free(state);
        temp_directory_remove();
}

static State *open_state(void) {
        State *s = NULL;
        char *error;
        int r = state_open(temp_path("state"), NULL, &s, &error);

        ck_assert_msg(r == 0, "%s", error ? error : strerror(-r));
        return s;
}

static void reopen(StateLoss loss) {
        state = state_free(state);
        state = open_state();
        ck_assert_int_eq(state_get_loss(state), loss);
}

static void reserve(State *s, uint64_t n, uint64_t expected) {
        uint64_t first = 0;

        ck_assert_int_eq(state_reserve_ids(s, n, &first), 0);
        ck_assert_uint_eq(first, expected);
}

static void end_ids(State *s, uint64_t first, uint64_t last) {
        state_end_ids(s, (IdRange) { first, last + 1 });
        ck_assert_int_eq(state_settle(s), 0);
}

/* "1-4 7-9" */
static const char *resumable(void) {
        static char text[4096];
        const IdRanges *ids = state_get_resumable(state);
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; i < ids->n && n < sizeof(text) - 64; i++)
                n += (size_t) sprintf(text + n, "%s%" PRIu64 "-%" PRIu64, i > 0 ? " " : "", ids->ranges[i].first,
                                      ids->ranges[i].end - 1);
        return text;
}

/* A service that is killed when it has done all this. */
static void killed_after(void (*work)(State *s)) {
        pid_t pid = fork();
        int status;

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                work(open_state());
                kill(getpid(), SIGKILL);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void three_leave(State *s) {
        reserve(s, 10, 1);
        end_ids(s, 5, 6);
        end_ids(s, 10, 10);
        state_end_ids(s, (IdRange) { 1, 2 }); /* not settled, so nobody was told */
}

static void nothing_happens(State *s) {
}

START_TEST(after_an_orderly_end) {
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "");
        three_leave(state);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "2-4 7-9");
        reserve(state, 10, 11);
        end_ids(state, 2, 11);
        set_boot("2222"); /* the machine was started again */
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "12-20");
}
END_TEST

START_TEST(after_a_kill) {
        killed_after(three_leave);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "1-4 7-9");
}
END_TEST

START_TEST(after_a_crash_of_the_machine) {
        killed_after(three_leave);
        set_boot("2222");
        reopen(STATE_LOSS_MACHINE);
        ck_assert_str_eq(resumable(), "");
        reserve(state, 5, 11);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "11-15");
        state = state_free(state);

        /* What had ended in order counts no longer as soon as the next service has begun. */
        killed_after(nothing_happens);
        set_boot("3333");
        reopen(STATE_LOSS_MACHINE);
        ck_assert_str_eq(resumable(), "");
}
END_TEST

/* Without a boot that is known, a service that was killed has lost its machine. */
START_TEST(a_boot_that_is_not_known) {
        set_boot("?");
        killed_after(three_leave);
        reopen(STATE_LOSS_MACHINE);
        reserve(state, 5, 11);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "11-15");
}
END_TEST

START_TEST(killed_in_the_middle_of_a_line) {
        reopen(STATE_LOSS_NONE);
        state = state_free(state);
        for (int n = 1; n <= 6; n++) {
                char text[64];

                snprintf(text, sizeof(text), "boot=1111\n+1-20\n-5-5\n%.*s", n, "-11-12");
                temp_write("state/resumable", text);
                reopen(STATE_LOSS_NONE);
                ck_assert_str_eq(resumable(), "1-4 6-20");
        }
}
END_TEST

START_TEST(a_damaged_account) {
        static const char *const texts[] = { "",
                                             "\n",
                                             "boot=1111",
                                             "boo=1111\n+1-2\n",
                                             "boot=1111\n\n",
                                             "boot=1111\n+1-2\n\n",
                                             "boot=1111\n1-2\n",
                                             "boot=1111\n+1\n",
                                             "boot=1111\n+2-1\n",
                                             "boot=1111\n+0-1\n",
                                             "boot=1111\n+01-2\n",
                                             "boot=1111\n+1-2 \n",
                                             "boot=1111\n+1-2\n*3-4\n",
                                             "boot=1111\n+1-9223372036854775808\n",
                                             "boot=1111\n+1-2\n+" };

        reopen(STATE_LOSS_NONE);
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                state = state_free(state);
                temp_write("state/resumable", texts[i]);
                reopen(i + 1 == sizeof(texts) / sizeof(texts[0]) ? STATE_LOSS_NONE : STATE_LOSS_DAMAGED);
                ck_assert_str_eq(resumable(), i + 1 == sizeof(texts) / sizeof(texts[0]) ? "1-2" : "");
        }
        state = state_free(state);
        temp_write_bytes("state/resumable", "boot=1111\n+1-2\n\0\0\0\n", 19);
        reopen(STATE_LOSS_DAMAGED);
        state = state_free(state);
        ck_assert_int_eq(unlink(temp_path("state/resumable")), 0);
        reopen(STATE_LOSS_MISSING);
        ck_assert_str_eq(resumable(), "");
        state = state_free(state);
        temp_write("state/resumable", "boot=1111\n+1-9223372036854775807\n");
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "1-9223372036854775807");
}
END_TEST

START_TEST(a_second_service) {
        State *first;

        reopen(STATE_LOSS_NONE);
        reserve(state, 10, 1);
        first = state;
        state = NULL;
        reopen(STATE_LOSS_SHARED);
        ck_assert_str_eq(resumable(), "");
        reserve(state, 10, 11);
        end_ids(state, 1, 20); /* it says nothing of the other's */
        reserve(first, 10, 21);
        end_ids(first, 1, 5);
        state = state_free(state);
        state_free(first);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "6-10 21-30"); /* of the second's nobody */
}
END_TEST

/* A limit on file sizes stands for a full disk. */
static void limit_files(rlim_t size) {
        struct rlimit limit = { .rlim_cur = size, .rlim_max = RLIM_INFINITY };

        signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void end_on_a_full_disk(State *s) {
        reserve(s, 10, 1);
        limit_files(20); /* room for half a line */
        state_end_ids(s, (IdRange) { 5, 6 });
        ck_assert_int_eq(state_settle(s), -EFBIG);
        state_end_ids(s, (IdRange) { 6, 7 });
        ck_assert_int_eq(state_settle(s), -EFBIG);
}

static void end_when_there_is_room_again(State *s) {
        reserve(s, 10, 11);
        limit_files(20);
        state_end_ids(s, (IdRange) { 15, 16 });
        ck_assert_int_eq(state_settle(s), -EFBIG);
        limit_files(RLIM_INFINITY);
        end_ids(s, 17, 17);
        end_ids(s, 19, 19);
}

START_TEST(a_disk_that_is_full) {
        killed_after(end_on_a_full_disk);
        reopen(STATE_LOSS_MISSING); /* it says less than is so, and nothing wrong */
        state = state_free(state);
        killed_after(end_when_there_is_room_again);
        reopen(STATE_LOSS_NONE);
        ck_assert_str_eq(resumable(), "11-14 16-16 18-18 20-20");
}
END_TEST

/* Many that come and go, with one now and then that stays: the file has room for those. */
START_TEST(it_does_not_grow) {
        enum { N = 200000 };
        off_t largest = 0;

        reopen(STATE_LOSS_NONE);
        reserve(state, N, 1);
        for (uint64_t id = 1; id < N; id++) {
                struct stat st;

                if (id % 1000 != 0)
                        state_end_ids(state, (IdRange) { id, id + 1 });
                if (id % 7 != 0)
                        continue;
                ck_assert_int_eq(state_settle(state), 0);
                ck_assert_int_eq(stat(temp_path("state/resumable"), &st), 0);
                largest = st.st_size > largest ? st.st_size : largest;
        }
        ck_assert_int_gt(largest, 1024 * 1024);
        ck_assert_int_lt(largest, 1024 * 1024 + 4 * 20 * (N / 1000));
        reopen(STATE_LOSS_NONE);
        ck_assert_uint_eq(state_get_resumable(state)->n, N / 1000);
}
END_TEST

/* Killed at some point, it has told of each end only after the account had it. */
START_TEST(killed_at_any_time) {
        enum { N = 20000 };

        for (unsigned round = 0; round < 15; round++) {
                uint64_t first = 1 + round * N, told = 0, id;
                int fds[2];
                pid_t pid;

                ck_assert_int_eq(pipe(fds), 0);
                pid = fork();
                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        State *own = open_state();

                        reserve(own, N, first);
                        for (id = first; id < first + N - 1; id++) {
                                end_ids(own, id, id);
                                if (write(fds[1], &id, sizeof(id)) != sizeof(id))
                                        _exit(1);
                        }
                        for (;;)
                                pause();
                }
                close(fds[1]);
                for (unsigned i = 0; i <= round * 1300; i++)
                        ck_assert_int_eq(read(fds[0], &told, sizeof(told)), sizeof(told));
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                while (read(fds[0], &id, sizeof(id)) == sizeof(id))
                        told = id;
                close(fds[0]);
                ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
                reopen(STATE_LOSS_NONE);
                for (id = first; id <= told; id++)
                        if (idranges_has(state_get_resumable(state), id))
                                ck_abort_msg("%" PRIu64 " was said to be gone", id);
                ck_assert(idranges_has(state_get_resumable(state), first + N - 1));
                state = state_free(state);
        }
}
END_TEST

TEST_MAIN_FIXTURE("state-account", setup, teardown, after_an_orderly_end, after_a_kill, after_a_crash_of_the_machine,
                  a_boot_that_is_not_known, killed_in_the_middle_of_a_line, a_damaged_account, a_second_service,
                  a_disk_that_is_full, it_does_not_grow, killed_at_any_time)
