/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* directclient's session: one connection to the service, the signals, and the loop that a verb waits in. Each verb is one
 * function; verbs and options stand in tables in directclient.c. */

#include <stdbool.h>
#include <stdint.h>

#include "directclient.h"
#include "tools/talk-progress.h"

/* What the program returns. --help lists them. */
enum {
        TALK_EXIT_SUCCESS = 0,
        TALK_EXIT_PEER = 1,    /* no such client, or it is gone, or did not answer */
        TALK_EXIT_BUSY = 2,    /* it is there, but busy or away */
        TALK_EXIT_SERVICE = 3, /* no connection to the service */
        TALK_EXIT_FAILURE = 4, /* a file, memory, … */
        TALK_EXIT_USAGE = 64,  /* EX_USAGE of sysexits.h */
};

typedef struct Talk Talk;

typedef void (*TalkEventHandler)(Talk *talk, const DirectEvent *event);

/* What a call of the library that does not wait comes to. It lives as long as the handle, which tells its handlers when it is
 * freed. */
typedef struct TalkAnswer {
        bool done;
        int result;
        DirectAlive alive;
        DirectMessage *message;
} TalkAnswer;

struct Talk {
        /* Options; what was not given is 0, NULL or false unless said otherwise */
        const char *server;
        const char *name;
        const char *output;
        uint64_t timeout_usec; /* default TALK_TIMEOUT_USEC */
        bool timeout_given;
        uint64_t count;         /* 0: without an end */
        uint64_t interval_usec; /* default 1 s */
        uint16_t kind;
        bool raw, echo, no_legend;

        DirectClient *client;
        int signal_fd;
        int signal;             /* the one that ended the loop, or 0 */
        int connection;         /* 0: not yet; 1: up; negative errno: refused, lost or kicked, `reason` says why */
        char reason[256];
        bool pending;           /* direct_process() has more to do */
        bool stays;             /* the verb lives on when the link is lost: the library connects again */
        bool takes_messages;    /* with direct_receive(); else those that come are dropped */
        uint64_t max_message;   /* larger ones arrive in parts; 0: the library's default */
        uint64_t delivering;    /* the id whose undelivered messages matter, or 0 */
        int undelivered;        /* negative errno of DIRECT_EVENT_UNDELIVERED for it */
        TalkAnswer answer;
        Progress progress;
        TalkEventHandler on_event; /* of the verb; may be NULL */
        void *userdata;         /* of the verb */
};

/* Long enough for a service across an ocean, short enough for a person who waits */
#define TALK_TIMEOUT_USEC UINT64_C(10000000)

#define TALK_NULL ((Talk) { .timeout_usec = TALK_TIMEOUT_USEC, .interval_usec = 1000000, .signal_fd = -1 })

void talk_deinit(Talk *talk);

/* Connects. Returns 0, or an exit status after having said what is wrong. */
int talk_connect(Talk *talk);

uint64_t talk_now(void); /* CLOCK_MONOTONIC, in microseconds */

/* Runs the loop until there was something to do (0), `fd` is readable (1; -1: no such descriptor), or `deadline` (of
 * talk_now()) has passed (-ETIMEDOUT). -EINTR: SIGINT or SIGTERM, see `signal`; another negative errno: the connection has
 * ended. */
int talk_turn(Talk *talk, int fd, uint64_t deadline);

/* Runs the loop until the answer is there. Returns its result, or as talk_turn(). */
int talk_await(Talk *talk, uint64_t deadline);

/* Handlers that fill in the answer; userdata is the session. */
void talk_on_alive(DirectClient *client, int result, const DirectAlive *alive, void *userdata);
void talk_on_sent(DirectClient *client, int result, void *userdata);
void talk_on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata);

/* Waits until the service has taken all that was sent before. Returns 0, or the negative errno of talk_turn(), or that of a
 * message to `delivering` that came back. */
int talk_settle(Talk *talk, uint64_t deadline);

/* Finds a client by name, or by id if `who` has only digits. Returns 0, -ENXIO, or as talk_turn(). */
int talk_find(Talk *talk, const char *who, DirectAlive *ret_alive);
bool talk_parse_id(const char *text, uint64_t *ret_id);

/* Says on stderr what went wrong (after erasing the progress bar). `error` is a negative errno, or 0. talk_fail() adds what
 * the errno means and what can be done, and returns the exit status. */
void talk_say(Talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
int talk_fail(Talk *talk, int error, const char *what);

/* The exit status that tells a state: alive, busy or away, gone or unknown. */
int talk_state_status(int state);

/* True if it can be shown to a person as it is: UTF-8 without control characters other than tab and line feed. */
bool talk_is_text(const uint8_t *data, size_t size);

/* The verbs. The arguments are those after the verb, their number has been checked. They return an exit status. */
int talk_send(Talk *talk, int argc, char **argv);
int talk_broadcast(Talk *talk, int argc, char **argv);
int talk_listen(Talk *talk, int argc, char **argv);
int talk_call(Talk *talk, int argc, char **argv);
int talk_alive(Talk *talk, int argc, char **argv);
int talk_ping(Talk *talk, int argc, char **argv);
int talk_list(Talk *talk, int argc, char **argv);
int talk_watch(Talk *talk, int argc, char **argv);
