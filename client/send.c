/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages wait in the flow that they belong to. A little at a time is put in line for the socket: what the library itself has to
 * say, then in turn unreliable messages and those flows that can send. What is in line is kept short, because a small message
 * that comes now has to go behind it.
 *
 * The Sender owns all of that: it is told what becomes of targets and links (targets.c) and has no opinion of its own. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client/send.h"

enum {
        SENDER_WRITES_MAX = 8, /* in one turn of the loop */
};

void sender_init(Sender *s, int epoll_fd, const SenderCallbacks *callbacks, void *userdata) {
        *s = (Sender) { .epoll_fd = epoll_fd, .callbacks = callbacks, .userdata = userdata };
        s->unreliable_last = &s->unreliable_first;
        s->handed_last = &s->handed_first;
        list_init(&s->active);
        list_init(&s->expiring);
        list_init(&s->resending);
        list_init(&s->everyone.bulks);
        s->everyone.state = PEER_HELD;
        flow_init(&s->everyone.messages, &s->everyone, NULL, UINT64_MAX);
}

void sender_deinit(Sender *s) {
        sender_reset(s, -ECANCELED);
        flow_deinit(&s->everyone.messages, &s->pool);
        map_deinit(&s->peers);
        map_deinit(&s->by_handle);
        map_deinit(&s->by_stream);
        map_deinit(&s->resends);
        block_pool_deinit(&s->pool);
}

void sender_tell(Sender *s, Sent *sent, int result) {
        while (sent) {
                Sent *next = sent->next;

                if (sent->deadline != USEC_NEVER)
                        list_remove(&sent->expiring);
                sent->result = result;
                s->callbacks->sent(sent, s->userdata);
                sent = next;
        }
}

void sender_activate(Sender *s, Flow *f) {
        if (list_is_empty(&f->active) && flow_can_send(f))
                list_append(&s->active, &f->active);
}

void sender_drop_bulk(Sender *s, Flow *f, int result) {
        map_remove(&s->by_handle, &f->by_handle);
        if (f->bulk->stream != 0)
                map_remove(&s->by_stream, &f->by_stream);
        s->n_queued -= flow_get_queued(f);
        sender_tell(s, f->bulk->sent, result);
        flow_deinit(f, &s->pool);
        free(f);
}

/* Deadlines of messages that are sent with the same time to live come in order, so the place is found at the end. */
static void sender_add_deadline(Sender *s, Sent *sent) {
        List *place = s->expiring.previous;

        if (!sent || sent->deadline == USEC_NEVER)
                return;
        while (place != &s->expiring && container_of(place, Sent, expiring)->deadline > sent->deadline)
                place = place->previous;
        list_append(place->next, &sent->expiring);
}

uint64_t sender_get_deadline(const Sender *s) {
        return list_is_empty(&s->expiring) ? USEC_NEVER : container_of(s->expiring.next, Sent, expiring)->deadline;
}

void sender_expire(Sender *s, uint64_t now) {
        while (sender_get_deadline(s) <= now) {
                Sent *sent = container_of(s->expiring.next, Sent, expiring);
                Flow *f = sent->flow;
                uint64_t n_before = flow_get_queued(f);

                list_remove(&sent->expiring);
                sent->deadline = USEC_NEVER;
                if (f->bulk) {
                        if (f->sent == 0)
                                sender_drop_bulk(s, f, -ETIME);
                } else if (flow_expire(f, sent, &s->pool)) {
                        s->n_queued -= n_before - flow_get_queued(f);
                        sent->next = NULL;
                        sender_tell(s, sent, -ETIME);
                        sender_activate(s, f); /* what stands behind it may be small enough for the credit */
                }
        }
}

/* What comes in */

Peer *sender_find_peer(const Sender *s, uint64_t id) {
        MapNode *node;

        node = map_find(&s->peers, id);
        return node ? container_of(node, Peer, by_id) : NULL;
}

static Peer *sender_get_peer(Sender *s, uint64_t id) {
        Peer *peer;

        if (id == WIRE_TARGET_BROADCAST)
                return &s->everyone;
        if (s->last && s->last->by_id.key == id)
                return s->last;
        peer = sender_find_peer(s, id);
        if (peer) {
                s->last = peer;
                return peer;
        }
        peer = malloc(sizeof(*peer));
        if (!peer)
                return NULL;
        if (s->callbacks->watch(id, s->userdata) < 0) {
                free(peer);
                return NULL;
        }
        *peer = (Peer) { .state = s->is_up ? PEER_UP : PEER_HELD };
        list_init(&peer->bulks);
        flow_init(&peer->messages, peer, NULL, s->initial_credit);
        map_insert(&s->peers, &peer->by_id, id);
        return peer;
}

static uint32_t next_free(const Map *map, uint32_t last) {
        do
                last++;
        while (last == 0 || map_find(map, last));
        return last;
}

static uint64_t stream_hash(const Peer *peer, uint32_t stream) {
        return peer->by_id.key * UINT64_C(0x9e3779b97f4a7c15) + stream;
}

Flow *sender_find_begun(const Sender *s, const Peer *peer, uint32_t stream) {
        for (MapNode *node = map_find(&s->by_stream, stream_hash(peer, stream)); node; node = map_find_next(node)) {
                Flow *f = container_of(node, Flow, by_stream);

                if (f->peer == peer && f->bulk->stream == stream)
                        return f;
        }
        return NULL;
}

/* Numbers are given with the first frame, because a pipe may have its first byte long after it was given to us: so they are used
 * one after the other, and the receiver has little to remember of those that have ended. */
static void sender_begin_stream(Sender *s, Flow *f) {
        do
                f->bulk->stream = ++f->peer->stream;
        while (f->bulk->stream == 0);
        map_insert(&s->by_stream, &f->by_stream, stream_hash(f->peer, f->bulk->stream));
}

/* It has not begun after all. */
static void sender_unbegin_stream(Sender *s, Flow *f) {
        map_remove(&s->by_stream, &f->by_stream);
        f->bulk->stream = 0;
        f->peer->stream--;
}

/* A pipe is read when the epoll set has said that it can be, once for each time: it may block. */
static void sender_wait_for_pipe(Flow *f) {
        if (f->bulk && !f->bulk->is_waiting && f->bulk->last == 0 && bulk_wait(f->bulk, f) < 0)
                f->bulk->broken = true;
}

/* Takes `bulk` over, and what it owns, on success only. */
static int sender_add_bulk(Sender *s, Bulk *bulk) {
        bool is_broadcast = bulk->envelope.target == WIRE_TARGET_BROADCAST;
        Peer *peer;
        Flow *f;

        peer = sender_get_peer(s, bulk->envelope.target);
        if (peer && peer->is_refused)
                return -EACCES;
        f = peer ? malloc(sizeof(*f)) : NULL;
        if (!f)
                return -ENOMEM;
        flow_init(f, peer, bulk, is_broadcast ? UINT64_MAX : s->initial_credit);
        s->handle = next_free(&s->by_handle, s->handle);
        map_insert(&s->by_handle, &f->by_handle, s->handle);
        list_append(&peer->bulks, &f->of_peer);
        sender_wait_for_pipe(f);
        s->n_queued += flow_get_queued(f);
        s->n_fresh += flow_get_queued(f);
        if (bulk->sent) {
                bulk->sent->flow = f;
                sender_add_deadline(s, bulk->sent);
        }
        sender_activate(s, f);
        return 0;
}

static int sender_large_message(Sender *s, const Envelope *envelope, const void *data, size_t size, Sent *sent) {
        Bulk *bulk;
        int r;

        bulk = bulk_new_memory(&s->pool, envelope, data, size, sent);
        if (!bulk)
                return -ENOMEM;
        r = sender_add_bulk(s, bulk);
        if (r < 0)
                bulk_free(bulk, &s->pool);
        return r;
}

static uint8_t *sender_put(Sender *s, Store *store, const WireHeader *header, const void *data) {
        uint8_t *frame;

        frame = store_put(store, &s->pool, WIRE_HEADER_SIZE + header->length);
        if (!frame)
                return NULL;
        wire_header_store(frame, header);
        if (header->length > 0)
                memcpy(frame + WIRE_HEADER_SIZE, data, header->length);
        return frame;
}

static void append_sent(Sent ***last, Sent *sent) {
        sent->next = NULL;
        **last = sent;
        *last = &sent->next;
}

int sender_message(Sender *s, const Envelope *envelope, const void *data, size_t size, Sent *sent) {
        WireHeader header = {
                .length = (uint32_t) size,
                .type = WIRE_DATA,
                .flags = (uint8_t) (envelope->flags | WIRE_FIRST | WIRE_LAST),
                .kind = envelope->kind,
                .target = envelope->target,
                .tag = envelope->tag,
        };
        bool is_reliable = envelope->flags & WIRE_RELIABLE;
        Store *store = &s->unreliable;
        Peer *peer = NULL;
        uint8_t *frame;

        if (size > WIRE_PAYLOAD_MAX)
                return sender_large_message(s, envelope, data, size, sent);
        if (is_reliable) {
                peer = sender_get_peer(s, envelope->target);
                if (!peer)
                        return -ENOMEM;
                if (peer->is_refused)
                        return -EACCES;
                store = &peer->messages.store;
        }
        frame = sender_put(s, store, &header, data);
        if (!frame)
                return -ENOMEM;
        s->n_queued += WIRE_HEADER_SIZE + size;
        s->n_fresh += WIRE_HEADER_SIZE + size;
        if (sent) {
                sent->ordinal = store->n_put;
                sent->flow = peer ? &peer->messages : NULL;
                sent->frame = frame;
                append_sent(peer ? &peer->messages.outcomes_last : &s->unreliable_last, sent);
                sender_add_deadline(s, sent);
        }
        if (peer)
                sender_activate(s, &peer->messages);
        return 0;
}

int sender_control(Sender *s, const WireHeader *header, const void *payload) {
        return sender_put(s, &s->control, header, payload) ? 0 : -ENOMEM;
}

/* Large messages */

int sender_fd(Sender *s, const Envelope *envelope, int fd, uint64_t total, Sent *sent) {
        struct stat st;
        Bulk *bulk;
        bool is_file;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        is_file = S_ISREG(st.st_mode) && st.st_size > 0; /* files of procfs have no size and are read like pipes */
        if (is_file && total == WIRE_SIZE_UNKNOWN)
                total = (uint64_t) st.st_size;
        bulk = bulk_new_fd(envelope, fd, is_file, total, s->epoll_fd, sent);
        if (!bulk)
                return -ENOMEM;
        r = sender_add_bulk(s, bulk);
        if (r < 0) {
                bulk->fd = -1;
                bulk_free(bulk, &s->pool);
        }
        return r;
}

void sender_pipe_ready(Sender *s, Flow *flow) {
        flow->bulk->is_waiting = false;
        sender_activate(s, flow);
}

static Flow *sender_find_stream(const Sender *s, uint32_t stream) {
        MapNode *node;
        Flow *f;

        node = map_find(&s->by_handle, stream);
        if (!node)
                return NULL;
        f = container_of(node, Flow, by_handle);
        return f->bulk->source == BULK_STREAM && !f->bulk->ended ? f : NULL;
}

int sender_stream_begin(Sender *s, const Envelope *envelope, uint64_t total, uint32_t *ret_stream) {
        Bulk *bulk;
        int r;

        bulk = bulk_new_stream(envelope, total);
        if (!bulk)
                return -ENOMEM;
        r = sender_add_bulk(s, bulk);
        if (r < 0)
                bulk_free(bulk, &s->pool);
        else
                *ret_stream = s->handle;
        return r;
}

int sender_stream_write(Sender *s, uint32_t stream, const void *data, size_t size) {
        Flow *f;
        int r;

        f = sender_find_stream(s, stream);
        if (!f)
                return -ENOENT;
        r = bulk_write(f->bulk, data, size);
        if (r < 0)
                return r;
        s->n_queued += size;
        s->n_fresh += size;
        sender_activate(s, f);
        return 0;
}

int sender_stream_end(Sender *s, uint32_t stream, Sent *sent) {
        Flow *f;

        f = sender_find_stream(s, stream);
        if (!f)
                return -ENOENT;
        f->bulk->ended = true;
        f->bulk->sent = sent;
        if (sent)
                sent->flow = f;
        sender_activate(s, f);
        return 0;
}

/* In line for the socket */

static void sender_put_store_in_line(Sender *s, Store *store, size_t budget) {
        size_t n = 0;
        uint8_t *frame;
        Block *block;

        while (n < budget && !line_is_full(&s->line) && (frame = store_next(store, &block))) {
                n += frame_size(frame);
                line_put(&s->line, &s->pool, block, frame, frame_size(frame), false);
                store_advance(store);
                store_drop(store, &s->pool);
        }
}

static bool sender_put_unreliable(Sender *s) {
        uint64_t n_before = s->unreliable.n_bytes;
        Sent *sent;

        if (store_is_empty(&s->unreliable))
                return false;
        sender_put_store_in_line(s, &s->unreliable, SENDER_TURN_SIZE);
        s->n_queued -= n_before - s->unreliable.n_bytes;
        sent = sent_take(&s->unreliable_first, &s->unreliable_last, s->unreliable.n_dropped);
        while (sent) {
                Sent *next = sent->next;

                sent->ordinal = s->line.n_put;
                append_sent(&s->handed_last, sent);
                sent = next;
        }
        return true;
}

static int sender_send_flow(Sender *s, Flow *f) {
        uint64_t n_before = flow_get_queued(f), n_sent = f->n_sent;
        int r;

        if (f->peer == &s->everyone && f->bulk)
                return sender_broadcast_bulk(s, f);
        r = flow_send(f, &s->line, &s->pool, SENDER_TURN_SIZE);
        s->n_queued += flow_get_queued(f) - n_before;
        if (f->peer == &s->everyone) {
                s->n_queued -= f->n_sent - n_sent;
                sender_trim_broadcasts(s);
        }
        return r;
}

/* The flow whose turn it is. False: there is none, or no memory for its frame now. */
static bool sender_put_flow(Sender *s) {
        bool begins;
        Flow *f;
        int r;

        if (list_is_empty(&s->active))
                return false;
        f = container_of(s->active.next, Flow, active);
        list_remove(&f->active);
        begins = f->bulk && f->bulk->stream == 0;
        if (begins)
                sender_begin_stream(s, f);
        r = sender_send_flow(s, f);
        if (r < 0 && begins)
                sender_unbegin_stream(s, f);
        if (r == -ENOMEM) {
                list_append(&s->active, &f->active);
                return false;
        }
        sender_wait_for_pipe(f);
        if (flow_is_finished(f))
                sender_drop_bulk(s, f, f->bulk->failed ? -EIO : 0); /* a broadcast, which nobody acknowledges */
        else
                sender_activate(s, f);
        return true;
}

static void sender_fill(Sender *s) {
        bool any = true;

        while (any && !line_is_full(&s->line)) {
                sender_put_store_in_line(s, &s->control, SIZE_MAX);
                any = sender_put_unreliable(s);
                any |= sender_put_flow(s);
                any |= sender_put_resend(s);
        }
}

static void sender_written(Sender *s, size_t n) {
        line_written(&s->line, &s->pool, n);
        sender_tell(s, sent_take(&s->handed_first, &s->handed_last, s->line.n_written), 0);
}

bool sender_has_output(const Sender *s) {
        return s->line.n_bytes > 0 || !store_is_empty(&s->control) || !store_is_empty(&s->unreliable) ||
               !list_is_empty(&s->active) || !list_is_empty(&s->resending);
}

bool sender_is_empty(const Sender *s) {
        MapNode *node = NULL;

        if (s->line.n_bytes > 0 || !store_is_empty(&s->control) || !store_is_empty(&s->unreliable) || s->handed_first ||
            s->everyone.messages.store.cursor || !list_is_empty(&s->resending))
                return false;
        while ((node = map_next(&s->peers, node)))
                if (!store_is_empty(&container_of(node, Peer, by_id)->messages.store))
                        return false;
        while ((node = map_next(&s->by_handle, node))) {
                const Flow *f = container_of(node, Flow, by_handle);

                if (f->bulk->source != BULK_STREAM || f->bulk->ended || flow_get_queued(f) > 0)
                        return false;
        }
        return true;
}

int sender_write(Sender *s, Link *link) {
        struct iovec iov[LINE_PIECES_MAX];

        s->n_fresh = 0;
        for (unsigned i = 0; i < SENDER_WRITES_MAX; i++) {
                size_t n_bytes;
                ssize_t n;

                sender_fill(s);
                n_bytes = s->line.n_bytes;
                if (n_bytes == 0)
                        return 0;
                n = link_write(link, iov, line_gather(&s->line, iov));
                if (n < 0)
                        return (int) n;
                sender_written(s, (size_t) n);
                if ((size_t) n < n_bytes) {
                        link->is_blocked = true;
                        return -EAGAIN;
                }
        }
        return sender_has_output(s);
}

void sender_goodbye(Sender *s, Link *link, uint16_t reason) {
        uint8_t frame[WIRE_HEADER_SIZE + 6]; /* u32, and an empty text16 */
        struct iovec iov[LINE_PIECES_MAX + 1];
        size_t n;
        int size;

        size = wire_goodbye_store(&(WireGoodbye) { .reason = { "", 0 } }, frame + WIRE_HEADER_SIZE,
                                  sizeof(frame) - WIRE_HEADER_SIZE);
        if (size < 0)
                return;
        wire_header_store(frame, &(WireHeader) { .length = (uint32_t) size, .type = WIRE_GOODBYE, .kind = reason });
        n = line_gather_begun(&s->line, iov);
        iov[n++] = (struct iovec) { frame, WIRE_HEADER_SIZE + (size_t) size };
        (void) link_write(link, iov, n);
}
