/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns both planes: the data plane, and the event loop with everything on it (signals, D-Bus). server-loop.c runs them. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "service/core/share.h"
#include "service/handover-store.h"
#include "service/net/address.h"
#include "service/server-private.h"

/* How long clients may take for their GOODBYE: twice what a link lingers */
enum { STOP_USEC = 2 * LINK_LINGER_USEC };

static void cleanup_free(char **p) {
        free(*p);
}

/* Signals */

static int on_stop_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int say_goodbye(Server *s) {
        s->stopping = true;
        log_full(LOG_INFO, 0, &(LogFields) { .message = LOG_MESSAGE_STOPPING }, "Stopping: %zu clients are told.",
                 s->router->sessions.n_members);
        net_stop(s->net);
        router_set_now(s->router, net_now()); /* else who has slept for a second gives links no time for their GOODBYE */
        router_stop(s->router);
        sd_event_source_set_time(s->stop_source, net_now() + STOP_USEC);
        return sd_event_source_set_enabled(s->stop_source, SD_EVENT_ONESHOT);
}

/* When it is not known whether there is a successor, connections are left for it: without one they end when the manager
 * drops them. */
static void on_unit_job(void *userdata, UnitJobAnswer answer) {
        Server *s = userdata;
        int r;

        if (answer != UNIT_JOB_STOP && server_hand_over(s) > 0)
                r = sd_event_exit(s->event, 0);
        else
                r = say_goodbye(s);
        if (r < 0)
                log_error(r, "Can't stop: %s.", strerror(-r));
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Server *s = userdata;

        if (s->stopping || s->unit_job)
                return 0;
        sd_notify(false, "STOPPING=1");
        if (!handover_store_is_available() || info->ssi_signo != SIGTERM)
                return say_goodbye(s);
        if (unit_job_new(s->event, s->config.bus, on_unit_job, s, &s->unit_job) < 0)
                on_unit_job(s, UNIT_JOB_UNKNOWN);
        return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        __attribute__((cleanup(cleanup_free))) char *error = NULL;
        char who[32];

        snprintf(who, sizeof(who), "uid %" PRIu32, info->ssi_uid);
        (void) server_reload(userdata, who, &error); /* it has logged what is wrong, and goes on as before */
        return 0;
}

/* Configuration */

static RouterConfig router_config(const Config *c) {
        return (RouterConfig) {
                .max_clients = c->max_clients,
                .ping_interval_usec = c->ping_interval_usec,
                .grace_usec = c->grace_usec,
                .slow_client_timeout_usec = c->slow_client_timeout_usec,
                .broadcast_wait_usec = c->broadcast_wait_usec,
                .outbox_high = c->outbox_high,
                .outbox_low = c->outbox_low,
                .urgent_high = c->outbox_high,
                .initial_credit = (uint32_t) c->initial_credit,
                .sender_share = SHARE_CREDITS * c->initial_credit,
        };
}

/* What can't change at run time keeps its value. */
static void apply(Server *s, Config *loaded) {
        RouterConfig config = router_config(loaded);
        char **listen = loaded->listen;

        loaded->listen = s->config.listen;
        loaded->bus = s->config.bus;
        s->config.listen = listen;
        config_deinit(&s->config);
        s->config = *loaded;
        router_set_config(s->router, &config);
        net_set_kernel_timeout(s->net, s->config.kernel_timeout_usec);
        net_set_spin(s->net, s->config.spin_usec);
}

int server_reload(Server *s, const char *who, char **ret_error) {
        __attribute__((cleanup(cleanup_free))) char *fixed = NULL, *changed = NULL;
        LogFields fields = { .message = LOG_MESSAGE_RELOADED };
        Config loaded = CONFIG_NULL;
        char notice[64];
        int r;

        snprintf(notice, sizeof(notice), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, net_now()); /* sd_notifyf() would take memory */
        sd_notify(false, notice);
        r = config_load(s->config_path, s->instance, &loaded, ret_error);
        if (s->has_bus_option)
                loaded.bus = s->config.bus;
        if (r >= 0)
                r = config_compare(&s->config, &loaded, &fixed, &changed);
        sd_notify(false, "READY=1");
        if (r < 0) {
                config_deinit(&loaded);
                fields.message = LOG_MESSAGE_CONFIG_INVALID;
                return log_full(LOG_ERR, r, &fields, "The configuration stays as it was: %s",
                                *ret_error ? *ret_error : strerror(-r));
        }
        apply(s, &loaded);
        if (*fixed)
                log_full(LOG_WARNING, 0, &fields, "Changed in the configuration, but only a restart makes it so: %s.", fixed);
        log_full(LOG_INFO, 0, &fields, "Configuration reloaded, as %s asked; changed: %s.", who, *changed ? changed : "nothing");
        return 0;
}

/* Listening */

static int listen_on(Server *s, const char *address, int level) {
        const char *why;
        int r;

        r = net_listen(s->net, address, &why);
        return r < 0 ? log_full(level, r, NULL, "Can't listen on %s: %s.", address, why) : 0;
}

/* The directory for a local socket: that of the unit, which is its own, or of the user who runs the service by hand. */
static int default_socket(const char *instance, char **ret_address) {
        const char *directory = getenv("RUNTIME_DIRECTORY");
        bool shared = false;

        if (!directory || directory[0] != '/') {
                directory = getenv("XDG_RUNTIME_DIR");
                shared = instance;
        }
        if (!directory || directory[0] != '/')
                return 0;
        return asprintf(ret_address, "unix:%.*s/directserver%s%s.sock", (int) strcspn(directory, ":"), directory,
                        shared ? "@" : "", shared ? instance : "") < 0 ? -ENOMEM : 1;
}

/* The port is the main service's. */
static int listen_instance(Server *s) {
        __attribute__((cleanup(cleanup_free))) char *address = NULL;
        int r = default_socket(s->instance, &address);

        if (r < 0)
                return log_error(r, "Can't start: %s.", strerror(-r));
        if (r == 0)
                return log_error(-EDESTADDRREQ,
                                 "An instance has no port by itself: give --listen=, Listen= or $XDG_RUNTIME_DIR.");
        return listen_on(s, address, LOG_ERR);
}

static int listen_default(Server *s) {
        __attribute__((cleanup(cleanup_free))) char *address = NULL;
        int r;

        r = listen_on(s, "127.0.0.1:20000", LOG_ERR);
        if (r < 0)
                return r;
        r = default_socket(NULL, &address);
        if (r < 0)
                return log_error(r, "Can't start: %s.", strerror(-r));
        if (r > 0)
                (void) listen_on(s, address, LOG_WARNING); /* the loopback address serves the same programs */
        return 0;
}

/* What the manager passes are sockets to listen on, and what the service before has left. */
static int find_passed(Server *s) {
        int n;

        n = sd_listen_fds_with_names(true, &s->passed);
        if (n < 0)
                return log_error(n, "Can't take what the manager has passed: %s.", strerror(-n));
        s->n_passed = (size_t) n;
        return 0;
}

static bool is_to_listen_on(const Server *s, size_t i) {
        return strcmp(s->passed[i], HANDOVER_STORE_NAME) != 0;
}

/* Returns how many there were. */
static int listen_passed(Server *s) {
        int n = 0;

        for (size_t i = 0; i < s->n_passed; i++) {
                int fd = SD_LISTEN_FDS_START + (int) i;

                if (!is_to_listen_on(s, i))
                        continue;
                if (net_listen_fd(s->net, fd) < 0)
                        return log_error(-EINVAL, "Descriptor %d of the manager is not a listening stream socket.", fd);
                n++;
        }
        return n;
}

static int listen_all(Server *s, const Options *options) {
        const char *const *addresses = options->listen ? options->listen : (const char *const *) s->config.listen;
        int n_fds, r = 0;

        n_fds = listen_passed(s);
        if (n_fds > 0 && s->config.listen && s->config.listen[0])
                log_full(LOG_WARNING, 0, NULL, "Listen= is left out: the manager has passed sockets (see directserver.socket).");
        if (n_fds < 0)
                r = n_fds;
        else if (n_fds == 0 && (!addresses || !addresses[0]))
                r = s->instance ? listen_instance(s) : listen_default(s);
        for (; r >= 0 && addresses && *addresses && (n_fds <= 0 || options->listen); addresses++)
                r = listen_on(s, *addresses, LOG_ERR);
        return r;
}

static int list_addresses(Server *s) {
        size_t n = 0;

        while (net_get_address(s->net, n))
                n++;
        s->addresses = calloc(n + 1, sizeof(*s->addresses));
        if (!s->addresses)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                s->addresses[i] = net_get_address(s->net, i);
                log_info("Listening on %s", s->addresses[i]);
        }
        return 0;
}

/* Beginning and end */

static int load_config(Server *s, const Options *options) {
        __attribute__((cleanup(cleanup_free))) char *error = NULL;
        LogFields fields = { .message = LOG_MESSAGE_CONFIG_INVALID };
        int r;

        s->instance = options->instance;
        s->config_path = options->config_path;
        r = config_load(s->config_path, s->instance, &s->config, &error);
        if (r < 0)
                return log_full(LOG_ERR, r, &fields, "%s%s", error ? "" : "Can't read the configuration: ",
                                error ? error : strerror(-r));
        s->has_bus_option = options->has_bus;
        if (options->has_bus)
                s->config.bus = options->bus;
        return 0;
}

static void tell_loss(StateLoss loss, const char *path) {
        static const char *const texts[] = {
                [STATE_LOSS_MISSING] = "it has no file that says who may",
                [STATE_LOSS_DAMAGED] = "its file that says who may is damaged",
                [STATE_LOSS_MACHINE] = "this machine was started again, and what the service had written last may be lost",
                [STATE_LOSS_KEY] = "the key of its resume tokens was another one",
                [STATE_LOSS_SHARED] = "another service uses it",
        };

        if (loss != STATE_LOSS_NONE)
                log_full(LOG_WARNING, 0, NULL, "Clients of the service that used %s before can't resume: %s.", path, texts[loss]);
}

static int open_state(Server *s, const Options *options) {
        __attribute__((cleanup(cleanup_free))) char *error = NULL;
        int r;

        r = state_open(options->state_directory, s->instance, &s->state, &error);
        if (r < 0)
                return log_error(r, "%s%s", error ? "" : "Can't open the state directory: ", error ? error : strerror(-r));
        tell_loss(state_get_loss(s->state), state_get_path(s->state));
        if (state_has_credential(s->state))
                log_info("The key of the resume tokens is the credential " STATE_KEY_CREDENTIAL ".");
        return 0;
}

/* Before there are ids of our own among those who may resume */
static int add_former(Server *s) {
        const IdRanges *ids = state_get_resumable(s->state);
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ids->n; i++)
                r = router_add_former(s->router, ids->ranges[i]);
        return r;
}

static int make_planes(Server *s) {
        RouterConfig config = router_config(&s->config);
        uint8_t seed[ROUTER_SEED_SIZE];
        int r;

        if (server_take_over(s, &config) > 0)
                return 0;
        if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
                return -EIO;
        r = router_new(&config, &server_ops, s, net_now(), seed, &s->router);
        if (r < 0)
                return r;
        r = add_former(s);
        s->needs_ids = true;
        if (r >= 0)
                r = server_feed_ids(s);
        if (r < 0)
                return r;
        return net_new(s->router, s->config.kernel_timeout_usec, server_out_of_descriptors, s, &s->net);
}

static int add_signal(Server *s, int signal, sd_event_signal_handler_t handler) {
        return sd_event_add_signal(s->event, NULL, signal, handler, s);
}

static int on_nothing(sd_event_source *source, void *userdata) {
        return 0;
}

/* sd-event reads a signal and then loses it, if it has no memory to queue it: the first that it queues makes room for more. */
static int make_room_for_signals(Server *s) {
        sd_event_source *first;
        int r;

        r = sd_event_add_defer(s->event, &first, on_nothing, NULL);
        if (r >= 0)
                sd_event_source_unref(first);
        return r;
}

static int add_sources(Server *s) {
        sigset_t mask;
        int r;

        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        r = sd_event_default(&s->event);
        if (r >= 0)
                r = make_room_for_signals(s);
        if (r >= 0)
                r = add_signal(s, SIGTERM, on_stop);
        if (r >= 0)
                r = add_signal(s, SIGINT, on_stop);
        if (r >= 0)
                r = add_signal(s, SIGHUP, on_hangup);
        if (r >= 0)
                r = sd_event_set_watchdog(s->event, true);
        if (r >= 0)
                r = net_set_control(s->net, sd_event_get_fd(s->event));
        /* Now, so that stopping takes no memory */
        if (r >= 0)
                r = sd_event_add_time(s->event, &s->stop_source, CLOCK_MONOTONIC, 0, 0, on_stop_timeout, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->stop_source, SD_EVENT_OFF);
        return r;
}

static void cleanup_server(Server **s) {
        server_free(*s);
}

/* Ten of a kind in ten seconds: enough to see what goes on, too few to fill a disk */
static const LogLimit peer_limit = { .interval_usec = 10 * 1000 * 1000, .burst = 10 };

int server_new(const Options *options, Server **ret_server) {
        __attribute__((cleanup(cleanup_server))) Server *s = NULL;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return log_error(-ENOMEM, "Can't start: %s.", strerror(ENOMEM));
        for (size_t i = 0; i < _SERVER_LIMIT_N; i++)
                s->limits[i] = peer_limit;
        s->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC); /* without it, memory reads as 0 */
        r = find_passed(s);
        if (r >= 0)
                r = load_config(s, options);
        if (r >= 0)
                r = open_state(s, options);
        if (r < 0)
                return r; /* said */
        r = make_planes(s);
        if (r >= 0)
                r = add_sources(s);
        if (r < 0)
                return log_error(r, "Can't start: %s.", strerror(-r));
        net_set_spin(s->net, s->config.spin_usec);
        r = listen_all(s, options);
        if (r < 0)
                return r; /* said */
        r = list_addresses(s);
        if (r >= 0 && s->config.bus != BUS_NONE)
                r = bus_new(s->event, s, s->config.bus, s->instance, &s->bus);
        if (r < 0)
                return log_error(r, "Can't start: %s.", strerror(-r));
        *ret_server = s;
        s = NULL;
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        unit_job_free(s->unit_job);
        s->bus = bus_free(s->bus); /* links that go with the data plane are none of its business */
        sd_event_source_unref(s->stop_source);
        net_free(s->net);
        router_free(s->router);
        state_free(s->state);
        sd_event_unref(s->event);
        free(s->addresses);
        for (size_t i = 0; i < s->n_passed; i++)
                free(s->passed[i]);
        free(s->passed);
        if (s->statm_fd >= 0)
                close(s->statm_fd);
        config_deinit(&s->config);
        free(s);
        return NULL;
}

/* For the bus */

uint64_t server_get_n_clients(Server *s) {
        return s->router->sessions.n_members;
}

int server_next_client(Server *s, uint64_t after_id, ServerClient *ret) {
        const Sessions *ss = &s->router->sessions;
        size_t i = sessions_after(ss, after_id);

        if (i == ss->n_members)
                return -ENXIO;
        server_describe(s, ss->members[i], ret);
        return 0;
}

static int describe_found(Server *s, const Session *session, ServerClient *ret) {
        if (!session || session->ghost)
                return -ENXIO;
        server_describe(s, session, ret);
        return 0;
}

int server_get_client(Server *s, uint64_t id, ServerClient *ret) {
        return describe_found(s, sessions_find(&s->router->sessions, id), ret);
}

int server_find_client(Server *s, const char *name, ServerClient *ret) {
        WireText text = { .data = name, .size = strlen(name) };

        return describe_found(s, sessions_find_name(&s->router->sessions, text), ret);
}

int server_kick_client(Server *s, uint64_t id, const char *reason, const char *who) {
        LogFields fields = { .message = LOG_MESSAGE_CLIENT_KICKED, .client_id = id, .reason = reason };
        size_t n = strlen(reason);
        char name[WIRE_NAME_MAX + 1], address[ADDRESS_TEXT_MAX];
        ServerClient client;
        int r;

        if (n > SERVER_REASON_MAX || !wire_text_is_clean(reason, n))
                return -EINVAL;
        r = server_get_client(s, id, &client);
        if (r < 0)
                return r;
        strcpy(name, client.name); /* they go with the client */
        snprintf(address, sizeof(address), "%s", client.address);
        router_set_now(s->router, net_now());
        r = router_kick(s->router, id, reason);
        if (r < 0)
                return r;
        router_settle(s->router); /* before it is said to be done */
        fields.client_name = name;
        fields.address = address;
        log_full(LOG_NOTICE, 0, &fields, "Client %s was kicked by %s%s%s.", name, who, n > 0 ? ": " : "", reason);
        return 0;
}

void server_get_load(Server *s, LoadFigures *ret) {
        router_set_now(s->router, net_now());
        router_get_load(s->router, ret);
}

const char *const *server_get_listen(Server *s) {
        return s->addresses;
}
