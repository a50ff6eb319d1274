/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The handle: its options, its two ends, and direct_process(), the only place where handlers are called from. It owns all the
 * other objects; what they do is theirs. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"

#define CLIENT_RETRY_USEC (20 * USEC_PER_MSEC) /* soon, and no busy waiting */
#define CLIENT_RETRY_LONG_USEC (200 * USEC_PER_MSEC) /* whom this waits for has not read for a while, and may not for long */
#define CLIENT_PAUSE_USEC USEC_PER_MSEC /* beside so much work between two messages one write costs nothing */

enum {
        CLIENT_DISPATCH_MAX = 1024, /* handlers that one direct_process() calls: the program's other work has its turn */
};

void client_set_error(DirectClient *client, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsnprintf(client->error, sizeof(client->error), format, ap);
        va_end(ap);
}

int client_check_up(DirectClient *client) {
        static const char *const words[] = {
                [SESSION_IDLE] = "Not connected",
                [SESSION_PAUSING] = "Not connected at present, will try again",
                [SESSION_CONNECTING] = "Not connected yet",
                [SESSION_GREETING] = "Not accepted by the service yet",
        };

        if (client->session.state == SESSION_UP)
                return 0;
        client_set_error(client, "%s", words[client->session.state]);
        return -ENOTCONN;
}

int client_check_session(DirectClient *client) {
        return client->session.is_established && client->session.state != SESSION_IDLE ? 0 : client_check_up(client);
}

void client_put_off(DirectClient *client) {
        client->retry_at = usec_min(client->retry_at, usec_add(usec_now(), CLIENT_RETRY_USEC));
}

void client_put_off_long(DirectClient *client) {
        client->retry_at = usec_min(client->retry_at, usec_add(usec_now(), CLIENT_RETRY_LONG_USEC));
}

/* Events */

typedef struct EventNotice {
        Notice notice;
        DirectEvent event;
        char texts[]; /* the name and the text, both terminated */
} EventNotice;

static void event_deliver(DirectClient *client, Notice *notice) {
        EventNotice *n = container_of(notice, EventNotice, notice);

        if (client->event_handler)
                client->event_handler(client, &n->event, client->event_userdata);
        free(n);
}

static void event_cancel(DirectClient *client, Notice *notice) {
        free(container_of(notice, EventNotice, notice));
}

int client_push_event_text(DirectClient *client, const DirectEvent *event, WireText name, WireText text) {
        static const NoticeType type = { event_deliver, event_cancel };
        size_t size = sizeof(EventNotice) + name.size + text.size + 2;
        EventNotice *n;
        char *p;

        if (!client->event_handler)
                return 0;
        n = malloc(size);
        if (!n)
                return -ENOMEM;
        *n = (EventNotice) { .event = *event };
        p = n->texts;
        n->event.name = p;
        if (name.size > 0)
                p = mempcpy(p, name.data, name.size);
        *p++ = '\0';
        n->event.text = p;
        if (text.size > 0)
                p = mempcpy(p, text.data, text.size);
        *p = '\0';
        inbox_push(&client->inbox, &n->notice, &type, size);
        return 0;
}

int client_push_event(DirectClient *client, const DirectEvent *event) {
        return client_push_event_text(client, event, (WireText) { event->name, event->name ? strlen(event->name) : 0 },
                               (WireText) { event->text, event->text ? strlen(event->text) : 0 });
}

/* Messages */

uint64_t client_clock(DirectClient *client) {
        uint64_t tick = tick_now();

        if (tick != client->tick) {
                client->tick = tick;
                client->clock = usec_now();
        }
        return client->clock;
}

void client_taken(DirectClient *client, DirectMessage *message, uint64_t now) {
        if (!message->receipt.flow)
                return;
        intake_take(&message->receipt);
        client->flush_is_due = true;
        if (client->output_since == USEC_NEVER)
                client->output_since = now; /* the acknowledgement */
}

bool client_pauses(const DirectClient *client, uint64_t now) {
        return now > usec_add(client->taken_at, CLIENT_PAUSE_USEC);
}

void client_taken_from_inbox(DirectClient *client, DirectMessage *message, uint64_t now) {
        bool is_slow = client_pauses(client, now);

        client_taken(client, message, now);
        client->taken_at = now;
        /* That of a request goes out with its reply: nobody can be told earlier that it was dealt with */
        if (!message->is_request && (is_slow || !client->inbox.messages.first) && intake_is_due(&client->intake) &&
            client->session.state == SESSION_UP && !client->link.is_blocked)
                (void) client_write(client);
}

static void message_deliver(DirectClient *client, Notice *notice) {
        DirectMessage *message = container_of(notice, DirectMessage, notice);

        client_taken_from_inbox(client, message, client_clock(client));
        client->message_handler(client, message, client->message_userdata);
}

static void message_cancel(DirectClient *client, Notice *notice) {
        direct_message_free(container_of(notice, DirectMessage, notice));
}

static void client_message(DirectMessage *message, uint8_t flags, void *userdata) {
        static const NoticeType type = { message_deliver, message_cancel };
        DirectClient *client = userdata;

        intake_attach(&client->intake, &message->receipt);
        if (flags & WIRE_REPLY)
                client_reply(client, message, flags);
        else
                inbox_push_message(&client->inbox, &message->notice, &type, message_get_weight(message));
}

static void client_message_source(uint64_t source, bool on, void *userdata) {
        DirectClient *client = userdata;

        if (on)
                (void) watches_use(&client->watches, source); /* without memory the message ends when the link does */
        else
                watches_unuse(&client->watches, source);
}

static void client_name_released(uint64_t id, void *userdata) {
        watches_unuse(&((DirectClient *) userdata)->watches, id);
}

/* What the intake has to say */

static int client_acknowledge(uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit, void *userdata) {
        WireHeader header = { .length = 8, .type = WIRE_ACK, .target = source, .sequence = sequence, .stream = stream,
                              .tag = CLIENT_ACK_TAG };
        DirectClient *client = userdata;
        uint8_t payload[8];

        wire_store_u64(payload, credit);
        return sender_control(&client->sender, &header, payload);
}

static int client_ask_resend(uint64_t source, uint64_t first, void *userdata) {
        WireHeader header = { .length = 16, .type = WIRE_RESEND, .target = source, .tag = CLIENT_RESEND_TAG };
        DirectClient *client = userdata;
        uint8_t payload[16] = {};

        wire_store_u64(payload, first);
        return sender_control(&client->sender, &header, payload);
}

static int client_use_watch(uint64_t id, void *userdata) {
        return watches_use(&((DirectClient *) userdata)->watches, id);
}

/* The two ends */

static char *program_default(void) {
        char host[64] = "", *program;

        (void) gethostname(host, sizeof(host) - 1);
        if (asprintf(&program, "%.300s[%d]@%s", program_invocation_short_name, (int) getpid(), host) < 0)
                return NULL;
        if (!wire_text_is_clean(program, strlen(program)))
                program[0] = '\0'; /* a name that is no text for people */
        return program;
}

/* glibc gives the top of its heap back to the kernel once 128 KiB of it are free. A batch of messages that come is more than
 * that: so it would go back with each, and come anew with the next, page by page, which takes three quarters of all the time of
 * a program that receives. It learns that more is wanted from a large block that is freed (mallopt(3), M_MMAP_THRESHOLD), and is
 * shown one here, of which no page is touched but the first. A program that has set those thresholds has its way. */
static void show_heap_what_is_wanted(void) {
        void *volatile block = malloc(INBOX_WEIGHT_MAX);

        free(block);
}

static void client_destroyp(DirectClient **client);

int direct_client_new(DirectClient **ret_client) {
        static const IntakeCallbacks intake_callbacks = { client_acknowledge, client_ask_resend, client_use_watch };
        static const AssemblyCallbacks assembly_callbacks = { client_message, client_message_source };
        __attribute__((cleanup(client_destroyp))) DirectClient *client = NULL;
        int r;

        if (!ret_client)
                return -EINVAL;
        show_heap_what_is_wanted();
        client = malloc(sizeof(*client));
        if (!client)
                return -ENOMEM;
        *client = (DirectClient) {
                .poller = POLLER_NULL,
                .send_buffer = CLIENT_SEND_BUFFER_DEFAULT,
                .reconnect = true,
                .retry_at = USEC_NEVER,
                .output_since = USEC_NEVER,
        };
        inbox_init(&client->inbox);
        session_init(&client->session);
        watches_init(&client->watches, client_ask_watch, client);
        names_init(&client->names, client_name_released, client);
        questions_init(&client->questions, client_question_finished, client);
        intake_init(&client->intake, &intake_callbacks, client);
        assembly_init(&client->assembly, &assembly_callbacks, client);
        link_init(&client->link, -1);
        sender_init(&client->sender, -1, &client_sender_callbacks, client);
        r = poller_init(&client->poller);
        if (r < 0)
                return r;
        client->link.epoll_fd = client->sender.epoll_fd = client->poller.epoll_fd;
        client->program = program_default();
        if (!client->program)
                return -ENOMEM;
        *ret_client = client;
        client = NULL;
        return 0;
}

/* Those who were promised to be told are told now; their handlers may do what they like, but nothing will come of it. */
static void client_cancel_notices(DirectClient *client) {
        Notice *notice;

        while ((notice = inbox_pop(&client->inbox, true)))
                notice->type->cancel(client, notice);
}

static void client_destroy(DirectClient *client) {
        client->is_freed = client->is_dispatching = true;
        client->n_inside++; /* nothing is to be waited for any more */
        session_stop(client, -ECANCELED);
        client_cancel_notices(client);
        questions_deinit(&client->questions);
        names_deinit(&client->names);
        watches_deinit(&client->watches);
        assembly_deinit(&client->assembly);
        sender_deinit(&client->sender);
        client_cancel_notices(client);
        intake_deinit(&client->intake);
        link_deinit(&client->link);
        poller_deinit(&client->poller);
        free(client->wanted_name);
        free(client->name);
        free(client->program);
        free(client);
}

static void client_destroyp(DirectClient **client) {
        if (*client)
                client_destroy(*client);
}

DirectClient *direct_client_free(DirectClient *client) {
        if (!client || client->is_freed)
                return NULL;
        if (client->is_dispatching) {
                session_stop(client, -ECANCELED);
                client->is_freed = true; /* direct_process(), which called the handler that we are in, does the rest */
        } else
                client_destroy(client);
        return NULL;
}

/* Options */

static int client_set_text(DirectClient *client, char **text, const char *value) {
        char *copy;

        if (client->session.state != SESSION_IDLE)
                return -EISCONN;
        copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        free(*text);
        *text = copy;
        return 0;
}

int direct_set_name(DirectClient *client, const char *name) {
        if (!client || !name || !wire_name_is_valid(name, strlen(name)))
                return -EINVAL;
        return client_set_text(client, &client->wanted_name, name);
}

int direct_set_program(DirectClient *client, const char *program) {
        if (!client || !program || strlen(program) > CLIENT_PROGRAM_MAX || !wire_text_is_clean(program, strlen(program)))
                return -EINVAL;
        return client_set_text(client, &client->program, program);
}

int direct_set_max_message(DirectClient *client, uint64_t bytes) {
        if (!client || bytes < ASSEMBLY_MAX_MESSAGE_MIN || bytes > ASSEMBLY_MAX_MESSAGE_MAX)
                return -EINVAL;
        client->assembly.max_message = bytes;
        return 0;
}

int direct_set_send_buffer(DirectClient *client, uint64_t bytes) {
        if (!client)
                return -EINVAL;
        client->send_buffer = bytes;
        return 0;
}

int direct_set_send_timeout(DirectClient *client, uint64_t usec) {
        if (!client)
                return -EINVAL;
        client->send_timeout = usec;
        return 0;
}

int direct_set_spin(DirectClient *client, uint64_t usec) {
        if (!client || usec > SPIN_USEC_MAX)
                return -EINVAL;
        spin_set(&client->poller.spin, usec);
        return 0;
}

int direct_set_reconnect(DirectClient *client, int on) {
        if (!client)
                return -EINVAL;
        client->reconnect = on;
        return 0;
}

int direct_set_userdata(DirectClient *client, void *userdata) {
        if (!client)
                return -EINVAL;
        client->userdata = userdata;
        return 0;
}

void *direct_get_userdata(DirectClient *client) {
        return client ? client->userdata : NULL;
}

int direct_set_event_handler(DirectClient *client, DirectEventHandler handler, void *userdata) {
        if (!client)
                return -EINVAL;
        client->event_handler = handler;
        client->event_userdata = userdata;
        return 0;
}

int direct_set_message_handler(DirectClient *client, DirectMessageHandler handler, void *userdata) {
        if (!client)
                return -EINVAL;
        client->message_handler = handler;
        client->message_userdata = userdata;
        client_settle(client);
        return 0;
}

/* The connection */

int direct_connect_start(DirectClient *client, const char *address) {
        int r;

        if (!client)
                return -EINVAL;
        r = session_start(client, address, false);
        client_settle(client);
        return r;
}

int direct_disconnect(DirectClient *client) {
        if (!client)
                return -EINVAL;
        if (client->session.state == SESSION_IDLE)
                return -ENOTCONN;
        session_stop(client, -ECANCELED);
        client_settle(client);
        return 0;
}

int direct_is_connected(DirectClient *client) {
        return client && client->session.state == SESSION_UP;
}

uint64_t direct_get_id(DirectClient *client) {
        return client ? client->session.id : 0;
}

const char *direct_get_name(DirectClient *client) {
        return client && client->name ? client->name : client && client->wanted_name ? client->wanted_name : "";
}

const char *direct_get_error(DirectClient *client) {
        return client ? client->error : "";
}

const char *direct_state_name(int state) {
        return wire_state_name((unsigned) state);
}

const char *direct_reason_name(int reason) {
        return wire_reason_name((unsigned) reason);
}

/* The event loop */

int direct_get_fd(DirectClient *client) {
        if (!client)
                return -EINVAL;
        if (!client->is_polled) {
                client->is_polled = true;
                client_settle(client);
        }
        return client->poller.epoll_fd;
}

/* Returns true if some are left. */
static bool client_dispatch(DirectClient *client) {
        Notice *notice;

        client->is_dispatching = true;
        for (unsigned i = 0; i < CLIENT_DISPATCH_MAX && !client->is_freed; i++) {
                notice = inbox_pop(&client->inbox, client->message_handler);
                if (!notice)
                        break;
                notice->type->deliver(client, notice);
        }
        client->is_dispatching = false;
        return inbox_is_waiting(&client->inbox, client->message_handler);
}

int direct_process(DirectClient *client) {
        bool more;

        if (!client)
                return -EINVAL;
        if (client->is_dispatching)
                return -EDEADLK;
        client->n_inside++;
        more = client_turn(client, 0) > 0;
        more |= client_dispatch(client);
        client->n_inside--;
        if (client->is_freed) {
                client_destroy(client);
                return -ECANCELED;
        }
        if (!client->link.is_blocked)
                more |= client_write(client); /* what the handlers sent */
        client->inbox.unseen = false;
        client->has_turned = true;
        client_arm(client, client->is_polled); /* direct_wait() sees to what lies in memory itself */
        return more;
}
