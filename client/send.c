/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two steps. Small frames are copied one behind the other into chunks (`ready`), large messages wait as a Bulk each. A little at
 * a time is put in line for the socket (`out`): a chunk, a frame of a bulk, a frame of the next bulk, a chunk. What is in line
 * is kept short, because a small message that comes now has to go behind it.
 *
 * The Sender owns all of that. It does not know about credit or acknowledgements: the flows will stand between it and the
 * link. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client/send.h"

enum {
        SENDER_LINE_MAX = 192 * 1024, /* in line for the socket: enough that one call writes three full frames */
        SENDER_IOV_MAX = 32,
        SENDER_WRITES_MAX = 8, /* in one turn of the loop */
};

void sender_init(Sender *s, int epoll_fd, void (*sent)(Sent *sent, void *userdata), void *userdata) {
        *s = (Sender) { .epoll_fd = epoll_fd, .payload_max = WIRE_PAYLOAD_MAX, .sent = sent, .userdata = userdata };
        s->ready_last = &s->ready;
        s->out_last = &s->out;
        list_init(&s->turns);
}

static void sender_tell(Sender *s, Sent *sent, int result) {
        while (sent) {
                Sent *next = sent->next;

                sent->result = result;
                s->sent(sent, s->userdata);
                sent = next;
        }
}

static void sender_drop_chunks(Sender *s, Chunk *chunk, int result) {
        while (chunk) {
                Chunk *next = chunk->next;

                sender_tell(s, chunk->sent, result);
                chunk_free(&s->pool, chunk);
                chunk = next;
        }
}

static void sender_drop_bulk(Sender *s, Bulk *bulk, int result) {
        map_remove(&s->by_stream, &bulk->by_stream);
        list_remove(&bulk->turns);
        s->n_queued -= bulk_get_queued(bulk);
        sender_tell(s, bulk->sent, result);
        bulk->sent = NULL;
        bulk_unref(bulk);
}

void sender_reset(Sender *s, int result) {
        MapNode *node;

        sender_drop_chunks(s, s->out, result);
        sender_drop_chunks(s, s->ready, result);
        while ((node = map_any(&s->by_stream)))
                sender_drop_bulk(s, container_of(node, Bulk, by_stream), result);
        s->ready = s->out = s->ready_tail = NULL;
        s->ready_last = &s->ready;
        s->out_last = &s->out;
        s->n_out = 0;
        s->n_queued = s->n_control = 0;
}

void sender_deinit(Sender *s) {
        sender_reset(s, -ECANCELED);
        map_deinit(&s->by_stream);
        chunk_pool_deinit(&s->pool);
}

/* Small frames */

static Chunk *sender_get_chunk(Sender *s, size_t n_frame) {
        Chunk *chunk = s->ready_tail;

        if (chunk && chunk->n_allocated - chunk->n_data >= n_frame)
                return chunk;
        chunk = chunk_new(&s->pool, WIRE_FRAME_MAX);
        if (!chunk)
                return NULL;
        *s->ready_last = chunk;
        s->ready_last = &chunk->next;
        s->ready_tail = chunk;
        return chunk;
}

static Chunk *sender_append(Sender *s, const WireHeader *header, const void *data) {
        Chunk *chunk;

        chunk = sender_get_chunk(s, WIRE_HEADER_SIZE + header->length);
        if (!chunk)
                return NULL;
        wire_header_store(chunk->data + chunk->n_data, header);
        if (header->length > 0)
                memcpy(chunk->data + chunk->n_data + WIRE_HEADER_SIZE, data, header->length);
        chunk->n_data += WIRE_HEADER_SIZE + header->length;
        return chunk;
}

static void sender_add_bulk(Sender *s, Bulk *bulk) {
        map_insert(&s->by_stream, &bulk->by_stream, bulk->stream);
        s->n_queued += bulk_get_queued(bulk);
        if (bulk_is_ready(bulk))
                list_append(&s->turns, &bulk->turns);
}

static uint32_t sender_next_stream(Sender *s) {
        do
                s->stream++;
        while (s->stream == 0 || map_find(&s->by_stream, s->stream));
        return s->stream;
}

int sender_message(Sender *s, const Envelope *envelope, const void *data, size_t size, Sent *sent) {
        Chunk *chunk;
        Bulk *bulk;
        int r;

        if (size > s->payload_max) {
                r = bulk_new_memory(&bulk, envelope, sender_next_stream(s), data, size, sent);
                if (r < 0)
                        return r;
                sender_add_bulk(s, bulk);
                return 0;
        }
        chunk = sender_append(s, &(WireHeader) {
                .length = (uint32_t) size,
                .type = WIRE_DATA,
                .flags = (uint8_t) (envelope->flags | WIRE_FIRST | WIRE_LAST),
                .kind = envelope->kind,
                .target = envelope->target,
                .tag = envelope->tag,
        }, data);
        if (!chunk)
                return -ENOMEM;
        chunk->n_queued += WIRE_HEADER_SIZE + size;
        s->n_queued += WIRE_HEADER_SIZE + size;
        if (sent) {
                *(chunk->sent_last ?: &chunk->sent) = sent;
                chunk->sent_last = &sent->next;
        }
        return 0;
}

int sender_control(Sender *s, WireType type, uint16_t kind, uint32_t tag, const void *payload, size_t size) {
        Chunk *chunk;

        chunk = sender_append(s, &(WireHeader) { .length = (uint32_t) size, .type = (uint8_t) type, .kind = kind, .tag = tag },
                              payload);
        if (!chunk)
                return -ENOMEM;
        chunk->n_control += WIRE_HEADER_SIZE + size;
        s->n_control += WIRE_HEADER_SIZE + size;
        return 0;
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
        r = bulk_new_fd(&bulk, envelope, sender_next_stream(s), fd, is_file, total, s->epoll_fd, sent);
        if (r < 0)
                return r;
        r = bulk_wait(bulk);
        if (r < 0) {
                bulk->fd = -1;
                bulk_unref(bulk);
                return r;
        }
        sender_add_bulk(s, bulk);
        return 0;
}

void sender_pipe_ready(Sender *s, Bulk *bulk) {
        bulk->is_waiting = false;
        list_remove(&bulk->turns);
        list_append(&s->turns, &bulk->turns);
}

static Bulk *sender_find_bulk(const Sender *s, uint32_t stream) {
        MapNode *node;

        node = map_find(&s->by_stream, stream);
        return node ? container_of(node, Bulk, by_stream) : NULL;
}

static Bulk *sender_find_stream(const Sender *s, uint32_t stream) {
        Bulk *bulk;

        bulk = sender_find_bulk(s, stream);
        return bulk && bulk->source == BULK_STREAM && !bulk->ended ? bulk : NULL;
}

int sender_stream_begin(Sender *s, const Envelope *envelope, uint64_t total, uint32_t *ret_stream) {
        Bulk *bulk;
        int r;

        r = bulk_new_stream(&bulk, envelope, sender_next_stream(s), total);
        if (r < 0)
                return r;
        sender_add_bulk(s, bulk);
        *ret_stream = bulk->stream;
        return 0;
}

static void sender_take_turn(Sender *s, Bulk *bulk) {
        if (list_is_empty(&bulk->turns) && bulk_is_ready(bulk))
                list_append(&s->turns, &bulk->turns);
}

int sender_stream_write(Sender *s, uint32_t stream, const void *data, size_t size) {
        Bulk *bulk;
        int r;

        bulk = sender_find_stream(s, stream);
        if (!bulk)
                return -ENOENT;
        r = bulk_write(bulk, data, size);
        if (r < 0)
                return r;
        s->n_queued += size;
        sender_take_turn(s, bulk);
        return 0;
}

int sender_stream_end(Sender *s, uint32_t stream) {
        Bulk *bulk;

        bulk = sender_find_stream(s, stream);
        if (!bulk)
                return -ENOENT;
        bulk->ended = true;
        sender_take_turn(s, bulk);
        return 0;
}

int sender_bounce(Sender *s, uint64_t target, uint32_t stream, int error) {
        Bulk *bulk;
        bool had_handler;

        bulk = sender_find_bulk(s, stream);
        if (!bulk || bulk->envelope.target != target || !bulk->begun)
                return -ENOENT;
        had_handler = bulk->sent;
        sender_drop_bulk(s, bulk, error);
        return had_handler;
}

/* In line for the socket */

static void sender_put_in_line(Sender *s, Chunk *chunk) {
        chunk->next = NULL;
        *s->out_last = chunk;
        s->out_last = &chunk->next;
        s->n_out += chunk_get_size(chunk);
}

static bool sender_put_ready(Sender *s) {
        Chunk *chunk = s->ready;

        if (!chunk)
                return false;
        s->ready = chunk->next;
        if (!s->ready)
                s->ready_last = &s->ready;
        if (s->ready_tail == chunk)
                s->ready_tail = NULL;
        sender_put_in_line(s, chunk);
        return true;
}

/* The bulk's last frame is in line: what is left to do is to tell its sender once it has been written. */
static void sender_finish_bulk(Sender *s, Bulk *bulk, Chunk *chunk, int result) {
        if (chunk && result == 0) {
                chunk->sent = bulk->sent;
                bulk->sent = NULL;
        }
        sender_drop_bulk(s, bulk, result);
}

/* One frame of the bulk whose turn it is. False: there is none, or no memory for it now. */
static bool sender_put_bulk(Sender *s) {
        Chunk *chunk = NULL;
        uint64_t n_before;
        bool is_last = false;
        Bulk *bulk;
        int r;

        if (list_is_empty(&s->turns))
                return false;
        bulk = container_of(s->turns.next, Bulk, turns);
        n_before = bulk_get_queued(bulk);
        r = bulk_next(bulk, &s->pool, s->payload_max, &chunk, &is_last);
        s->n_queued -= n_before - bulk_get_queued(bulk);
        if (r == -ENOMEM)
                return false;
        list_remove(&bulk->turns);
        if (chunk) {
                s->n_queued += chunk->n_queued;
                sender_put_in_line(s, chunk);
        }
        if (!is_last && bulk_wait(bulk) < 0) {
                is_last = true;
                r = -EIO;
        }
        if (is_last)
                sender_finish_bulk(s, bulk, chunk, r);
        else
                sender_take_turn(s, bulk);
        return true;
}

static void sender_fill(Sender *s) {
        bool any = true;

        while (any && s->n_out < SENDER_LINE_MAX) {
                any = sender_put_ready(s);
                any |= sender_put_bulk(s);
        }
}

/* What is left of a chunk: at most two pieces. Returns their number. */
static size_t chunk_gather(const Chunk *chunk, struct iovec *iov) {
        size_t skip = chunk->n_written, n = 0;

        if (skip < chunk->n_data) {
                iov[n++] = (struct iovec) { (void *) (chunk->data + skip), chunk->n_data - skip };
                skip = chunk->n_data;
        }
        skip -= chunk->n_data;
        if (skip < chunk->n_payload)
                iov[n++] = (struct iovec) { (void *) (chunk->payload + skip), chunk->n_payload - skip };
        return n;
}

static size_t sender_gather(const Sender *s, struct iovec *iov, size_t *ret_n_bytes) {
        size_t n = 0, n_bytes = 0;

        for (const Chunk *chunk = s->out; chunk && n <= SENDER_IOV_MAX - 2; chunk = chunk->next)
                n += chunk_gather(chunk, iov + n);
        for (size_t i = 0; i < n; i++)
                n_bytes += iov[i].iov_len;
        *ret_n_bytes = n_bytes;
        return n;
}

static void sender_written(Sender *s, size_t n) {
        s->n_out -= n;
        while (s->out) {
                Chunk *chunk = s->out;
                size_t left = chunk_get_size(chunk) - chunk->n_written;

                if (n < left) {
                        chunk->n_written += n;
                        return;
                }
                n -= left;
                s->out = chunk->next;
                if (!s->out)
                        s->out_last = &s->out;
                s->n_queued -= chunk->n_queued;
                s->n_control -= chunk->n_control;
                sender_tell(s, chunk->sent, 0);
                chunk_free(&s->pool, chunk);
        }
}

bool sender_has_output(const Sender *s) {
        return s->out || s->ready || !list_is_empty(&s->turns);
}

bool sender_is_empty(const Sender *s) {
        if (s->out || s->ready)
                return false;
        for (const MapNode *node = NULL; (node = map_next(&s->by_stream, node));) {
                const Bulk *bulk = container_of(node, Bulk, by_stream);

                if (bulk->source != BULK_STREAM || bulk_is_ready(bulk))
                        return false;
        }
        return true;
}

int sender_write(Sender *s, Link *link) {
        struct iovec iov[SENDER_IOV_MAX];

        for (unsigned i = 0; i < SENDER_WRITES_MAX; i++) {
                size_t n_iov, n_bytes;
                ssize_t n;

                sender_fill(s);
                if (!s->out)
                        return 0;
                n_iov = sender_gather(s, iov, &n_bytes);
                n = link_write(link, iov, n_iov);
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
        struct iovec iov[3];
        size_t n = 0;
        int size;

        size = wire_goodbye_store(&(WireGoodbye) { .reason = { "", 0 } }, frame + WIRE_HEADER_SIZE,
                                  sizeof(frame) - WIRE_HEADER_SIZE);
        if (size < 0)
                return;
        wire_header_store(frame, &(WireHeader) { .length = (uint32_t) size, .type = WIRE_GOODBYE, .kind = reason });
        if (s->out && s->out->n_written > 0) /* a frame that was begun has to be finished */
                n = chunk_gather(s->out, iov);
        iov[n++] = (struct iovec) { frame, WIRE_HEADER_SIZE + (size_t) size };
        (void) link_write(link, iov, n);
}
