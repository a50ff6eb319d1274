/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The handle from the inside: the objects that it is made of, and what its source files call of each other. */

#include "client/assembly.h"
#include "client/directclient.h"
#include "client/inbox.h"
#include "client/intake.h"
#include "client/link.h"
#include "client/names.h"
#include "client/poller.h"
#include "client/questions.h"
#include "client/send.h"
#include "client/session.h"
#include "client/watches.h"

struct DirectClient {
        Poller poller;
        Link link;
        Session session;
        Sender sender;
        Intake intake;
        Assembly assembly;
        Questions questions;
        Names names;
        Watches watches;
        Inbox inbox;

        char *wanted_name; /* NULL: any */
        char *name;        /* as the service said; or NULL */
        char *program;
        uint64_t send_buffer;
        uint64_t send_timeout;
        bool reconnect;
        bool was_refused; /* -EAGAIN was returned, and DIRECT_EVENT_WRITABLE is due */
        uint64_t refused_size; /* of the largest message that it was returned for */
        bool flush_is_due;      /* something was queued since the last ping of direct_flush() */
        uint32_t flush_tag;     /* of that ping, */
        uint32_t flush_tag_back; /* and of its last answer */
        uint64_t retry_at; /* when what was put off is tried again; USEC_NEVER: nothing was */
        uint64_t tick, clock;  /* see client_clock() */
        uint64_t taken_at;     /* when the program was given the last message or reply */
        uint64_t output_since; /* when the first of what is to be written was queued; USEC_NEVER: nothing is */

        void *userdata;
        DirectEventHandler event_handler;
        void *event_userdata;
        DirectMessageHandler message_handler;
        void *message_userdata;

        unsigned n_inside;  /* calls that run the loop; the last to leave updates what the epoll set waits for */
        bool is_polled;     /* the program knows the descriptor */
        bool has_turned;    /* direct_process() has written all since anything was written outside of it */
        bool is_dispatching; /* a handler is being called */
        bool is_waiting;    /* a blocking function waits for an answer: reading goes on above the bound of the inbox */
        bool is_reading;    /* a frame is being dealt with where it was read: nothing is written meanwhile, since that may read */
        bool is_starved;    /* no memory for what came in: it waits until retry_at */
        bool asks_watches;  /* among what was put off: to ask who is there */
        bool watches_all;   /* the service takes no more watches of single clients from us */
        bool is_freed;      /* direct_client_free() was called from a handler */

        char error[512];
};

/* Tell what comes back from a message that does; no question has them, and unreliable messages have none */
#define CLIENT_ACK_TAG (QUESTIONS_TAG_MAX + 1)
#define CLIENT_RESEND_TAG (QUESTIONS_TAG_MAX + 2)

enum {
        CLIENT_SEND_BUFFER_DEFAULT = 4 * 1024 * 1024,
        CLIENT_PROGRAM_MAX = 512, /* so that HELLO stays below WIRE_HELLO_FRAME_MAX whatever the name is */
};

/* client.c */

__attribute__((format(printf, 2, 3))) void client_set_error(DirectClient *client, const char *format, ...);
/* Copies its texts. 0, or -ENOMEM: if the caller does not try again the event is lost, and the next one that gets through is all
 * there is to see. */
int client_push_event(DirectClient *client, const DirectEvent *event);
int client_push_event_text(DirectClient *client, const DirectEvent *event, WireText name, WireText text);

/* 0, or -ENOTCONN with the reason in words: the link is up; there is a session, whether or not its link is up. */
int client_check_up(DirectClient *client);
int client_check_session(DirectClient *client);

/* Tries again soon what there was no memory for; a little later what the service, or a client, was too busy for. */
void client_put_off(DirectClient *client);
void client_put_off_long(DirectClient *client);

/* The time, but up to a tick of the kernel late: enough to tell who works for long on a message, and to look at the clock itself
 * is a third of what a small message costs who receives it. */
uint64_t client_clock(DirectClient *client);

/* A message is being handed to the program. */
void client_taken(DirectClient *client, DirectMessage *message, uint64_t now);

/* The program spends more time with a message than a write costs: acknowledgements do not wait for its next. */
bool client_pauses(const DirectClient *client, uint64_t now);

/* The same as client_taken() for one of the inbox. If the program pauses, or it is the last for now, its sender is told before
 * the program has it, who knows for how long. */
void client_taken_from_inbox(DirectClient *client, DirectMessage *message, uint64_t now);

/* transmit.c */

/* What the send buffer holds */
uint64_t client_get_queued(const DirectClient *client);

/* True if a message of `size` would be taken now. */
bool client_has_room(const DirectClient *client, uint64_t size);

/* Room in the send buffer for a message: 0; -EAGAIN, or -ETIMEDOUT and what else waiting can end with; -ENOTCONN. */
int client_reserve(DirectClient *client, size_t size);

/* Something was queued: writes it if there is enough. That may end the session, and all that waits for anything: so it is the
 * last that a function does. In the middle of something, the other only notes it. */
void client_output(DirectClient *client);
void client_output_later(DirectClient *client);

extern const SenderCallbacks client_sender_callbacks;

/* loop.c */

/* One turn: waits until `deadline` at most (0: not at all), reads, deals with frames and timers, writes; calls no handler.
 * Returns 1 if there may be more to do at once, 0 if not, or -EINTR. */
int client_turn(DirectClient *client, uint64_t deadline);

/* Writes now what is queued. Returns true if there is more and the socket may take it. */
bool client_write(DirectClient *client);

/* Makes the epoll set wait for what is wanted now; `with_pending`: it is readable at once if something lies in memory. */
void client_arm(DirectClient *client, bool with_pending);

/* The same, unless a caller up the stack is going to, or nobody looks: a program that has never asked for the descriptor only
 * waits in functions that see to it themselves. To be called last by whatever changes anything. */
void client_settle(DirectClient *client);

/* True if a frame that was read waits for being dealt with, and there is room for it now. */
bool client_has_input(const DirectClient *client);

/* False: there is no room for more that comes in. */
bool client_wants_input(const DirectClient *client);

/* frames.c: deals with what was read; stops early when there is no room, unless `regardless`. 0, or -EPROTO. */
int client_read_frames(DirectClient *client, bool regardless);
bool client_has_frame(const DirectClient *client);

/* peers.c: what presence means to the rest */

void client_presence(DirectClient *client, const WirePresence *presence);
void client_watch_answer(DirectClient *client, uint64_t id, unsigned state);
int client_bounce(DirectClient *client, const WireHeader *header); /* 0 or -ENOMEM */
int client_broadcasts_lost(DirectClient *client, uint64_t source, uint64_t n); /* 0, or -ENOMEM: not told */

/* ask.c */

/* Puts a question to the service. Takes over `q`, also on failure. */
int client_ask(DirectClient *client, Question *q);
/* Messages to names whose ids are not known fail. */
void client_drop_names(DirectClient *client, int error);
int client_ask_name(DirectClient *client, const char *name);
void client_ask_watch(uint64_t id, bool on, bool is_gone, void *userdata);
/* The link is new: what is not answered is asked again. */
void client_renew_questions(DirectClient *client);
int client_answer(DirectClient *client, const WireHeader *header, const uint8_t *payload);
void client_question_finished(Question *q, void *userdata);

/* call.c */

/* Sends a request. Takes over `q`, also on failure. Whoever gets it back ends its use of the target's watch. */
int client_call(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, Question *q);

/* A message with the flag REPLY came in: taken over. */
void client_reply(DirectClient *client, DirectMessage *message, uint8_t flags);

/* wait.c: runs the loop until `done` says so or the deadline has passed; client_settle() is the caller's. 0; -ETIMEDOUT;
 * -ENOBUFS: too much came in meanwhile; -EINTR: a signal handler ran; -EDEADLK. */
typedef bool (*WaitDone)(const DirectClient *client, const void *userdata);
int client_wait_until(DirectClient *client, WaitDone done, const void *userdata, uint64_t deadline);
