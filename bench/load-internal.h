/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What load-open.c makes and load.c runs */

#include "bench/load.h"

enum {
        ROUND_TRIPS_MAX = 1024 * 1024,
        PATIENCE_SEC = 10, /* a busy machine may well give a server no time for some seconds */
};

typedef struct End {
        Client client;
        struct End *peer;
        bool leads;           /* sends of its own; else it answers, or only receives */
        uint32_t window;      /* as in Workload */
        uint8_t *piece;       /* frames: n_cycle and enough to begin anywhere in them */
        size_t n_cycle;       /* after how many messages its receivers come again */
        uint64_t allowed;     /* messages */
        uint64_t sent, received; /* bytes */
        uint64_t sent_nsec;
} End;

struct Load {
        const Target *target;
        Workload workload;
        size_t sent_size, delivered_size; /* of one message */
        size_t piece_size;                /* of one send */
        uint64_t deep_messages;           /* on their way for one receiver */
        uint32_t fan_out;
        unsigned patience;                /* seconds of silence until what has not arrived is lost */
        bool stopping;
        int epoll_fd;
        End *ends;
        size_t n_ends, n_leaders; /* leaders of SHAPE_ALL and SHAPE_BROADCAST come first */
        uint64_t n_allowed, n_received, n_lost; /* messages of all */
        uint64_t silent_nsec;
        uint32_t *round_trips;
        size_t n_round_trips;
};
