/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The session of directclient. It owns the handle, the signalfd and the progress bar. A verb waits in talk_turn() only, so
 * SIGINT, SIGTERM and the end of the connection reach each verb in the same way: as a return value. Blocking calls of the
 * library are left to programs without an interactive user. Messages that nobody asked for are dropped on arrival: left
 * waiting, they would in the end stop the library from reading, and the answers behind them would not come. */

#include "tools/talk-session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

uint64_t talk_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

void talk_say(Talk *talk, const char *format, ...) {
        va_list ap;

        progress_erase(&talk->progress);
        fputs("directclient: ", stderr);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
}

int talk_fail(Talk *talk, int error, const char *what) {
        static const struct {
                int error;
                int status;
                const char *text; /* NULL: `reason`, which the event brought */
        } table[] = {
                { -ENXIO,        TALK_EXIT_PEER,    "no such client is connected; 'directclient list' shows who is" },
                { -EHOSTDOWN,    TALK_EXIT_BUSY,    "the client is away: its link is lost, it may come back; try again later" },
                { -EPIPE,        TALK_EXIT_PEER,    "the client left or died in the middle of it" },
                { -ETIMEDOUT,    TALK_EXIT_SERVICE, "no answer in time; --timeout=SEC waits longer" },
                { -ECONNRESET,   TALK_EXIT_SERVICE, NULL },
                { -ECONNABORTED, TALK_EXIT_SERVICE, NULL },
                { -ENOTCONN,     TALK_EXIT_SERVICE, "not connected to the service" },
                { -ECANCELED,    TALK_EXIT_SERVICE, "the connection ended before all was sent" },
                { -EIO,          TALK_EXIT_FAILURE, "the input could not be read" },
        };

        if (error == -EINTR) {
                talk_say(talk, "%s: interrupted", what);
                return 128 + talk->signal;
        }
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
                if (table[i].error == error) {
                        talk_say(talk, "%s: %s", what, table[i].text ?: talk->reason[0] ? talk->reason : strerror(-error));
                        return table[i].status;
                }

        talk_say(talk, "%s: %s", what, strerror(-error));
        return TALK_EXIT_FAILURE;
}

int talk_state_status(int state) {
        switch (state) {
        case DIRECT_STATE_ALIVE:
                return TALK_EXIT_SUCCESS;
        case DIRECT_STATE_BUSY:
        case DIRECT_STATE_AWAY:
                return TALK_EXIT_BUSY;
        default:
                return TALK_EXIT_PEER;
        }
}

bool talk_parse_id(const char *text, uint64_t *ret_id) {
        unsigned long long id;

        if (text[0] == 0 || text[strspn(text, "0123456789")] != 0)
                return false;
        errno = 0;
        id = strtoull(text, NULL, 10);
        if (errno != 0 || id == 0 || id > INT64_MAX)
                return false;
        *ret_id = id;
        return true;
}

/* Length of the UTF-8 sequence that starts at `p`, in its shortest form and no surrogate; 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t n) {
        static const struct {
                uint8_t mask, lead;
                uint32_t min;
        } forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

        for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
                uint32_t c;

                if ((p[0] & forms[i].mask) != forms[i].lead)
                        continue;
                if (n <= i)
                        return 0;
                c = p[0] & (uint8_t) ~forms[i].mask;
                for (size_t k = 1; k <= i; k++) {
                        if ((p[k] & 0xc0) != 0x80)
                                return 0;
                        c = c << 6 | (p[k] & 0x3f);
                }
                if (c < forms[i].min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                        return 0;
                if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0)) /* escape sequences start here */
                        return 0;
                return i + 1;
        }
        return 0;
}

bool talk_is_text(const uint8_t *data, size_t size) {
        while (size > 0) {
                size_t n = utf8_length(data, size);

                if (n == 0)
                        return false;
                data += n;
                size -= n;
        }
        return true;
}

static void talk_drop_message(DirectClient *client, DirectMessage *message, void *userdata) {
        direct_message_free(message);
}

static void talk_lost(Talk *talk, const DirectEvent *event) {
        const char *text = event->text[0] ? event->text : direct_reason_name(event->reason);

        if (talk->stays) {
                talk_say(talk, "the connection to the service is lost (%s), connecting again", text);
                return;
        }
        talk->connection = -ECONNRESET;
        snprintf(talk->reason, sizeof(talk->reason), "the connection to the service was lost (%s)", text);
}

static void talk_on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Talk *talk = userdata;

        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                if (talk->connection == 1)
                        talk_say(talk, "connected again, as %s (%llu)", direct_get_name(client),
                                 (unsigned long long) direct_get_id(client));
                talk->connection = 1;
                break;
        case DIRECT_EVENT_DISCONNECTED:
                if (talk->connection == 1)
                        talk_lost(talk, event);
                break;
        case DIRECT_EVENT_KICKED:
                talk->connection = -ECONNABORTED;
                snprintf(talk->reason, sizeof(talk->reason), "kicked by the administrator%s%s", event->text[0] ? ": " : "",
                         event->text);
                break;
        case DIRECT_EVENT_FAILED:
                if (talk->connection < 0)
                        break;
                talk->connection = event->error < 0 ? event->error : -ECONNRESET;
                snprintf(talk->reason, sizeof(talk->reason), "%s", event->text[0] ? event->text : strerror(-talk->connection));
                break;
        case DIRECT_EVENT_UNDELIVERED:
                if (event->id == talk->delivering)
                        talk->undelivered = event->error;
                break;
        }

        if (talk->on_event)
                talk->on_event(talk, event);
}

static int talk_catch_signals(Talk *talk) {
        sigset_t mask;

        sigemptyset(&mask);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGTERM);
        talk->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (talk->signal_fd < 0)
                return -errno;
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN); /* a reader of stdout that leaves is an error of write(), like any other */
        return 0;
}

static int talk_refused(Talk *talk, int error, const char *text) {
        talk_say(talk, "cannot connect to the service%s%s: %s", talk->server ? " at " : "", talk->server ?: "", text);
        if (error == -ECONNREFUSED || error == -ENOENT)
                talk_say(talk, "is it running? 'systemctl status directserver' tells; --server= or $DIRECTSERVER names another");
        else if (error == -EADDRINUSE)
                talk_say(talk, "another client has the name; --name= gives this one another");
        else if (error == -EINVAL && talk->server)
                talk_say(talk, "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH");
        return error == -EINVAL ? TALK_EXIT_USAGE : TALK_EXIT_SERVICE;
}

int talk_connect(Talk *talk) {
        uint64_t deadline = talk_now() + talk->timeout_usec;
        int r;

        r = direct_client_new(&talk->client);
        if (r < 0)
                return talk_fail(talk, r, "cannot start");
        if (talk->name) {
                r = direct_set_name(talk->client, talk->name);
                if (r == -EINVAL) {
                        talk_say(talk, "'%s' is not a name: 1 to %d of A-Z a-z 0-9 . _ - are allowed", talk->name,
                                 DIRECT_NAME_MAX);
                        return TALK_EXIT_USAGE;
                }
                if (r < 0)
                        return talk_fail(talk, r, "cannot set the name");
        }
        direct_set_event_handler(talk->client, talk_on_event, talk);
        if (!talk->takes_messages)
                direct_set_message_handler(talk->client, talk_drop_message, talk);
        if (talk->max_message > 0)
                direct_set_max_message(talk->client, talk->max_message);
        direct_set_reconnect(talk->client, 0); /* a service that is not there is reported at once, in all verbs */

        /* A host name is resolved in here, which blocks: so signals keep their default effect until after it */
        r = direct_connect_start(talk->client, talk->server);
        if (r < 0)
                return talk_refused(talk, r, direct_get_error(talk->client)[0] ? direct_get_error(talk->client) : strerror(-r));

        r = talk_catch_signals(talk);
        if (r < 0)
                return talk_fail(talk, r, "cannot catch signals");

        while (talk->connection == 0) {
                r = talk_turn(talk, -1, deadline);
                if (r == -EINTR)
                        return talk_fail(talk, r, "connecting");
                if (r == -ETIMEDOUT)
                        return talk_refused(talk, r, "no answer in time");
                if (r < 0)
                        return talk_refused(talk, r, talk->reason[0] ? talk->reason : strerror(-r));
        }

        direct_set_reconnect(talk->client, talk->stays);
        return 0;
}

void talk_deinit(Talk *talk) {
        progress_end(&talk->progress);
        talk->client = direct_client_free(talk->client);
        talk->answer.message = direct_message_free(talk->answer.message);
        if (talk->signal_fd >= 0)
                close(talk->signal_fd);
        talk->signal_fd = -1;
}

int talk_turn(Talk *talk, int fd, uint64_t deadline) {
        struct pollfd polls[] = {
                { .fd = direct_get_fd(talk->client), .events = POLLIN },
                { .fd = talk->signal_fd, .events = POLLIN },
                { .fd = fd, .events = POLLIN },
        };
        struct timespec timeout = {};
        uint64_t now;
        int r;

        if (talk->connection < 0)
                return talk->connection;

        now = talk_now();
        if (!talk->pending && deadline > now) {
                timeout.tv_sec = (time_t) ((deadline - now) / 1000000);
                timeout.tv_nsec = (long) ((deadline - now) % 1000000 * 1000);
        }
        r = ppoll(polls, 3, talk->pending || deadline != DIRECT_FOREVER ? &timeout : NULL, NULL);
        if (r < 0)
                return -errno;

        if (polls[1].revents) {
                struct signalfd_siginfo si;

                if (read(talk->signal_fd, &si, sizeof(si)) == (ssize_t) sizeof(si)) {
                        talk->signal = (int) si.ssi_signo;
                        return -EINTR;
                }
        }

        if (r == 0 && !talk->pending)
                return -ETIMEDOUT;
        if (polls[0].revents || talk->pending) {
                r = direct_process(talk->client);
                if (r < 0)
                        return r;
                talk->pending = r > 0;
        }
        if (talk->connection < 0)
                return talk->connection;
        return polls[2].revents ? 1 : 0;
}

int talk_await(Talk *talk, uint64_t deadline) {
        while (!talk->answer.done) {
                int r = talk_turn(talk, -1, deadline);

                if (r < 0)
                        return r;
        }
        return talk->answer.result;
}

void talk_on_alive(DirectClient *client, int result, const DirectAlive *alive, void *userdata) {
        Talk *talk = userdata;

        talk->answer.done = true;
        talk->answer.result = result;
        if (result >= 0)
                talk->answer.alive = *alive;
}

void talk_on_sent(DirectClient *client, int result, void *userdata) {
        Talk *talk = userdata;

        talk->answer.done = true;
        talk->answer.result = result;
}

void talk_on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        Talk *talk = userdata;

        direct_message_free(talk->answer.message);
        talk->answer = (TalkAnswer) { .done = true, .result = result, .message = reply };
}

/* Any question does: the service takes what comes on a link in order, and a message that comes back does so before the answer.
 * But a question passes what is left of a large message, so that goes first. */
int talk_settle(Talk *talk, uint64_t deadline) {
        int r;

        while ((r = direct_flush(talk->client, 0)) == -ETIMEDOUT && talk->undelivered == 0) {
                r = talk_turn(talk, -1, deadline);
                if (r < 0)
                        return r;
        }
        if (r < 0 && r != -ETIMEDOUT)
                return r;
        while ((r = direct_process(talk->client)) > 0) /* what has failed is told here */
                ;
        return r < 0 ? r : talk->undelivered;
}

int talk_find(Talk *talk, const char *who, DirectAlive *ret_alive) {
        DirectAlive alive;
        uint64_t id;
        int r;

        if (talk_parse_id(who, &id))
                r = direct_alive_id(talk->client, id, talk->timeout_usec, &alive);
        else {
                talk->answer = (TalkAnswer) {};
                r = direct_alive_start(talk->client, who, talk->timeout_usec, talk_on_alive, talk);
                if (r == -EINVAL)
                        return -ENXIO; /* not even a name */
                if (r >= 0)
                        r = talk_await(talk, DIRECT_FOREVER);
                alive = talk->answer.alive;
        }
        if (r < 0)
                return r;
        if (alive.state == DIRECT_STATE_UNKNOWN || alive.state == DIRECT_STATE_GONE)
                return -ENXIO;
        *ret_alive = alive;
        return 0;
}
