/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the copy of the message, or the descriptor that it is read from. It sends nothing: the sender asks for a frame when it
 * has room for one, so that bulk never piles up ahead of the small messages, and a file takes no memory.
 *
 * A message that can't be finished ends with an empty frame LAST|FAILED: its receiver finds fewer bytes than were announced, or
 * sees the flag if no number was. */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/bulk.h"

enum {
        BULK_PREFIX_SIZE = 8, /* the u64 total at the start of a FIRST frame */
        BULK_STREAM_MIN = 4096,
};

static Bulk *bulk_new(BulkSource source, const Envelope *envelope, uint32_t stream, uint64_t total) {
        Bulk *bulk;

        bulk = malloc(sizeof(*bulk));
        if (!bulk)
                return NULL;
        *bulk = (Bulk) {
                .n_references = 1,
                .source = source,
                .envelope = *envelope,
                .stream = stream,
                .total = total,
                .fd = -1,
        };
        list_init(&bulk->turns);
        return bulk;
}

int bulk_new_memory(Bulk **ret, const Envelope *envelope, uint32_t stream, const void *data, size_t size, Sent *sent) {
        Bulk *bulk;

        bulk = bulk_new(BULK_MEMORY, envelope, stream, size);
        if (!bulk)
                return -ENOMEM;
        bulk->data = malloc(size > 0 ? size : 1);
        if (!bulk->data) {
                bulk_unref(bulk);
                return -ENOMEM;
        }
        if (size > 0)
                memcpy(bulk->data, data, size);
        bulk->ended = true;
        bulk->sent = sent;
        *ret = bulk;
        return 0;
}

int bulk_new_stream(Bulk **ret, const Envelope *envelope, uint32_t stream, uint64_t total) {
        Bulk *bulk;

        bulk = bulk_new(BULK_STREAM, envelope, stream, total);
        if (!bulk)
                return -ENOMEM;
        *ret = bulk;
        return 0;
}

int bulk_new_fd(Bulk **ret, const Envelope *envelope, uint32_t stream, int fd, bool is_file, uint64_t total, int epoll_fd,
                Sent *sent) {
        Bulk *bulk;

        bulk = bulk_new(is_file ? BULK_FILE : BULK_PIPE, envelope, stream, total);
        if (!bulk)
                return -ENOMEM;
        bulk->fd = fd;
        bulk->epoll_fd = epoll_fd;
        bulk->sent = sent;
        *ret = bulk;
        return 0;
}

Bulk *bulk_ref(Bulk *bulk) {
        bulk->n_references++;
        return bulk;
}

Bulk *bulk_unref(Bulk *bulk) {
        if (!bulk || --bulk->n_references > 0)
                return NULL;
        if (bulk->in_epoll)
                (void) epoll_ctl(bulk->epoll_fd, EPOLL_CTL_DEL, bulk->fd, NULL);
        close_fd(bulk->fd);
        free(bulk->data);
        free(bulk);
        return NULL;
}

int bulk_write(Bulk *bulk, const void *data, size_t size) {
        size_t held = bulk->end - bulk->start;

        if (bulk->total != WIRE_SIZE_UNKNOWN && size > bulk->total - bulk->taken - held)
                return -EMSGSIZE;
        if (size == 0)
                return 0;
        if (bulk->n_allocated - bulk->end < size && bulk->start > 0) {
                memmove(bulk->data, bulk->data + bulk->start, held);
                bulk->start = 0;
                bulk->end = held;
        }
        if (bulk->n_allocated - bulk->end < size) {
                size_t n = held + size < BULK_STREAM_MIN ? BULK_STREAM_MIN : held + size;
                uint8_t *p;

                if (n < held || !(p = realloc(bulk->data, n)))
                        return -ENOMEM;
                bulk->data = p;
                bulk->n_allocated = n;
        }
        memcpy(bulk->data + bulk->end, data, size);
        bulk->end += size;
        return 0;
}

uint64_t bulk_get_queued(const Bulk *bulk) {
        switch (bulk->source) {
        case BULK_MEMORY:
                return bulk->total - bulk->taken;
        case BULK_STREAM:
                return bulk->end - bulk->start;
        default:
                return 0;
        }
}

bool bulk_is_ready(const Bulk *bulk) {
        switch (bulk->source) {
        case BULK_STREAM:
                return bulk->ended || bulk->end > bulk->start;
        case BULK_PIPE:
                return !bulk->is_waiting;
        default:
                return true;
        }
}

int bulk_wait(Bulk *bulk) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = bulk };

        if (bulk->source != BULK_PIPE || bulk->never_waits)
                return 0;
        if (epoll_ctl(bulk->epoll_fd, bulk->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, bulk->fd, &event) < 0) {
                if (errno != EPERM)
                        return -errno;
                bulk->never_waits = true; /* a device that is always ready, such as /dev/zero */
                return 0;
        }
        bulk->in_epoll = bulk->is_waiting = true;
        return 0;
}

static void bulk_store_header(Bulk *bulk, uint8_t *p, uint8_t flags, size_t n_payload) {
        wire_header_store(p, &(WireHeader) {
                .length = (uint32_t) n_payload,
                .type = WIRE_DATA,
                .flags = (uint8_t) (bulk->envelope.flags | flags),
                .kind = bulk->envelope.kind,
                .target = bulk->envelope.target,
                .stream = bulk->stream,
                .tag = bulk->envelope.tag,
        });
}

/* Tells the receiver that there is no more to come, if it knows of the message at all. */
static int bulk_abort(Bulk *bulk, ChunkPool *pool, Chunk **ret_chunk) {
        Chunk *chunk = NULL;

        if (bulk->begun) {
                chunk = chunk_new(pool, WIRE_HEADER_SIZE);
                if (!chunk)
                        return -ENOMEM;
                bulk_store_header(bulk, chunk->data, WIRE_LAST | WIRE_FAILED, 0);
                chunk->n_data = WIRE_HEADER_SIZE;
        }
        *ret_chunk = chunk;
        return -EIO;
}

/* The next fragment of a message in memory goes out from where it is. */
static Chunk *bulk_next_memory(Bulk *bulk, ChunkPool *pool, size_t payload_max, bool *ret_last) {
        size_t n_prefix = bulk->begun ? 0 : BULK_PREFIX_SIZE, n = payload_max - n_prefix;
        uint64_t left = bulk->total - bulk->taken;
        Chunk *chunk;

        chunk = chunk_new(pool, WIRE_HEADER_SIZE + BULK_PREFIX_SIZE);
        if (!chunk)
                return NULL;
        *ret_last = left <= n;
        if (left < n)
                n = (size_t) left;
        bulk_store_header(bulk, chunk->data, (uint8_t) ((bulk->begun ? 0 : WIRE_FIRST) | (*ret_last ? WIRE_LAST : 0)),
                          n_prefix + n);
        if (n_prefix > 0)
                wire_store_u64(chunk->data + WIRE_HEADER_SIZE, bulk->total);
        chunk->n_data = WIRE_HEADER_SIZE + n_prefix;
        chunk->payload = bulk->data + bulk->taken;
        chunk->n_payload = n;
        chunk->n_queued = n;
        chunk->bulk = bulk_ref(bulk);
        return chunk;
}

/* Reads up to `size` bytes of what comes next: their number, 0 at the end, -EAGAIN, or an error. */
static ssize_t bulk_read(Bulk *bulk, uint8_t *p, size_t size) {
        ssize_t n;

        if (bulk->source == BULK_STREAM) {
                if (size > bulk->end - bulk->start)
                        size = bulk->end - bulk->start;
                if (size > 0)
                        memcpy(p, bulk->data + bulk->start, size);
                bulk->start += size;
                if (bulk->start == bulk->end)
                        bulk->start = bulk->end = 0;
                return (ssize_t) size;
        }
        if (bulk->source == BULK_FILE)
                n = pread(bulk->fd, p, size, (off_t) bulk->taken);
        else
                n = read(bulk->fd, p, size);
        if (n < 0)
                return errno == EINTR || errno == EAGAIN ? -EAGAIN : -EIO;
        return n;
}

/* True if nothing comes after `n` more bytes. */
static bool bulk_is_over(const Bulk *bulk, size_t n) {
        if (bulk->source == BULK_STREAM)
                return bulk->ended && bulk->start == bulk->end;
        return n == 0 || (bulk->total != WIRE_SIZE_UNKNOWN && bulk->taken + n == bulk->total);
}

/* What was read goes out, with what belongs in front of it. */
static void bulk_store_frame(Bulk *bulk, Chunk *chunk, size_t n_prefix, size_t n, bool is_last) {
        uint8_t *p = chunk->data + WIRE_HEADER_SIZE;

        if (is_last && n_prefix > 0) {
                memmove(p, p + n_prefix, n); /* it is one frame after all, and those announce no total */
                n_prefix = 0;
        }
        if (n_prefix > 0)
                wire_store_u64(p, bulk->total);
        bulk_store_header(bulk, chunk->data, (uint8_t) ((bulk->begun ? 0 : WIRE_FIRST) | (is_last ? WIRE_LAST : 0)),
                          n_prefix + n);
        chunk->n_data = WIRE_HEADER_SIZE + n_prefix + n;
        if (bulk->source == BULK_STREAM)
                chunk->n_queued = n;
        bulk->taken += n;
}

static int bulk_next_read(Bulk *bulk, ChunkPool *pool, size_t payload_max, Chunk **ret_chunk, bool *ret_last) {
        size_t n_prefix = bulk->begun ? 0 : BULK_PREFIX_SIZE, size = payload_max - n_prefix;
        Chunk *chunk;
        bool is_last;
        ssize_t n;

        chunk = chunk_new(pool, WIRE_HEADER_SIZE + payload_max);
        if (!chunk)
                return -ENOMEM;
        if (bulk->total != WIRE_SIZE_UNKNOWN && bulk->total - bulk->taken < size)
                size = (size_t) (bulk->total - bulk->taken);
        n = bulk_read(bulk, chunk->data + WIRE_HEADER_SIZE + n_prefix, size);
        if (n >= 0) {
                is_last = bulk_is_over(bulk, (size_t) n);
                if (is_last && bulk->total != WIRE_SIZE_UNKNOWN && bulk->taken + (size_t) n < bulk->total)
                        n = -EIO; /* the file has become shorter, or the program ended its stream early */
        }
        if (n < 0) {
                chunk_free(pool, chunk);
                return (int) n;
        }
        bulk_store_frame(bulk, chunk, n_prefix, (size_t) n, is_last);
        *ret_last = is_last;
        *ret_chunk = chunk;
        return 0;
}

int bulk_next(Bulk *bulk, ChunkPool *pool, size_t payload_max, Chunk **ret_chunk, bool *ret_last) {
        Chunk *chunk;
        int r;

        if (bulk->source == BULK_MEMORY) {
                chunk = bulk_next_memory(bulk, pool, payload_max, ret_last);
                if (!chunk)
                        return -ENOMEM;
                bulk->taken += chunk->n_payload;
                *ret_chunk = chunk;
                r = 0;
        } else {
                r = bulk_next_read(bulk, pool, payload_max, ret_chunk, ret_last);
                if (r == -EIO) {
                        *ret_last = true;
                        return bulk_abort(bulk, pool, ret_chunk);
                }
        }
        if (r == 0)
                bulk->begun = true;
        return r;
}
