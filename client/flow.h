/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One outgoing flow: numbers, credit, acknowledgement, and sending again. Pure: acknowledgements and events go in, frames come
 * out. */

#include "client/bulk.h"
#include "client/line.h"
#include "client/map.h"
#include "client/store.h"
#include "client/util.h"

typedef enum PeerState {
        PEER_UP,   /* as far as is known */
        PEER_HELD, /* the link is new: the service has yet to say whether it is there */
        PEER_AWAY,
} PeerState;

typedef struct Peer Peer;

typedef struct Flow {
        Peer *peer;
        List active; /* among those that can send; else alone */
        List of_peer;
        MapNode by_handle; /* of bulks: what the program knows it by */
        MapNode by_stream; /* by a hash of what the receiver knows it by, once it has begun */
        uint64_t next;  /* number of the next frame to go out */
        uint64_t sent;  /* the highest that ever did */
        uint64_t acked; /* all up to it are taken */
        uint64_t n_sent; /* bytes, each frame counted once */
        uint64_t credit;
        Store store;  /* frames that can't be made again */
        Bulk *bulk;   /* NULL: the flow of small messages */
        Sent *outcomes; /* of small messages, in their order: who waits for one */
        Sent **outcomes_last;
} Flow;

/* A client that we send to, until it is gone */
struct Peer {
        MapNode by_id;
        PeerState state;
        bool is_refused; /* by policy, for good: what number a frame would have now nobody can tell */
        uint32_t stream; /* the last number that was given to a bulk: they follow one another without a gap */
        Flow messages;
        List bulks; /* of Flow */
};

/* Takes `bulk` over (may be NULL). */
void flow_init(Flow *f, Peer *peer, Bulk *bulk, uint64_t credit);

/* Those who wait for an outcome are the caller's affair. */
void flow_deinit(Flow *f, BlockPool *pool);

/* Bytes that it holds in memory */
uint64_t flow_get_queued(const Flow *f);

/* … of it, in frames that have not gone out */
uint64_t flow_get_unsent(const Flow *f);

bool flow_can_send(const Flow *f);

/* Puts frames in line: of small messages up to `budget` bytes, of a bulk one. 0; -ENOMEM, try later; -EAGAIN, a pipe has
 * nothing. */
int flow_send(Flow *f, Line *line, BlockPool *pool, size_t budget);

/* False: the receiver has acknowledged what was never sent. */
bool flow_ack(Flow *f, uint64_t sequence, uint64_t credit, BlockPool *pool);

/* What was sent and is not acknowledged goes out again. */
void flow_rewind(Flow *f);

/* All of it is acknowledged: never true of the flow of small messages. */
bool flow_is_finished(const Flow *f);

/* Takes out those whose message was taken by the receiver: a list. */
Sent *flow_take_delivered(Flow *f);

/* Takes out a small message that has not gone out yet. False: it has. */
bool flow_expire(Flow *f, Sent *sent, BlockPool *pool);

/* Small messages without a handler that are not delivered; neither calls nor replies count. */
uint64_t flow_count_silent(const Flow *f);
