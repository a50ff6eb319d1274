/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the router asks of its surroundings, and what it tells them: the log, the bus, tokens, the kernel's figures. Everything
 * here is called in the middle of a turn, so nothing here calls back into the router or waits. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "service/net/socket.h"
#include "service/server-private.h"
#include "service/token.h"

enum { SERVER_IDS_AT_ONCE = 65536 }; /* one write of the state file for so many clients */

/* A line that a peer has caused, if the limit of its kind lets it pass. */
#define log_peer(s, limit, level, fields, format, ...)                                                                  \
        do {                                                                                                            \
                unsigned _left_out;                                                                                     \
                                                                                                                        \
                if (!log_limit_pass(&(s)->limits[limit], net_now(), &_left_out))                                        \
                        break;                                                                                          \
                if (_left_out > 0)                                                                                      \
                        log_full(level, 0, NULL, "%u lines like the next were left out.", _left_out);                   \
                log_full(level, 0, fields, format, __VA_ARGS__);                                                        \
        } while (0)

static uint64_t realtime_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

void server_describe(Server *s, const Session *session, ServerClient *ret) {
        const Link *link = session->link;
        uint64_t now = net_now();

        *ret = (ServerClient) {
                .id = session->id,
                .name = session->name,
                .program = session->program,
                .address = link ? link->address : "",
                .state = session->state,
                .since_usec = session->since_usec,
                .messages_in = session->messages_in,
                .messages_out = session->messages_out,
                .bytes_in = session->bytes_in,
                .bytes_out = session->bytes_out,
        };
        if (link) {
                uint32_t kernel_silence_ms, rtt_usec;

                socket_get_kernel_figures((Link *) link, &kernel_silence_ms, &rtt_usec);
                ret->outbox_bytes = outbox_size(&link->outbox);
                ret->paused = !LIST_EMPTY(&link->pauses);
                ret->rtt_usec = rtt_usec > 0 ? rtt_usec : link->rtt_usec;
                ret->silence_usec = now > link->heard_usec ? now - link->heard_usec : 0;
        }
}

/* Events */

/* The bus has its work done by a timer that it has just set, and sd-event looks at its timers when it is asked. */
static void note_for_bus(Server *s) {
        s->control_is_due = true;
}

static void on_joined(void *userdata, Session *session) {
        Server *s = userdata;
        ServerClient client;

        session->since_usec = realtime_usec();
        if (!s->bus)
                return;
        server_describe(s, session, &client);
        bus_client_joined(s->bus, &client);
        note_for_bus(s);
}

static void on_left(void *userdata, Session *session, WireReason reason, const char *text) {
        Server *s = userdata;
        LogFields fields = {
                .message = LOG_MESSAGE_CLIENT_LOST,
                .client_name = session->name,
                .client_id = session->id,
                .reason = wire_reason_name(reason),
        };

        if (reason == WIRE_REASON_DIED || reason == WIRE_REASON_LINK_LOST || reason == WIRE_REASON_TOO_SLOW)
                log_peer(s, SERVER_LIMIT_LOST, LOG_INFO, &fields, "Client %s (%s) is gone: %s.", session->name, session->program,
                         wire_reason_name(reason));
        if (!s->bus)
                return;
        bus_client_left(s->bus, session->id, session->name, reason);
        note_for_bus(s);
}

static void on_ended(void *userdata, IdRange ids) {
        Server *s = userdata;

        state_end_ids(s->state, ids);
}

/* Whoever waits is better served by news that a restart may take back than by none, so this goes on without its file. */
static void on_settle(void *userdata) {
        Server *s = userdata;
        int r;

        r = state_settle(s->state);
        if (r < 0)
                log_peer(s, SERVER_LIMIT_STATE, LOG_ERR, NULL,
                         "Can't keep in %s who may resume (%s): after a crash, nobody may, as far as the old file could be "
                         "removed.",
                         state_get_path(s->state), strerror(-r));
}

static void on_state_changed(void *userdata, Session *session) {
        Server *s = userdata;

        if (!s->bus)
                return;
        bus_client_state_changed(s->bus, session->id);
        note_for_bus(s);
}

static void on_refused(void *userdata, Link *l, WireRefusal code, const char *text) {
        LogFields fields = { .message = LOG_MESSAGE_REFUSED, .address = l->address, .reason = wire_refusal_name(code) };

        log_peer((Server *) userdata, SERVER_LIMIT_REFUSED, LOG_NOTICE, &fields, "Refused %s: %s.", l->address, text);
}

static void on_protocol_error(void *userdata, Link *l, Session *session, const char *text) {
        LogFields fields = {
                .message = LOG_MESSAGE_PROTOCOL_ERROR,
                .address = l->address,
                .client_name = session ? session->name : NULL,
                .client_id = session ? session->id : 0,
                .reason = text,
        };

        log_peer((Server *) userdata, SERVER_LIMIT_PROTOCOL_ERROR, LOG_WARNING, &fields, "Protocol error of %s%s%s: %s.",
                 l->address, session ? ", client " : "", session ? session->name : "", text);
}

void server_out_of_descriptors(void *userdata) {
        LogFields fields = { .message = LOG_MESSAGE_DESCRIPTORS_USED_UP };

        log_peer((Server *) userdata, SERVER_LIMIT_DESCRIPTORS, LOG_ERR, &fields, "%s",
                 "All file descriptors are in use: new connections wait until one is closed (LimitNOFILE=).");
}

/* Questions */

static void on_ids_low(void *userdata) {
        Server *s = userdata;

        s->needs_ids = true;
}

int server_feed_ids(Server *s) {
        uint64_t first;
        int r;

        if (!s->needs_ids)
                return 0;
        r = state_reserve_ids(s->state, SERVER_IDS_AT_ONCE, &first);
        if (r < 0) {
                log_peer(s, SERVER_LIMIT_STATE, LOG_ERR, NULL,
                         "Can't reserve client ids in %s (%s): clients are refused when the last %u are used up.",
                         state_get_path(s->state), strerror(-r), ROUTER_IDS_LOW);
                return r;
        }
        s->needs_ids = false;
        router_add_ids(s->router, first, SERVER_IDS_AT_ONCE);
        return 0;
}

static void make_token(void *userdata, uint64_t id, WireText name, const char *principal, uint8_t ret[static WIRE_TOKEN_SIZE]) {
        const Server *s = userdata;

        token_make(state_get_key(s->state), id, name, principal, ret);
}

static void get_kernel_figures(void *userdata, Link *l, uint32_t *ret_silence_ms, uint32_t *ret_rtt_usec) {
        socket_get_kernel_figures(l, ret_silence_ms, ret_rtt_usec);
}

static bool is_pending(void *userdata, Link *l) {
        return socket_is_pending(l);
}

static void on_stalled(void *userdata, Link *l, bool on) {
        const Server *s = userdata;

        socket_set_stalled(l, on, s->config.kernel_timeout_usec);
}

static bool is_dead(void *userdata, Link *l) {
        const Server *s = userdata;

        return socket_is_dead(l, s->config.kernel_timeout_usec);
}

/* The second field of /proc/self/statm is what is resident, in pages. */
static uint64_t read_memory(Server *s) {
        unsigned long long total, resident;
        char text[128];
        ssize_t n;

        n = pread(s->statm_fd, text, sizeof(text) - 1, 0);
        if (n <= 0)
                return 0;
        text[n] = '\0';
        if (sscanf(text, "%llu %llu", &total, &resident) != 2)
                return 0;
        return resident * (uint64_t) sysconf(_SC_PAGESIZE);
}

static void complete_load(void *userdata, LoadFigures *figures) {
        Server *s = userdata;
        struct timespec cpu;

        figures->memory_bytes = read_memory(s);
        if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) >= 0)
                figures->cpu_usec = (uint64_t) cpu.tv_sec * 1000000 + (uint64_t) cpu.tv_nsec / 1000;
}

const RouterOps server_ops = {
        .joined = on_joined,
        .left = on_left,
        .ended = on_ended,
        .settle = on_settle,
        .state_changed = on_state_changed,
        .refused = on_refused,
        .protocol_error = on_protocol_error,
        .ids_low = on_ids_low,
        .make_token = make_token,
        .get_kernel_figures = get_kernel_figures,
        .is_pending = is_pending,
        .stalled = on_stalled,
        .is_dead = is_dead,
        .complete_load = complete_load,
};
