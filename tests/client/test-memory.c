/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two clients of a real service that use everything there is, with each allocation of the library failing in turn, alone or with
 * the three that follow. A function may say -ENOMEM, and is called again; what it took has to arrive, once and whole. The linker
 * puts the functions below in place of those of the C library (--wrap). */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/client/real.h"
#include "tests/unit/run-tests.h"

static bool is_armed;
static size_t n_allocations, fail_from, fail_to;

static bool fails(void) {
        if (!is_armed)
                return false;
        n_allocations++;
        return n_allocations >= fail_from && n_allocations < fail_to;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size) {
        return fails() ? NULL : __real_malloc(size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size) {
        return fails() ? NULL : __real_realloc(p, size);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
        return fails() ? NULL : __real_calloc(n, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text) {
        return fails() ? NULL : __real_strdup(text);
}

char *__real_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size) {
        return fails() ? NULL : __real_strndup(text, size);
}

int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list ap;
        int r;

        if (fails())
                return -1;
        va_start(ap, format);
        r = vasprintf(ret, format, ap);
        va_end(ap);
        return r;
}

enum {
        LARGE = 200000,
        KIND_BROADCAST = 1, /* of messages; each comes once */
        KIND_SMALL,
        KIND_LARGE,
        KIND_FILE,
        KIND_NAME,
        KIND_STREAM,
        KIND_CALL,
        _KIND_N,
};

typedef struct Scene {
        DirectClient *a, *b;
        unsigned n_received[_KIND_N];
        unsigned n_delivered, n_called;
        int result; /* of the call */
} Scene;

static uint8_t large[LARGE];

/* Whatever has no memory is tried again. What the test itself allocates, libcheck above all, does not fail. */
#define TRY(call)                                              \
        do {                                                   \
                bool was_armed_ = is_armed;                    \
                int r_;                                        \
                                                               \
                is_armed = true;                               \
                while ((r_ = (call)) == -ENOMEM)               \
                        ;                                      \
                is_armed = was_armed_;                         \
                ck_assert_msg(r_ >= 0, #call ": %s", strerror(-r_)); \
        } while (0)

static void on_delivered(DirectClient *client, int result, void *userdata) {
        Scene *scene = userdata;

        is_armed = false;
        ck_assert_int_eq(result, 0);
        is_armed = true;
        scene->n_delivered++;
}

static void on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        Scene *scene = userdata;

        scene->result = result;
        scene->n_called++;
        direct_message_free(reply);
}

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Scene *scene = userdata;
        unsigned kind = direct_message_get_kind(message);

        is_armed = false;
        ck_assert_uint_lt(kind, _KIND_N);
        /* Without memory for the whole, it comes in parts */
        ck_assert_mem_eq(direct_message_get_data(message), large + direct_message_get_offset(message),
                         direct_message_get_size(message));
        ck_assert_int_eq(direct_message_is_failed(message), 0);
        scene->n_received[kind] += (unsigned) direct_message_is_last(message);
        if (kind == KIND_CALL)
                TRY(direct_reply(client, message, large, LARGE));
        is_armed = true;
        direct_message_free(message);
}

static DirectClient *connect_client(const char *name) {
        DirectClient *client;

        TRY(direct_client_new(&client));
        TRY(direct_set_name(client, name));
        TRY(direct_connect(client, service.address));
        return client;
}

static void send_all(Scene *scene) {
        uint64_t id = direct_get_id(scene->b);
        uint32_t stream;
        int fd;

        fd = memfd_create("test", MFD_CLOEXEC);
        ck_assert_int_eq(write(fd, large, LARGE), LARGE);
        TRY(direct_broadcast(scene->a, KIND_BROADCAST, large, LARGE));
        TRY(direct_send_async(scene->a, id, KIND_SMALL, large, 100, on_delivered, scene));
        TRY(direct_send_async(scene->a, id, KIND_LARGE, large, LARGE, on_delivered, scene));
        TRY(direct_send_fd(scene->a, id, KIND_FILE, fd, LARGE, on_delivered, scene));
        TRY(direct_send_name_async(scene->a, "b", KIND_NAME, large, 10, on_delivered, scene));
        TRY(direct_stream_begin(scene->a, id, KIND_STREAM, DIRECT_SIZE_UNKNOWN, &stream));
        TRY(direct_stream_write(scene->a, stream, large, 70000));
        TRY(direct_stream_end_async(scene->a, stream, on_delivered, scene));
        TRY(direct_call_start(scene->a, id, KIND_CALL, large, 5, PATIENCE, on_reply, scene));
        close(fd);
}

static bool is_done(const Scene *scene) {
        if (scene->n_delivered < 5 || scene->n_called < 1)
                return false;
        for (unsigned kind = 1; kind < _KIND_N; kind++)
                if (scene->n_received[kind] == 0)
                        return false;
        return true;
}

static bool run_once(DirectClient *client) {
        int r;

        is_armed = true;
        r = direct_process(client);
        is_armed = false;
        ck_assert_int_ge(r, 0);
        return r > 0;
}

static void run(Scene *scene) {
        while (!is_done(scene)) {
                struct pollfd pollfds[] = {
                        { .fd = direct_get_fd(scene->a), .events = POLLIN },
                        { .fd = direct_get_fd(scene->b), .events = POLLIN },
                };
                bool more;

                more = run_once(scene->a);
                more |= run_once(scene->b);
                if (!more && !is_done(scene))
                        ck_assert_msg(poll(pollfds, 2, 20000) > 0, "nothing happens any more");
        }
}

static void play(size_t from, size_t n) {
        Scene scene = {};

        n_allocations = 0;
        fail_from = from;
        fail_to = from + n;
        scene.a = connect_client("a");
        scene.b = connect_client("b");
        direct_set_message_handler(scene.b, on_message, &scene);
        send_all(&scene);
        run(&scene);
        ck_assert_uint_eq(scene.n_delivered, 5);
        ck_assert_uint_eq(scene.n_called, 1);
        ck_assert(scene.result == 0 || scene.result == -ENOMEM || scene.result == -EMSGSIZE);
        for (unsigned kind = 1; kind < _KIND_N; kind++)
                ck_assert_uint_eq(scene.n_received[kind], 1);
        direct_client_free(scene.a);
        direct_client_free(scene.b);
}

START_TEST(test_each) {
        size_t n;

        for (size_t i = 0; i < LARGE; i++)
                large[i] = (uint8_t) (i * 7 + i / 256);
        play(0, 0);
        n = n_allocations;
        ck_assert_uint_gt(n, 30);
        for (size_t i = 1; i <= n; i++) {
                play(i, 1);
                play(i, 4);
        }
}
END_TEST

TEST_MAIN_FIXTURE("client-memory", service_setup, service_teardown, test_each)
