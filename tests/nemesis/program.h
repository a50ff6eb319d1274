/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef NEMESIS_PROGRAM_H
#define NEMESIS_PROGRAM_H

/* What the modes of nemesis-client have in common: the handle, the log, the options. */

#include <stddef.h>
#include <stdint.h>

#include <directclient.h>

#include "record.h"

typedef struct Program Program;

/* One way to use the library. All but start may be NULL. */
typedef struct Mode {
        const char *name;
        void (*start)(Program *program);                                    /* connected for the first time */
        void (*session)(Program *program);                                  /* connected as another: the old session has ended */
        void (*writable)(Program *program);                                 /* sending may work again */
        void (*joined)(Program *program, const char *name, uint64_t id);    /* is there; may be told more than once */
        void (*left)(Program *program, uint64_t id);
        void (*message)(Program *program, const DirectMessage *message);    /* NULL: turn() takes them */
        void (*more)(Program *program);                                     /* n_messages has grown */
        int (*turn)(Program *program);                                      /* sends, takes; 1: wants to go on at once, 0: not */
} Mode;

struct Program {
        DirectClient *client;
        RecordLog log;
        const Mode *mode;
        uint64_t id; /* of the present session */

        /* Options */
        const char *server, *name, *log_path, *prefix, *target, *path;
        uint64_t n_clients, seed;
        /* That it may send, or bytes that it may take, all together: the driver allows more as the test goes on */
        uint64_t n_messages;
};

/* Nothing more that it may send, and each message has its outcome: said in the log and on stdout. */
void program_finish(Program *program);

/* Ends the process: the test can't go on. */
_Noreturn void program_fail(Program *program, const char *what, int error);

/* What is sent again is noted in the log of `program` from the beginning on. */
void tap_begin(Program *program);

/* All flows begin anew. */
void tap_end_session(void);

/* The last turns too: others are noted when they are over. */
void tap_note(void);

extern const Mode exchange_mode;     /* exchange.c */
extern const Mode file_send_mode;    /* file-send.c */
extern const Mode file_receive_mode; /* file-receive.c */

#endif
