/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ids that are given out once, whatever happens in between; and a directory that is not as it should be. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "service/state.h"
#include "run-tests.h"
#include "temp-directory.h"

static State *state;
static char *error;

static void setup(void) {
        temp_directory_make();
        unsetenv("CREDENTIALS_DIRECTORY");
        state = NULL;
        error = NULL;
}

static void teardown(void) {
        state_free(state);
        free(error);
        temp_directory_remove();
}

static int reopen(void) {
        state = state_free(state);
        free(error);
        error = NULL;
        return state_open(temp_path("state"), NULL, &state, &error);
}

static void reopen_well(void) {
        int r = reopen();

        ck_assert_msg(r == 0, "%s", error ? error : strerror(-r));
        ck_assert_ptr_null(error);
}

static uint64_t reserve(uint64_t n) {
        uint64_t first = 0;

        ck_assert_int_eq(state_reserve_ids(state, n, &first), 0);
        return first;
}

static void assert_content(const char *name, const char *expected) {
        char text[256] = {};
        int fd = open(temp_path(name), O_RDONLY | O_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
        close(fd);
        ck_assert_str_eq(text, expected);
}

static void assert_mode(const char *name, mode_t mode) {
        struct stat st;

        ck_assert_int_eq(lstat(temp_path(name), &st), 0);
        ck_assert_uint_eq(st.st_mode, mode);
}

static void assert_refused_for(const char *name, int expected, const char *words) {
        ck_assert_int_eq(reopen(), expected);
        ck_assert_ptr_null(state);
        ck_assert_ptr_nonnull(error);
        ck_assert_msg(strstr(error, words), "\"%s\" lacks \"%s\"", error, words);
        ck_assert_ptr_nonnull(strstr(error, temp_path(name)));
        ck_assert_ptr_null(strchr(error, '\n'));
}

static void assert_refused(int expected, const char *words) {
        assert_refused_for("state", expected, words);
}

START_TEST(from_nothing) {
        umask(0);
        reopen_well();
        assert_mode("state", S_IFDIR | 0700);
        assert_mode("state/next-id", S_IFREG | 0600);
        assert_mode("state/resume-key", S_IFREG | 0600);
        assert_mode("state/resumable.lock", S_IFREG | 0600);
        ck_assert(!state_has_credential(state));
        assert_content("state/next-id", "next-id=1\n");
        ck_assert_str_eq(state_get_path(state), temp_path("state"));
        ck_assert_uint_eq(reserve(10), 1);
        ck_assert_uint_eq(reserve(1), 11);
        ck_assert_uint_eq(reserve(1000), 12);
        assert_content("state/next-id", "next-id=1012\n");
}
END_TEST

START_TEST(directories_above_are_made) {
        ck_assert_int_eq(state_open(temp_path("a/b//c/"), NULL, &state, &error), 0);
        assert_mode("a/b", S_IFDIR | 0700);
        assert_mode("a/b/c/next-id", S_IFREG | 0600);
}
END_TEST

START_TEST(what_is_kept) {
        uint8_t key[STATE_KEY_SIZE];

        reopen_well();
        memcpy(key, state_get_key(state), sizeof(key));
        ck_assert_uint_eq(reserve(5), 1);
        reopen_well();
        ck_assert_uint_eq(reserve(5), 6);
        ck_assert_mem_eq(state_get_key(state), key, sizeof(key));

        /* A key that was taken away is made anew: tokens die with it, ids do not. */
        ck_assert_int_eq(unlink(temp_path("state/resume-key")), 0);
        reopen_well();
        ck_assert_mem_ne(state_get_key(state), key, sizeof(key));
        ck_assert_uint_eq(reserve(5), 11);
}
END_TEST

START_TEST(the_last_id) {
        uint64_t first = 0;

        temp_mkdir("state");
        temp_write("state/next-id", "next-id=9223372036854775800\n");
        reopen_well();
        ck_assert_int_eq(state_reserve_ids(state, 0, &first), -EINVAL);
        ck_assert_int_eq(state_reserve_ids(state, 9, &first), -EOVERFLOW);
        ck_assert_int_eq(state_reserve_ids(state, UINT64_MAX, &first), -EOVERFLOW);
        ck_assert_uint_eq(first, 0);
        ck_assert_uint_eq(reserve(8), UINT64_C(9223372036854775800)); /* up to 2^63-1 */
        ck_assert_int_eq(state_reserve_ids(state, 1, &first), -EOVERFLOW);
        reopen_well();
        ck_assert_int_eq(state_reserve_ids(state, 1, &first), -EOVERFLOW);
}
END_TEST

static const char *const damaged[] = {
        "",
        "next-id=",
        "next-id=\n",
        "next-id=5",
        "next-id=0\n",
        "next-id=05\n",
        "next-id=-5\n",
        "next-id=+5\n",
        "next-id= 5\n",
        "next-id=5 \n",
        "next-id=5\r\n",
        "next-id=5\n\n",
        "next-id=5\nx",
        "Next-id=5\n",
        "nextid=5\n",
        "5\n",
        "next-id=5x\n",
        "next-id=9223372036854775809\n",
        "next-id=18446744073709551616\n",
        "next-id=99999999999999999999999999999999999999999999999999999999999999999999999999\n",
        "next-id=5\n#\n",
};

START_TEST(a_damaged_counter) {
        temp_mkdir("state");
        for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
                uint64_t first = 0;

                temp_write("state/next-id", "next-id=1\n");
                reopen_well();
                temp_write("state/next-id", damaged[i]);
                ck_assert_int_eq(state_reserve_ids(state, 1, &first), -EUCLEAN);
                assert_refused(-EUCLEAN, "next-id is damaged");
                assert_content("state/next-id", damaged[i]); /* left for whoever wants to look */
        }
}
END_TEST

START_TEST(a_counter_with_a_zero_byte) {
        reopen_well();
        temp_write_bytes("state/next-id", "next-id=5\0\n", 11);
        assert_refused(-EUCLEAN, "next-id is damaged");
}
END_TEST

START_TEST(a_counter_that_is_gone) {
        uint64_t first = 0;

        reopen_well();
        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        ck_assert_int_eq(state_reserve_ids(state, 1, &first), -ENOENT);
        assert_refused(-EUCLEAN, "next-id is missing");
}
END_TEST

START_TEST(a_damaged_key) {
        uint8_t key[STATE_KEY_SIZE + 1] = {};

        reopen_well();
        for (size_t n = 0; n <= sizeof(key); n++) {
                temp_write_bytes("state/resume-key", key, n);
                if (n == STATE_KEY_SIZE)
                        reopen_well();
                else
                        assert_refused(-EUCLEAN, "resume-key is damaged");
        }
}
END_TEST

#define CREDENTIAL "credentials/" STATE_KEY_CREDENTIAL

static void give_credential(char c) {
        char key[STATE_KEY_SIZE];

        memset(key, c, sizeof(key));
        temp_write_bytes(CREDENTIAL, key, sizeof(key));
}

static void use_credentials(void) {
        temp_mkdir("credentials");
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", temp_path("credentials"), 1), 0);
}

static void reopen_with_credential(char c, StateLoss loss) {
        reopen_well();
        ck_assert(state_has_credential(state));
        for (size_t i = 0; i < STATE_KEY_SIZE; i++)
                ck_assert_int_eq(state_get_key(state)[i], c);
        ck_assert_int_eq(state_get_loss(state), loss);
}

START_TEST(a_credential) {
        use_credentials();
        give_credential('a');
        ck_assert_int_eq(chmod(temp_path(CREDENTIAL), 0440), 0); /* as it is where an access list says who may read it */
        reopen_with_credential('a', STATE_LOSS_NONE);
        ck_assert_uint_eq(reserve(5), 1);
        ck_assert_int_eq(access(temp_path("state/resume-key"), F_OK), -1);
        reopen_with_credential('a', STATE_LOSS_NONE);
        ck_assert_uint_eq(state_get_resumable(state)->n, 1);

        /* What nobody reads may be damaged */
        temp_write("state/resume-key", "short");
        reopen_with_credential('a', STATE_LOSS_NONE);
        assert_content("state/resume-key", "short");
        ck_assert_int_eq(unlink(temp_path("state/resume-key")), 0);

        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        assert_refused(-EUCLEAN, "next-id is missing");
}
END_TEST

/* Nobody can resume after that, and nobody may wait for it. */
START_TEST(another_key) {
        reopen_well();
        ck_assert_uint_eq(reserve(5), 1);
        use_credentials();
        give_credential('a');
        reopen_with_credential('a', STATE_LOSS_KEY);
        ck_assert_uint_eq(state_get_resumable(state)->n, 0);
        ck_assert_uint_eq(reserve(5), 6);
        reopen_with_credential('a', STATE_LOSS_NONE);
        ck_assert_uint_eq(state_get_resumable(state)->n, 1);

        give_credential('b');
        reopen_with_credential('b', STATE_LOSS_KEY);
        ck_assert_uint_eq(reserve(5), 11);
        ck_assert_int_eq(unlink(temp_path(CREDENTIAL)), 0);
        reopen_well();
        ck_assert_int_eq(state_get_loss(state), STATE_LOSS_KEY);
        ck_assert(!state_has_credential(state));
        ck_assert_uint_eq(reserve(5), 16);

        ck_assert_int_eq(unlink(temp_path("state/resume-key")), 0); /* and is made anew */
        reopen_well();
        ck_assert_int_eq(state_get_loss(state), STATE_LOSS_KEY);
}
END_TEST

START_TEST(no_credential) {
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", "", 1), 0);
        reopen_well();
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", temp_path("nowhere"), 1), 0);
        reopen_well();
        use_credentials();
        temp_write("credentials/of-another", "");
        reopen_well();
        ck_assert(!state_has_credential(state));
        ck_assert_int_eq(state_get_loss(state), STATE_LOSS_NONE);
        ck_assert_int_eq(access(temp_path("state/resume-key"), F_OK), 0);
}
END_TEST

START_TEST(a_credential_that_is_no_key) {
        char bytes[3 * STATE_KEY_SIZE] = {};

        use_credentials();
        for (size_t n = 0; n <= sizeof(bytes); n++) {
                temp_write_bytes(CREDENTIAL, bytes, n);
                if (n != STATE_KEY_SIZE)
                        assert_refused_for(CREDENTIAL, -EUCLEAN, "does not have 32 bytes");
        }
        ck_assert_int_eq(access(temp_path("state/resume-key"), F_OK), -1);
        ck_assert_int_eq(unlink(temp_path(CREDENTIAL)), 0);
        temp_mkdir(CREDENTIAL);
        assert_refused_for(CREDENTIAL, -EPERM, "is not a plain file");
        ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", temp_write("file", ""), 1), 0);
        assert_refused_for("file", -ENOTDIR, "Not a directory");
}
END_TEST

/* Each of these is what a crash at some point of a replacement leaves. */
START_TEST(after_a_crash) {
        reopen_well();
        ck_assert_uint_eq(reserve(100), 1);
        temp_write("state/next-id.new", "");
        ck_assert_uint_eq(reserve(100), 101);
        temp_write("state/next-id.new", "next-i");
        reopen_well();
        ck_assert_uint_eq(reserve(100), 201);
        temp_write("state/next-id.new", "next-id=7\n");
        reopen_well();
        ck_assert_uint_eq(reserve(100), 301);

        /* The first start, broken off before the key was there. */
        ck_assert_int_eq(unlink(temp_path("state/resume-key")), 0);
        temp_write("state/resume-key.new", "half a key");
        reopen_well();
        ck_assert_uint_eq(reserve(1), 401);
        ck_assert_int_eq(access(temp_path("state/resume-key.new"), F_OK), -1);

        /* … and before there was anything. */
        ck_assert_int_eq(unlink(temp_path("state/resume-key")), 0);
        ck_assert_int_eq(unlink(temp_path("state/resumable.lock")), 0);
        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        temp_write("state/next-id.new", "ne");
        reopen_well();
        ck_assert_uint_eq(reserve(1), 1);
}
END_TEST

START_TEST(a_link_set_as_a_trap) {
        temp_write("victim", "untouched");
        reopen_well();
        ck_assert_int_eq(symlink(temp_path("victim"), temp_path("state/next-id.new")), 0);
        ck_assert_uint_eq(reserve(1), 1);
        assert_content("victim", "untouched");

        temp_write("real", "next-id=5\n");
        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        ck_assert_int_eq(symlink(temp_path("real"), temp_path("state/next-id")), 0);
        assert_refused(-EPERM, "next-id is not a plain file");
        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        ck_assert_int_eq(mkfifo(temp_path("state/next-id"), 0600), 0);
        assert_refused(-EPERM, "next-id is not a plain file"); /* and does not wait for a writer */
        ck_assert_int_eq(unlink(temp_path("state/next-id")), 0);
        temp_mkdir("state/next-id");
        assert_refused(-EPERM, "next-id is not a plain file");
}
END_TEST

START_TEST(permissions) {
        reopen_well();
        ck_assert_int_eq(chmod(temp_path("state/resume-key"), 0640), 0);
        assert_refused(-EPERM, "resume-key is not a plain file");
        ck_assert_int_eq(chmod(temp_path("state/resume-key"), 0600), 0);
        ck_assert_int_eq(chmod(temp_path("state/next-id"), 0660), 0);
        assert_refused(-EPERM, "next-id is not a plain file");
        ck_assert_int_eq(chmod(temp_path("state/next-id"), 0644), 0);
        reopen_well();
        ck_assert_int_eq(chmod(temp_path("state"), 0755), 0);
        reopen_well();
        ck_assert_int_eq(chmod(temp_path("state"), 0770), 0);
        assert_refused(-EPERM, "others may write to it");
}
END_TEST

START_TEST(another_owner) {
        if (geteuid() != 0)
                return; /* only root can give a file away */
        reopen_well();
        ck_assert_int_eq(chown(temp_path("state/next-id"), 65534, 65534), 0);
        assert_refused(-EPERM, "next-id is not a plain file");
        ck_assert_int_eq(chown(temp_path("state"), 65534, 65534), 0);
        assert_refused(-EPERM, "belongs to user 65534");
}
END_TEST

START_TEST(not_a_directory) {
        temp_write("state", "");
        assert_refused(-ENOTDIR, "Not a directory");
}
END_TEST

/* A limit on file sizes stands for a full disk: both let the write fail after the file was made. */
START_TEST(a_disk_that_is_full) {
        struct rlimit none = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
        uint64_t first = 0;

        reopen_well();
        ck_assert_uint_eq(reserve(100), 1);
        signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
        ck_assert_int_eq(state_reserve_ids(state, 100, &first), -EFBIG);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
        ck_assert_uint_eq(first, 0);
        ck_assert_int_eq(access(temp_path("state/next-id.new"), F_OK), -1);
        assert_content("state/next-id", "next-id=101\n");
        ck_assert_uint_eq(reserve(1), 101);

        /* At the very first start: the message says where. */
        ck_assert_int_eq(rename(temp_path("state"), temp_path("old")), 0);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
        assert_refused(-EFBIG, "next-id: File too large");
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
        reopen_well();
}
END_TEST

START_TEST(the_default_place) {
        char expected[TEMP_PATH_MAX + 64];

        ck_assert_int_eq(setenv("STATE_DIRECTORY", temp_path("one"), 1), 0);
        ck_assert_int_eq(state_open(NULL, NULL, &state, &error), 0);
        ck_assert_str_eq(state_get_path(state), temp_path("one"));
        state = state_free(state);

        snprintf(expected, sizeof(expected), "%s:/nonexistent", temp_path("two"));
        ck_assert_int_eq(setenv("STATE_DIRECTORY", expected, 1), 0);
        ck_assert_int_eq(state_open(NULL, NULL, &state, &error), 0);
        ck_assert_str_eq(state_get_path(state), temp_path("two"));
        state = state_free(state);

        /* systemd has made one for the instance */
        ck_assert_int_eq(setenv("STATE_DIRECTORY", temp_path("three"), 1), 0);
        ck_assert_int_eq(state_open(NULL, "alpha", &state, &error), 0);
        ck_assert_str_eq(state_get_path(state), temp_path("three"));
        state = state_free(state);

        /* Root's would be the machine's */
        ck_assert_int_eq(unsetenv("STATE_DIRECTORY"), 0);
        ck_assert_int_eq(setenv("XDG_STATE_HOME", temp_path("home"), 1), 0);
        temp_mkdir("home");
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(temp_path("home"), 1, 1), 0);
                ck_assert_int_eq(chmod(temp_directory, 0711), 0);
                ck_assert_int_eq(seteuid(1), 0);
        }
        ck_assert_int_eq(state_open(NULL, "alpha", &state, &error), 0);
        ck_assert_int_eq(seteuid(getuid()), 0);
        ck_assert_str_eq(state_get_path(state), temp_path("home/directserver/instances/alpha"));
}
END_TEST

enum { N_PROCESSES = 4, N_ROUNDS = 50 };

/* Each reserves blocks of sizes of its own and writes down which; with a handle of its own, as two services would have. */
static void reserve_and_report(int fd, unsigned process) {
        State *own;
        char *why;

        if (state_open(temp_path("state"), NULL, &own, &why) < 0)
                _exit(1);
        for (unsigned i = 0; i < N_ROUNDS; i++) {
                uint64_t n = 1 + (i * 7 + process * 3) % 11, block[2] = { 0, n };

                if (state_reserve_ids(own, n, &block[0]) < 0 || write(fd, block, sizeof(block)) != sizeof(block))
                        _exit(2);
        }
        state_free(own);
        _exit(0);
}

START_TEST(processes_never_overlap) {
        static uint8_t owners[N_PROCESSES * N_ROUNDS * 12];
        uint64_t block[2], sum = 0;
        int fds[2], status;

        memset(owners, 0, sizeof(owners));
        ck_assert_int_eq(pipe(fds), 0);
        for (unsigned i = 0; i < N_PROCESSES; i++) {
                pid_t pid = fork();

                ck_assert_int_ge(pid, 0);
                if (pid == 0)
                        reserve_and_report(fds[1], i);
        }
        close(fds[1]);
        for (unsigned i = 0; i < N_PROCESSES * N_ROUNDS; i++) {
                ck_assert_int_eq(read(fds[0], block, sizeof(block)), sizeof(block));
                for (uint64_t id = block[0]; id < block[0] + block[1]; id++) {
                        ck_assert_uint_lt(id, sizeof(owners));
                        ck_assert_msg(owners[id] == 0, "id %" PRIu64 " was given out twice", id);
                        owners[id] = 1;
                }
                sum += block[1];
        }
        close(fds[0]);
        for (unsigned i = 0; i < N_PROCESSES; i++) {
                ck_assert_int_gt(wait(&status), 0);
                ck_assert_int_eq(status, 0);
        }
        reopen_well();
        ck_assert_uint_eq(reserve(1), sum + 1); /* nor was any lost */
}
END_TEST

/* Killed anywhere in a replacement: what was reserved before stays reserved, and the next start works. */
START_TEST(killed_at_any_time) {
        uint64_t highest = 0;

        for (unsigned round = 0; round < 15; round++) {
                uint64_t first;
                int fds[2];
                pid_t pid;

                ck_assert_int_eq(pipe(fds), 0);
                pid = fork();
                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        State *own;
                        char *why;

                        if (state_open(temp_path("state"), NULL, &own, &why) < 0)
                                _exit(1);
                        while (state_reserve_ids(own, 1, &first) == 0 && write(fds[1], &first, sizeof(first)) == sizeof(first))
                                ;
                        _exit(2);
                }
                close(fds[1]);
                for (unsigned i = 0; i <= round; i++) { /* each round is killed somewhere after another id */
                        ck_assert_int_eq(read(fds[0], &first, sizeof(first)), sizeof(first));
                        ck_assert_uint_gt(first, highest);
                        highest = first;
                }
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                while (read(fds[0], &first, sizeof(first)) == sizeof(first)) {
                        ck_assert_uint_gt(first, highest);
                        highest = first;
                }
                close(fds[0]);
                ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
                reopen_well();
                ck_assert_uint_gt(reserve(1), highest);
        }
}
END_TEST

START_TEST(freeing_nothing) {
        ck_assert_ptr_null(state_free(NULL));
}
END_TEST

TEST_MAIN_FIXTURE("state", setup, teardown, from_nothing, directories_above_are_made, what_is_kept, the_last_id,
          a_damaged_counter, a_counter_with_a_zero_byte, a_counter_that_is_gone, a_damaged_key, a_credential,
          another_key, no_credential, a_credential_that_is_no_key, after_a_crash, a_link_set_as_a_trap, permissions,
          another_owner, not_a_directory, a_disk_that_is_full, the_default_place, processes_never_overlap, killed_at_any_time,
          freeing_nothing)
