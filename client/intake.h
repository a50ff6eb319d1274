/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Incoming reliable flows: each message once and in order, acknowledged when the program has taken it, and as much credit for the
 * sender as there is room. And broadcasts: what was missed is asked for. Pure: frames and events go in, answers come out. */

#include <stdbool.h>
#include <stdint.h>

#include "client/map.h"
#include "client/util.h"
#include "protocol/wire.h"

typedef struct Intake Intake;
typedef struct Source Source;

typedef struct InFlow {
        Source *source;
        MapNode by_stream; /* of streams: in Intake.by_stream */
        List of_source;
        List due;     /* among those that have something to acknowledge; else alone */
        List pending; /* of Receipt, in their order */
        uint32_t stream;
        uint64_t received;   /* all up to this number has come */
        uint64_t n_taken;    /* bytes that the program, or the library for it, is done with */
        uint64_t granted;    /* credit that the sender has, as far as it was told */
        uint64_t generation; /* in which it was counted last */
        bool has_ended;
} InFlow;

typedef struct StreamRange {
        uint32_t first, last;
} StreamRange;

enum {
        /* A sender that uses its numbers one after the other needs two; of one that leaves gaps the latest are known, which is
         * what a frame that is sent again can belong to */
        INTAKE_RANGES_MAX = 16,
        INTAKE_AGAIN_MAX = 1024, /* see Again: who has so many waits for one who has stopped reading long ago */
        INTAKE_STREAMS_MAX = 65536, /* under way at the same time, from all: as ASSEMBLY_STREAMS_MAX */
};

/* A client that has sent us something reliable, until it is gone */
struct Source {
        Intake *intake;
        MapNode by_id;
        InFlow messages;
        List streams;         /* of InFlow: those under way */
        StreamRange ended[INTAKE_RANGES_MAX]; /* streams that have ended, lowest first */
        unsigned n_ended;
        uint64_t next_broadcast;  /* 0: nothing is known of its broadcasts */
        uint64_t known_broadcast; /* the last that it is known to have sent */
        bool has_asked;           /* for what is missing */
};

/* A frame that is here and that the program has not taken yet: part of the message that it came in */
typedef struct Receipt {
        List of_flow;
        InFlow *flow; /* NULL: nobody waits for it, or not any more */
        uint64_t sequence;
        uint32_t size;
} Receipt;

/* The last acknowledgement of a stream, which came back: nothing else is known of that stream any more */
typedef struct Again {
        List again;
        uint64_t source, sequence;
        uint32_t stream;
} Again;

typedef struct IntakeCallbacks {
        int (*acknowledge)(uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit, void *userdata);
        int (*ask_resend)(uint64_t source, uint64_t first, void *userdata);
        /* A source that was not known: its fate is of interest from now on. */
        int (*watch)(uint64_t source, void *userdata);
} IntakeCallbacks; /* all: 0 or -ENOMEM */

struct Intake {
        Map by_id;   /* of Source */
        Map by_stream; /* of InFlow, by a hash of source and number: the streams under way */
        Source *last; /* the one that was looked for last; or NULL */
        List due;    /* of InFlow */
        List put_off;   /* of InFlow: what there is to acknowledge is of no use before intake_retry() */
        List again;     /* of Again, likewise */
        unsigned n_again;
        uint32_t initial_credit;
        bool began_here; /* our session began in the present instance of the service */

        /* Who has sent of late, to share the room: counted over generations of so many bytes */
        uint64_t generation, n_generation;
        unsigned n_senders, n_senders_before;

        /* The frame that is being dealt with */
        InFlow *flow;
        WireHeader header;

        const IntakeCallbacks *callbacks;
        void *userdata;
};

enum {
        INTAKE_BUDGET = 4 * 1024 * 1024,   /* for all that send at the same time */
        INTAKE_WINDOW_MAX = 512 * 1024,    /* for one: keeps a fast link busy, and small messages get through behind it */
        INTAKE_WINDOW_MIN = 2 * WIRE_FRAME_MAX, /* for one of very many: less would make it wait after each large frame */
        INTAKE_GENERATION = 1024 * 1024,
};

void intake_init(Intake *in, const IntakeCallbacks *callbacks, void *userdata);
void intake_deinit(Intake *in);

/* A reliable frame. 1: it is the next of its flow, to be handed on and then intake_end(); 0: not wanted; -ENOMEM: as if it had
 * not come. */
int intake_begin(Intake *in, const WireHeader *header);

/* The message that the frame has completed, or is a part of, waits for the program. To be called between begin and end, once at
 * most. */
void intake_attach(Intake *in, Receipt *receipt);

/* `is_kept` false: there was no memory for it, it is as if it had not come. */
void intake_end(Intake *in, bool is_kept);

/* The program has taken the message, or it is thrown away. */
void intake_take(Receipt *receipt);

/* Says what there is to acknowledge. 0 or -ENOMEM: some is left. */
int intake_acknowledge(Intake *in);
static inline bool intake_is_due(const Intake *in) {
        return !list_is_empty(&in->due);
}

/* An acknowledgement, or a question for broadcasts, came back: its target has not read the ones before. They are put off. 0 or
 * -ENOMEM. */
int intake_bounced(Intake *in, uint64_t source, uint32_t stream, uint64_t sequence);
void heard_bounced(Intake *in, uint64_t source);
/* Time to try again what was put off. 0 or -ENOMEM: some is left. */
int intake_retry(Intake *in);
int heard_retry(Intake *in);

/* The source is gone; all are, since our session is new. */
void intake_source_gone(Intake *in, uint64_t source);
void intake_reset(Intake *in);

/* Broadcasts (heard.c). The same three results; what is handed on and was kept ends with heard_end(). */
int heard_begin(Intake *in, const WireHeader *header);
void heard_end(Intake *in);
int heard_mark(Intake *in, const WireHeader *header, uint64_t before);
/* `source` has not kept those: how many of them are missing here; and they are waited for no more. */
uint64_t heard_count_lost(const Intake *in, uint64_t source, uint64_t first, uint64_t last);
void heard_lost(Intake *in, uint64_t source, uint64_t first, uint64_t last);
/* What was asked for may be lost: the source is back. Our link is new: the same for all. 0 or -ENOMEM. */
int heard_back(Intake *in, uint64_t source);
int heard_renew(Intake *in);
/* The source is gone: how many are missing for good. */
uint64_t heard_missing(const Intake *in, uint64_t source);

/* For heard.c. NULL: no memory. */
Source *intake_get_source(Intake *in, uint64_t id);
Source *intake_find_source(const Intake *in, uint64_t id);
