/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service without a data plane: the real bus code over a table of made-up clients, steered by lines on stdin. So the D-Bus
 * side is tested with 10,000 clients, and with events in an order that real programs would hardly produce. It also measures
 * how long each turn of the event loop takes, that is, for how long the service would have been deaf.
 *
 * Each command is answered by one line on stdout: "ok", or what was asked for. The log goes to stderr. */

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "service/bus-private.h"
#include "service/log.h"
#include "service/server.h"

typedef struct FakeClient {
        uint64_t id;
        unsigned state;
        char name[WIRE_NAME_MAX + 1];
} FakeClient;

struct Server {
        sd_event *event;
        Bus *bus;
        FakeClient *clients; /* by id */
        size_t n_clients, n_allocated;
        uint64_t last_id;
        char *reload_error; /* what the next reloads fail with; NULL: they succeed */
        uint64_t longest_usec, begin_usec;
        bool settle; /* "ok" is due once nothing waits to be announced */
};

/* Of our own processor time: other tests run beside this one. */
static uint64_t now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

/* server.h */

static size_t first_from(const Server *server, uint64_t id) {
        size_t low = 0, high = server->n_clients;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (server->clients[middle].id < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void describe(const FakeClient *fake, ServerClient *ret) {
        *ret = (ServerClient) {
                .id = fake->id,
                .name = fake->name,
                /* one wants to turn around what stands beside it */
                .program = fake->id == 12 ? "evil \xe2\x80\xaetxt" : "mandelbrot \"worker\" (pid 4711 on \xc3\xa4rger17)",
                .address = fake->state == WIRE_STATE_AWAY ? "" : "192.0.2.7:41234",
                .state = fake->state,
                .since_usec = UINT64_C(1700000000000000) + fake->id,
                .messages_in = fake->id * 10,
                .messages_out = fake->id * 7,
                .bytes_in = fake->id * 100000,
                .bytes_out = fake->id * 70000,
                .outbox_bytes = fake->id % 3 * 65536,
                .paused = fake->id % 5 == 0,
                .rtt_usec = 180,
                .silence_usec = 1500000,
        };
}

uint64_t server_get_n_clients(Server *server) {
        return server->n_clients;
}

int server_next_client(Server *server, uint64_t after_id, ServerClient *ret) {
        size_t i = first_from(server, after_id + 1);

        if (i >= server->n_clients)
                return -ENXIO;
        describe(server->clients + i, ret);
        return 0;
}

int server_get_client(Server *server, uint64_t id, ServerClient *ret) {
        size_t i = first_from(server, id);

        if (i >= server->n_clients || server->clients[i].id != id)
                return -ENXIO;
        describe(server->clients + i, ret);
        return 0;
}

int server_find_client(Server *server, const char *name, ServerClient *ret) {
        for (size_t i = 0; i < server->n_clients; i++)
                if (strcmp(server->clients[i].name, name) == 0) {
                        describe(server->clients + i, ret);
                        return 0;
                }
        return -ENXIO;
}

static int remove_client(Server *server, uint64_t id, unsigned reason) {
        size_t i = first_from(server, id);
        FakeClient fake;

        if (i >= server->n_clients || server->clients[i].id != id)
                return -ENXIO;
        fake = server->clients[i];
        memmove(server->clients + i, server->clients + i + 1, (--server->n_clients - i) * sizeof *server->clients);
        bus_client_left(server->bus, id, fake.name, reason);
        return 0;
}

int server_kick_client(Server *server, uint64_t id, const char *reason, const char *who) {
        if (strlen(reason) > SERVER_REASON_MAX || !wire_text_is_clean(reason, strlen(reason)))
                return -EINVAL;
        fprintf(stderr, "kick of %" PRIu64 " by %s: %s\n", id, who, reason);
        return remove_client(server, id, WIRE_REASON_KICKED);
}

int server_reload(Server *server, const char *who, char **ret_error) {
        if (!server->reload_error) {
                fprintf(stderr, "reloaded by %s\n", who);
                return 0;
        }
        *ret_error = strdup(server->reload_error);
        return -EINVAL;
}

void server_get_load(Server *server, LoadFigures *ret) {
        uint64_t *field = (uint64_t *) ret;

        for (size_t i = 0; i < LOAD_N_FIELDS; i++)
                field[i] = 1000 + i;
        ret->uptime_usec = UINT64_C(93784) * 1000000;
        ret->clients = server->n_clients;
        ret->memory_bytes = 12 << 20;
        ret->busy_permille[0] = 512;
}

const char *const *server_get_listen(Server *server) {
        static const char *const listen[] = { "127.0.0.1:20000", "unix:/run/directserver/directserver.sock", NULL };

        return listen;
}

/* log.h */

int log_full(int level, int error, const LogFields *fields, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        fprintf(stderr, "log %d: ", level);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
        return error;
}

/* Commands */

static void join(Server *server, uint64_t id) {
        ServerClient client;
        FakeClient *fake;
        size_t i;

        if (server->n_clients == server->n_allocated) {
                server->n_allocated = server->n_allocated * 2 + 64;
                server->clients = reallocarray(server->clients, server->n_allocated, sizeof *server->clients);
                if (!server->clients)
                        abort();
        }
        i = first_from(server, id);
        memmove(server->clients + i + 1, server->clients + i, (server->n_clients++ - i) * sizeof *server->clients);
        fake = server->clients + i;
        *fake = (FakeClient) { .id = id, .state = WIRE_STATE_ALIVE };
        snprintf(fake->name, sizeof fake->name, "worker-%05" PRIu64, id);
        if (id > server->last_id)
                server->last_id = id;
        describe(fake, &client);
        bus_client_joined(server->bus, &client);
}

static void command_join(Server *server, const uint64_t *arguments) {
        for (uint64_t n = arguments[0]; n > 0; n--)
                join(server, server->last_id + 1);
        puts("ok");
}

static void command_join_id(Server *server, const uint64_t *arguments) {
        join(server, arguments[0]);
        puts("ok");
}

static void command_churn(Server *server, const uint64_t *arguments) {
        for (uint64_t n = arguments[0]; n > 0; n--) {
                join(server, server->last_id + 1);
                (void) remove_client(server, server->last_id, WIRE_REASON_LEAVING);
        }
        puts("ok");
}

static void command_leave(Server *server, const uint64_t *arguments) {
        puts(remove_client(server, arguments[0], (unsigned) arguments[1]) < 0 ? "no such client" : "ok");
}

static void command_state(Server *server, const uint64_t *arguments) {
        size_t i = first_from(server, arguments[0]);

        server->clients[i].state = (unsigned) arguments[1];
        bus_client_state_changed(server->bus, arguments[0]);
        puts("ok");
}

static void command_reload_fails(Server *server, const uint64_t *arguments) {
        free(server->reload_error);
        server->reload_error = strdup("/etc/directserver/directserver.conf:7: MaxClients= wants a number");
        puts("ok");
}

/* Since the last question: the longest turn of the loop and all turns together, in us; then the bytes that are allocated, and
 * 1 if any announcement waits. */
static void command_stat(Server *server, const uint64_t *arguments) {
        struct mallinfo2 info = mallinfo2();

        printf("%" PRIu64 " %" PRIu64 " %zu %d\n", server->longest_usec, now() - server->begin_usec, info.uordblks + info.hblkhd,
               server->bus->announcer.first != NULL);
        server->longest_usec = 0;
        server->begin_usec = now();
}

static void command_settle(Server *server, const uint64_t *arguments) {
        server->settle = true;
}

/* After each turn of the loop */
static int on_turn(sd_event_source *source, void *userdata) {
        Server *server = userdata;

        if (server->settle && !server->bus->announcer.first) {
                server->settle = false;
                puts("ok");
                fflush(stdout);
        }
        return 0;
}

static void command_quit(Server *server, const uint64_t *arguments) {
        (void) sd_event_exit(server->event, 0);
        puts("ok");
}

static const struct {
        const char *name;
        void (*run)(Server *server, const uint64_t *arguments);
} commands[] = {
        { "join", command_join },                 /* N clients */
        { "join-id", command_join_id },           /* one with the id N */
        { "churn", command_churn },               /* N clients that leave at once */
        { "leave", command_leave },               /* ID REASON */
        { "state", command_state },               /* ID STATE */
        { "reload-fails", command_reload_fails },
        { "stat", command_stat },
        { "settle", command_settle },             /* the answer comes when all is announced */
        { "quit", command_quit },
};

static int on_line(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Server *server = userdata;
        uint64_t arguments[2] = {};
        char line[256], name[32];

        if (!fgets(line, sizeof line, stdin)) {
                (void) sd_event_exit(server->event, 0);
                return 0;
        }
        if (sscanf(line, "%31s %" SCNu64 " %" SCNu64, name, arguments, arguments + 1) < 1)
                return 0;
        for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
                if (strcmp(commands[i].name, name) == 0)
                        commands[i].run(server, arguments);
        fflush(stdout);
        return 0;
}

static int run(Server *server) {
        while (sd_event_get_state(server->event) != SD_EVENT_FINISHED) {
                uint64_t begin;
                int r;

                r = sd_event_prepare(server->event);
                if (r == 0)
                        r = sd_event_wait(server->event, UINT64_MAX);
                if (r < 0)
                        return r;
                begin = now();
                r = sd_event_dispatch(server->event);
                if (r < 0)
                        return r;
                if (now() - begin > server->longest_usec)
                        server->longest_usec = now() - begin;
        }
        return 0;
}

int main(int argc, char **argv) {
        Server server = {};
        int r;

        setvbuf(stdin, NULL, _IONBF, 0); /* one line a turn: what stdio had read ahead would wake nobody */
        r = sd_event_new(&server.event);
        if (r >= 0)
                r = sd_event_add_io(server.event, NULL, STDIN_FILENO, EPOLLIN, on_line, &server);
        if (r >= 0)
                r = sd_event_add_post(server.event, NULL, on_turn, &server);
        if (r >= 0)
                r = bus_new(server.event, &server, argc > 1 && strcmp(argv[1], "--bus=system") == 0 ? BUS_SYSTEM : BUS_USER,
                            argc > 2 ? argv[2] : NULL, &server.bus);
        if (r >= 0)
                r = run(&server);
        if (r < 0)
                fprintf(stderr, "%s\n", strerror(-r));
        bus_free(server.bus);
        sd_event_unref(server.event);
        free(server.clients);
        free(server.reload_error);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
