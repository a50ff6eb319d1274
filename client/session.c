/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Says HELLO, understands the answer, and decides what a lost link means. It owns the id and the token of the session. When a
 * link is lost, only what was unreliable ends: flows, calls and questions go on when the session is resumed, and end when it
 * can't be. */

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"

#define SESSION_CONNECT_TIMEOUT_USEC (30 * USEC_PER_SEC) /* the first time: what directclient.h promises */
#define SESSION_RENEW_TIMEOUT_USEC (10 * USEC_PER_SEC)   /* later: then the next attempt */
#define SESSION_QUEUE_PAUSE_USEC (20 * USEC_PER_MSEC)    /* between attempts at a local socket whose queue is full */

/* Of several addresses each has only so long to take the connection: one that swallows packets would have the whole attempt, and
 * the others no turn. It is time for a SYN, for the next one after a second, and for the answer to that. curl has them overlap,
 * with a new one each 200 ms; that is for a person who waits for a page. */
#define SESSION_ADDRESS_TIMEOUT_USEC (2 * USEC_PER_SEC)

/* The longest pause between attempts grows from the first of these to the second while the service's host answers that there is
 * none: all clients are to be back within 2 s of its start, connecting and the first message included. Each attempt takes some 35
 * us over a local socket and 60 us over the loopback, both ends together, so a thousand clients that wait cost 7 to 12 % of a
 * processor. */
#define SESSION_DELAY_MIN_USEC (100 * USEC_PER_MSEC)
#define SESSION_DELAY_ANSWERED_USEC (1 * USEC_PER_SEC)
/* After 2 minutes it grows with the outage, to which it so adds less than 1 %: nobody waits for a service that is back every
 * second. Never over a local socket, where an attempt takes a few microseconds and nobody else is troubled. */
#define SESSION_DELAY_OUTAGE_SHARE 120
/* Where nothing answers, the host or the way to it is gone. It will not be back in a moment, and to ask costs others: packets
 * into the dark, or a service that is full another handshake. */
#define SESSION_DELAY_MAX_USEC (10 * USEC_PER_SEC)
#define SESSION_DELAY_NAMED_MAX_USEC (60 * USEC_PER_SEC) /* of what GOODBYE names: not for ever, whatever it says */
#define SESSION_LOST_ACCEPTED_MAX 1 /* a service that accepts and dies soon is tried again within 0.2 s: it is there, at times */
#define SESSION_STABLE_USEC (10 * USEC_PER_SEC) /* a link that lasted so long was a good one: the delay starts small again */

/* What a GOODBYE, by its code, means: renew the link, or give up with an error */
static const struct {
        int error;
        bool renew;
} goodbyes[_WIRE_REASON_N] = {
        [WIRE_REASON_NONE] = { .renew = true },
        [WIRE_REASON_LEAVING] = { .renew = true },
        [WIRE_REASON_STOPPING] = { .renew = true },
        [WIRE_REASON_KICKED] = { .error = -ECONNABORTED },
        [WIRE_REASON_REPLACED] = { .error = -ECONNABORTED },
        [WIRE_REASON_PROTOCOL] = { .error = -EPROTO },
        [WIRE_REASON_RESTARTING] = { .renew = true },
        [WIRE_REASON_TOO_SLOW] = { .renew = true },
        [WIRE_REASON_UNRESPONSIVE] = { .renew = true },
        [WIRE_REASON_DIED] = { .renew = true },
        [WIRE_REASON_LINK_LOST] = { .renew = true },
};

/* What a REFUSED means: the error, and whether a client that was connected before tries again */
static const struct {
        int error;
        bool renew;
} refusals[] = {
        [0] = { .error = -EPROTO },
        [WIRE_REFUSED_VERSION] = { .error = -EPROTONOSUPPORT },
        [WIRE_REFUSED_NAME_TAKEN] = { .error = -EADDRINUSE, .renew = true },
        [WIRE_REFUSED_NAME_INVALID] = { .error = -EINVAL },
        [WIRE_REFUSED_NOT_AUTHORISED] = { .error = -EPERM },
        [WIRE_REFUSED_PROTOCOL] = { .error = -EPROTO },
        [WIRE_REFUSED_FULL] = { .error = -EUSERS, .renew = true },
        [WIRE_REFUSED_RESUME] = { .error = -EPROTO },
};

void session_init(Session *s) {
        *s = (Session) { .deadline = USEC_NEVER, .random = random_seed() };
}

static uint64_t session_random(Session *s, uint64_t below) {
        s->random += UINT64_C(0x9e3779b97f4a7c15);
        return map_hash_bytes(&s->random, sizeof(s->random)) % below;
}

/* The service's host is there, if it ends so. */
static bool session_is_answer(const Session *s, int error) {
        switch (error) {
        case -ENOENT: /* of the local socket, which may also have its file and not its mode yet */
        case -EACCES:
        case -ECONNREFUSED:
        case -ECONNRESET: /* the service died with the connection in its queue */
        case -EAGAIN:     /* that queue is full, and has been all the time */
                return true;
        case -ETIMEDOUT: /* the service hangs: its kernel has taken the connection, and nobody answered the HELLO */
                return s->state == SESSION_GREETING;
        default:
                return false;
        }
}

/* By how an attempt has failed. With a local socket in the list, the service is on this host, whichever address was
 * tried last. */
static uint64_t session_delay_max(const DirectClient *client, bool is_answered) {
        uint64_t share;

        if (!is_answered)
                return SESSION_DELAY_MAX_USEC;
        if (client->link.addresses.addresses[0].storage.ss_family == AF_UNIX)
                return SESSION_DELAY_ANSWERED_USEC;
        share = (usec_now() - client->session.down_since) / SESSION_DELAY_OUTAGE_SHARE;
        if (share < SESSION_DELAY_ANSWERED_USEC)
                return SESSION_DELAY_ANSWERED_USEC;
        return usec_min(share, SESSION_DELAY_MAX_USEC);
}

/* Full jitter: when a service comes back, its clients do not come all at once. */
static uint64_t session_delay(Session *s, uint64_t max) {
        uint64_t span = SESSION_DELAY_MIN_USEC;

        for (unsigned i = 0; i < s->n_lost && span < max; i++)
                span *= 2;
        s->n_lost++;
        return session_random(s, usec_min(span, max) + 1);
}

/* What does not outlive the link */
static void session_close_link(DirectClient *client) {
        link_close(&client->link);
        sender_link_lost(&client->sender);
        assembly_link_lost(&client->assembly);
        client->output_since = USEC_NEVER;
        client->flush_tag_back = client->flush_tag;
        client->flush_is_due = client->is_starved = client->watches_all = false;
        client->session.state = SESSION_IDLE;
        client->session.deadline = USEC_NEVER;
        client->session.attempt_end = 0;
}

/* What does not outlive the session; questions to the service do not care whose they are. */
static void session_end_flows(DirectClient *client, int result) {
        sender_reset(&client->sender, result);
        intake_reset(&client->intake);
        assembly_reset(&client->assembly);
        questions_finish_calls(&client->questions, 0, result);
        names_clear(&client->names);
        watches_clear(&client->watches);
}

static void session_close(DirectClient *client, int result) {
        session_close_link(client);
        session_end_flows(client, result);
        questions_finish_all(&client->questions, result);
        client_drop_names(client, result);
        client->retry_at = USEC_NEVER;
}

static void session_give_up(DirectClient *client, int error, int reason, const char *text, size_t n_text) {
        Session *s = &client->session;

        session_close(client, error == -ETIMEDOUT || error == -ECONNRESET ? error : -ENOTCONN);
        s->failure = error;
        s->has_token = false;
        client_set_error(client, "%.*s", (int) n_text, text);
        if (!s->is_quiet)
                client_push_event_text(client, &(DirectEvent) { .type = DIRECT_EVENT_FAILED, .error = error, .reason = reason },
                                       (WireText) {}, (WireText) { text, n_text });
}

static void session_give_up_error(DirectClient *client, int error) {
        char text[128];

        snprintf(text, sizeof(text), "no service answers (%s)", strerror(-error));
        session_give_up(client, error, DIRECT_REASON_NONE, text, strlen(text));
}

static void session_pause(DirectClient *client, uint64_t delay) {
        client->session.state = SESSION_PAUSING;
        client->session.deadline = usec_add(usec_now(), delay);
}

/* A link that is lost before it was accepted, or an attempt that came to nothing. */
static void session_failed(DirectClient *client, int error) {
        Session *s = &client->session;
        bool is_answered = s->is_answered || session_is_answer(s, error);

        if (!s->is_established) {
                session_give_up_error(client, error);
                return;
        }
        session_close_link(client);
        session_pause(client, session_delay(s, session_delay_max(client, is_answered)));
}

static void session_hello(DirectClient *client) {
        Session *s = &client->session;
        const char *name = s->is_established ? client->name : client->wanted_name ?: "";
        uint8_t payload[WIRE_HELLO_FRAME_MAX - WIRE_HEADER_SIZE];
        WireHello hello = {
                .magic = WIRE_MAGIC,
                .version_min = WIRE_VERSION,
                .version_max = WIRE_VERSION,
                .name = { name, strlen(name) },
                .program = { client->program, strlen(client->program) },
                .credential = { "", 0 },
        };
        int r;

        s->is_resuming = s->has_token;
        if (s->is_resuming) {
                hello.resume_id = s->id;
                memcpy(hello.resume_token, s->token, sizeof(s->token));
        }
        r = wire_hello_store(&hello, payload, sizeof(payload));
        if (r >= 0)
                r = sender_control(&client->sender, &(WireHeader) { .length = (uint32_t) r, .type = WIRE_HELLO }, payload);
        if (r < 0) {
                session_failed(client, r);
                return;
        }
        s->state = SESSION_GREETING;
        s->is_answered = false; /* the others don't matter any more */
        s->deadline = s->is_established ? usec_add(usec_now(), SESSION_RENEW_TIMEOUT_USEC) : s->attempt_end;
        client_write(client);
}

/* Until when the present address may take the connection. The last one that a program waits for may have all that is left. */
static uint64_t session_address_deadline(const DirectClient *client) {
        size_t n = client->link.addresses.n_addresses;
        const Session *s = &client->session;
        uint64_t whole = s->is_established ? SESSION_RENEW_TIMEOUT_USEC : SESSION_CONNECT_TIMEOUT_USEC;

        if (n == 1 || (!s->is_established && s->n_tried + 1 == n))
                return s->attempt_end;
        return usec_add(usec_now(), usec_min(SESSION_ADDRESS_TIMEOUT_USEC, whole / n));
}

/* Tries the addresses that are left. `r`: what came of the one before, if there was one. */
static void session_try(DirectClient *client, int r) {
        const AddressList *list = &client->link.addresses;
        Session *s = &client->session;

        s->state = SESSION_CONNECTING;
        for (; s->n_tried < list->n_addresses; s->n_tried++) {
                s->address = (s->first_address + s->n_tried) % list->n_addresses;
                r = link_open(&client->link, &list->addresses[s->address]);
                if (r == 0 || r == -EINPROGRESS || r == -EAGAIN)
                        break;
                s->is_answered |= session_is_answer(s, r);
        }
        if (r == 0)
                session_hello(client);
        else if (r == -EAGAIN && usec_now() < s->attempt_end)
                session_pause(client, SESSION_QUEUE_PAUSE_USEC);
        else if (r == -EINPROGRESS)
                s->deadline = session_address_deadline(client);
        else
                session_failed(client, r);
}

/* The present address has failed. */
static void session_try_next(DirectClient *client, int error) {
        Session *s = &client->session;

        s->is_answered |= session_is_answer(s, error);
        s->n_tried++;
        session_try(client, error);
}

static void session_open(DirectClient *client) {
        client->session.n_tried = 0;
        client->session.is_answered = false;
        session_try(client, -EADDRNOTAVAIL);
}

static void session_attempt(DirectClient *client) {
        Session *s = &client->session;

        s->attempt_end = usec_add(usec_now(), s->is_established ? SESSION_RENEW_TIMEOUT_USEC : SESSION_CONNECT_TIMEOUT_USEC);
        session_open(client);
}

/* The name that was chosen outside, for a program that chooses none itself */
static int session_default_name(DirectClient *client) {
        const char *name = getenv("DIRECTSERVER_NAME");

        if (client->wanted_name || !name || name[0] == '\0')
                return 0;
        if (!wire_name_is_valid(name, strlen(name))) {
                client_set_error(client, "$DIRECTSERVER_NAME is not a valid name");
                return -EINVAL;
        }
        client->wanted_name = strdup(name);
        return client->wanted_name ? 0 : -ENOMEM;
}

int session_start(DirectClient *client, const char *address, bool is_quiet) {
        Session *s = &client->session;
        int r;

        if (s->state != SESSION_IDLE)
                return -EISCONN;
        if (client->is_freed)
                return -EINVAL;
        r = session_default_name(client);
        if (r < 0)
                return r;
        r = address_list_resolve(address, &client->link.addresses);
        if (r < 0) {
                client_set_error(client, "Can't find '%s': %s", address ?: "$DIRECTSERVER", strerror(-r));
                return r;
        }
        s->is_established = s->has_token = false;
        s->is_quiet = is_quiet;
        s->failure = 0;
        s->n_lost = 0;
        s->first_address = 0;
        session_attempt(client);
        return 0;
}

void session_stop(DirectClient *client, int result) {
        if (client->session.state == SESSION_UP)
                sender_goodbye(&client->sender, &client->link, WIRE_REASON_LEAVING);
        session_close(client, result);
        client->session.has_token = false;
        client->session.failure = result;
}

void session_socket_ready(DirectClient *client) {
        int r = link_finish(&client->link);

        if (r == 0)
                session_hello(client);
        else if (r != -EINPROGRESS)
                session_try_next(client, r);
}

/* A link that was up has ended. */
static void session_lost(DirectClient *client, int reason, const char *text, size_t n_text, bool renew, uint64_t delay) {
        Session *s = &client->session;

        s->down_since = usec_now();
        if (renew && client->reconnect)
                session_close_link(client);
        else
                session_close(client, -ECONNRESET);
        client_set_error(client, "%.*s", (int) n_text, text);
        client_push_event_text(client, &(DirectEvent) { .type = DIRECT_EVENT_DISCONNECTED, .reason = reason }, (WireText) {},
                               (WireText) { text, n_text });
        if (!renew || !client->reconnect) {
                s->failure = -ECONNRESET;
                s->has_token = false;
                return;
        }
        if (s->down_since - s->up_since >= SESSION_STABLE_USEC)
                s->n_lost = 0;
        else if (s->n_lost > SESSION_LOST_ACCEPTED_MAX)
                s->n_lost = SESSION_LOST_ACCEPTED_MAX;
        if (delay == 0)
                delay = session_delay(s, SESSION_DELAY_MAX_USEC);
        session_pause(client, usec_min(delay, SESSION_DELAY_NAMED_MAX_USEC));
}

void session_link_failed(DirectClient *client, int error) {
        const char *text;

        if (client->session.state != SESSION_UP) {
                session_failed(client, error == -EPIPE ? -ECONNRESET : error);
                return;
        }
        text = error == -EPIPE ? "The service closed the connection" : strerror(-error);
        session_lost(client, error == -EPROTO ? DIRECT_REASON_PROTOCOL : DIRECT_REASON_LINK_LOST, text, strlen(text), true, 0);
}

static int session_set_name(DirectClient *client, WireText name) {
        char *copy;

        if (client->name && strlen(client->name) == name.size && memcmp(client->name, name.data, name.size) == 0)
                return 0;
        copy = strndup(name.data, name.size);
        if (!copy)
                return -ENOMEM;
        free(client->name);
        client->name = copy;
        return 0;
}

int session_welcome(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        Session *s = &client->session;
        WireWelcome welcome;
        bool is_resumed, is_new_instance;

        if (wire_welcome_parse(payload, header->length, &welcome) < 0 || welcome.version != WIRE_VERSION || welcome.id == 0 ||
            welcome.id >= WIRE_TARGET_GROUP || welcome.max_payload < WIRE_PAYLOAD_MAX ||
            !wire_name_is_valid(welcome.name.data, welcome.name.size))
                return -EPROTO;
        if (session_set_name(client, welcome.name) < 0)
                return -ENOMEM;
        is_resumed = s->is_resuming && welcome.id == s->id;
        is_new_instance = memcmp(s->instance, welcome.instance, sizeof(s->instance)) != 0;
        if (!is_resumed)
                session_end_flows(client, -ECONNRESET);
        if (sender_welcome(&client->sender, is_resumed, is_new_instance, welcome.initial_credit) < 0)
                return -ENOMEM;
        client->intake.initial_credit = welcome.initial_credit;
        client->intake.began_here = !is_resumed || (client->intake.began_here && !is_new_instance);
        memcpy(s->instance, welcome.instance, sizeof(s->instance));
        s->id = welcome.id;
        s->epoch = welcome.epoch;
        memcpy(s->token, welcome.resume_token, sizeof(s->token));
        s->has_token = true;
        s->is_established = true;
        s->is_quiet = false;
        s->state = SESSION_UP;
        s->deadline = USEC_NEVER;
        s->first_address = s->address;
        s->up_since = usec_now();
        client_renew_questions(client);
        watches_renew(&client->watches);
        if (heard_renew(&client->intake) < 0 || intake_retry(&client->intake) < 0)
                client_put_off(client);
        if (is_resumed && !sender_has_output(&client->sender)) /* the service wants to see that we have heard it */
                (void) sender_control(&client->sender, &(WireHeader) { .type = WIRE_PONG }, NULL);
        client_push_event(client, &(DirectEvent) { .type = DIRECT_EVENT_CONNECTED, .resumed = is_resumed, .id = s->id,
                                                   .epoch = s->epoch, .name = client->name });
        return 0;
}

int session_refused(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        WireReader reader = wire_reader(payload, header->length);
        unsigned code = header->kind < N_ELEMENTS(refusals) ? header->kind : 0;
        Session *s = &client->session;
        WireText text;

        text = wire_read_text16(&reader);
        if (reader.failed)
                return -EPROTO;
        if (code == WIRE_REFUSED_RESUME && s->is_resuming) {
                s->has_token = false;
                session_close_link(client);
                session_attempt(client);
        } else if (s->is_established && refusals[code].renew)
                session_failed(client, refusals[code].error);
        else if (text.size > 0)
                session_give_up(client, refusals[code].error, DIRECT_REASON_NONE, text.data, text.size);
        else
                session_give_up_error(client, refusals[code].error);
        return 0;
}

int session_goodbye(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        unsigned code = header->kind < _WIRE_REASON_N ? header->kind : WIRE_REASON_NONE;
        WireGoodbye goodbye;
        const char *text;
        size_t n_text;

        if (wire_goodbye_parse(payload, header->length, &goodbye) < 0)
                return -EPROTO;
        text = goodbye.reason.data;
        n_text = goodbye.reason.size;
        if (n_text == 0 && code != WIRE_REASON_KICKED) {
                text = wire_reason_name(code);
                n_text = strlen(text);
        }
        if (client->session.state != SESSION_UP) {
                session_failed(client, goodbyes[code].renew ? -ECONNRESET : goodbyes[code].error);
                return 0;
        }
        if (code == WIRE_REASON_KICKED) {
                session_close(client, -ECONNRESET);
                client->session.has_token = false;
                client->session.failure = goodbyes[code].error;
                client_set_error(client, "Kicked: %.*s", (int) n_text, text);
                client_push_event_text(client, &(DirectEvent) { .type = DIRECT_EVENT_KICKED, .reason = DIRECT_REASON_KICKED },
                                       (WireText) {}, (WireText) { text, n_text });
                return 0;
        }
        session_lost(client, (int) code, text, n_text, goodbyes[code].renew, goodbye.retry_after_ms * USEC_PER_MSEC);
        if (!goodbyes[code].renew)
                session_give_up(client, goodbyes[code].error, (int) code, text, n_text);
        return 0;
}

void session_expire(DirectClient *client) {
        Session *s = &client->session;

        if (s->state == SESSION_CONNECTING)
                session_try_next(client, -ETIMEDOUT);
        else if (s->state == SESSION_GREETING)
                session_failed(client, -ETIMEDOUT);
        else if (s->attempt_end != 0)
                session_open(client); /* the local queue was full */
        else
                session_attempt(client);
}
