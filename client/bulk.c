/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the copy of the message, or the descriptor that it is read from. It sends nothing: the flow asks for a frame when it has
 * credit and room for one, so that bulk never piles up ahead of the small messages, and a file takes no memory.
 *
 * A message that can't be finished ends with an empty frame LAST|FAILED: its receiver finds fewer bytes than were announced, or
 * sees the flag if no number was. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/bulk.h"

enum {
        BULK_PREFIX_SIZE = 8, /* the u64 total at the start of a FIRST frame */
        BULK_STREAM_MIN = 4096,
};

Sent *sent_take(Sent **first, Sent ***last, uint64_t ordinal) {
        Sent *taken = *first, **end = first;

        while (*end && (*end)->ordinal <= ordinal)
                end = &(*end)->next;
        if (end == first)
                return NULL;
        *first = *end;
        *end = NULL;
        if (!*first)
                *last = first;
        return taken;
}

static Bulk *bulk_new(BulkSource source, const Envelope *envelope, uint64_t total) {
        Bulk *bulk;

        bulk = malloc(sizeof(*bulk));
        if (!bulk)
                return NULL;
        *bulk = (Bulk) {
                .source = source,
                .envelope = *envelope,
                .payload_max = WIRE_PAYLOAD_MAX,
                .total = total,
                .fd = -1,
        };
        return bulk;
}

Bulk *bulk_new_memory(BlockPool *pool, const Envelope *envelope, const void *data, size_t size, Sent *sent) {
        Bulk *bulk;

        bulk = bulk_new(BULK_MEMORY, envelope, size);
        if (!bulk)
                return NULL;
        bulk->memory = block_new(pool, size);
        if (!bulk->memory)
                return bulk_free(bulk, pool);
        memcpy(bulk->memory->data, data, size);
        bulk->sent = sent;
        return bulk;
}

Bulk *bulk_new_stream(const Envelope *envelope, uint64_t total) {
        return bulk_new(BULK_STREAM, envelope, total);
}

Bulk *bulk_new_fd(const Envelope *envelope, int fd, bool is_file, uint64_t total, int epoll_fd, Sent *sent) {
        Bulk *bulk;

        bulk = bulk_new(is_file ? BULK_FILE : BULK_PIPE, envelope, total);
        if (!bulk)
                return NULL;
        bulk->fd = fd;
        bulk->epoll_fd = epoll_fd;
        bulk->sent = sent;
        return bulk;
}

Bulk *bulk_free(Bulk *bulk, BlockPool *pool) {
        if (!bulk)
                return NULL;
        if (bulk->in_epoll)
                (void) epoll_ctl(bulk->epoll_fd, EPOLL_CTL_DEL, bulk->fd, NULL);
        close_fd(bulk->fd);
        block_unref(pool, bulk->memory);
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

/* Where the data of a frame begins: the first one has the total in front. */
static uint64_t bulk_get_offset(const Bulk *bulk, uint64_t sequence) {
        return sequence == 1 ? 0 : (sequence - 1) * bulk->payload_max - BULK_PREFIX_SIZE;
}

uint64_t bulk_get_queued(const Bulk *bulk, uint64_t acked) {
        uint64_t offset;

        if (bulk->source == BULK_STREAM)
                return bulk->end - bulk->start;
        if (bulk->source != BULK_MEMORY)
                return 0;
        offset = bulk_get_offset(bulk, acked + 1);
        return offset < bulk->total ? bulk->total - offset : 0;
}

bool bulk_is_ready(const Bulk *bulk, uint64_t sequence) {
        if (bulk->last != 0 && sequence > bulk->last)
                return false;
        switch (bulk->source) {
        case BULK_STREAM:
                return bulk->ended || bulk->end > bulk->start;
        case BULK_PIPE:
                return !bulk->is_waiting;
        default:
                return true;
        }
}

int bulk_wait(Bulk *bulk, void *userdata) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = userdata };

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

static void bulk_store_header(const Bulk *bulk, uint8_t *p, uint64_t sequence, uint8_t flags, size_t n_payload) {
        wire_header_store(p, &(WireHeader) {
                .length = (uint32_t) n_payload,
                .type = WIRE_DATA,
                .flags = (uint8_t) (bulk->envelope.flags | flags | (sequence == 1 && !(flags & WIRE_FAILED) ? WIRE_FIRST : 0)),
                .kind = bulk->envelope.kind,
                .target = bulk->envelope.target,
                .sequence = bulk_is_repeatable(bulk) ? sequence : 0, /* what is stored gets its number when it goes out */
                .stream = bulk->stream,
                .tag = bulk->envelope.tag,
        });
}

/* Tells the receiver that there is no more to come. If it fails when it is sent again, nobody knows how much of it was taken the
 * first time: each frame from here on says so, up to one that the receiver can't have had. */
static void bulk_make_failed(Bulk *bulk, uint64_t sequence, Block *block) {
        bulk->failed = true;
        if (bulk->last == 0)
                bulk->last = sequence > bulk->made ? sequence : bulk->made + 1;
        bulk_store_header(bulk, block->data, sequence, WIRE_LAST | WIRE_FAILED, 0);
        block->n_data = WIRE_HEADER_SIZE;
}

/* How much of a message whose total is known is in this frame. A message that fits one frame announces no total. */
static size_t bulk_get_part(const Bulk *bulk, uint64_t sequence, uint64_t offset, size_t *ret_prefix) {
        size_t room;

        *ret_prefix = sequence == 1 && bulk->total > bulk->payload_max ? BULK_PREFIX_SIZE : 0;
        room = bulk->payload_max - *ret_prefix;
        return bulk->total - offset < room ? (size_t) (bulk->total - offset) : room;
}

static bool bulk_read_all(int fd, uint8_t *p, size_t size, uint64_t offset) {
        while (size > 0) {
                ssize_t n = pread(fd, p, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false; /* it has become shorter, or can't be read */
                p += n;
                size -= (size_t) n;
                offset += (size_t) n;
        }
        return true;
}

/* A frame of a message in memory or of a file: its place follows from its number. */
static void bulk_make_again(Bulk *bulk, uint64_t sequence, Block *block) {
        uint64_t offset = bulk_get_offset(bulk, sequence);
        size_t n_prefix, n = bulk_get_part(bulk, sequence, offset, &n_prefix);
        bool is_last = offset + n == bulk->total;
        uint8_t *p = block->data + WIRE_HEADER_SIZE;

        if (bulk->failed || (bulk->source == BULK_FILE && !bulk_read_all(bulk->fd, p + n_prefix, n, offset))) {
                bulk_make_failed(bulk, sequence, block);
                return;
        }
        if (bulk->source == BULK_MEMORY)
                memcpy(p + n_prefix, bulk->memory->data + offset, n);
        if (n_prefix > 0)
                wire_store_u64(p, bulk->total);
        if (is_last)
                bulk->last = sequence;
        if (sequence > bulk->made)
                bulk->made = sequence;
        bulk_store_header(bulk, block->data, sequence, is_last ? WIRE_LAST : 0, n_prefix + n);
        block->n_data = WIRE_HEADER_SIZE + n_prefix + n;
}

/* Reads up to `size` bytes of what comes next: their number, 0 at the end, -EAGAIN, or -EIO. */
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
        if (bulk->broken)
                return -EIO;
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

int bulk_make(Bulk *bulk, uint64_t sequence, Block *block) {
        size_t n_prefix = sequence == 1 ? BULK_PREFIX_SIZE : 0, size = bulk->payload_max - n_prefix;
        uint8_t *p = block->data + WIRE_HEADER_SIZE;
        bool is_last;
        ssize_t n;

        if (bulk_is_repeatable(bulk)) {
                bulk_make_again(bulk, sequence, block);
                return 0;
        }
        if (bulk->total != WIRE_SIZE_UNKNOWN && bulk->total - bulk->taken < size)
                size = (size_t) (bulk->total - bulk->taken);
        n = bulk_read(bulk, p + n_prefix, size);
        if (n == -EAGAIN)
                return -EAGAIN;
        is_last = n >= 0 && bulk_is_over(bulk, (size_t) n);
        if (n < 0 || (is_last && bulk->total != WIRE_SIZE_UNKNOWN && bulk->taken + (size_t) n < bulk->total)) {
                bulk_make_failed(bulk, sequence, block); /* or the program ended its stream early */
                return 0;
        }
        if (is_last && n_prefix > 0) {
                memmove(p, p + n_prefix, (size_t) n); /* it is one frame after all, and those announce no total */
                n_prefix = 0;
        }
        if (n_prefix > 0)
                wire_store_u64(p, bulk->total);
        if (is_last)
                bulk->last = sequence;
        bulk_store_header(bulk, block->data, sequence, is_last ? WIRE_LAST : 0, n_prefix + (size_t) n);
        block->n_data = WIRE_HEADER_SIZE + n_prefix + (size_t) n;
        bulk->taken += (size_t) n;
        return 0;
}

/* A fragment of a message in memory goes out from where it is. */
static void bulk_send_memory(Bulk *bulk, uint64_t sequence, Line *line, BlockPool *pool, Block *block, size_t *ret_size) {
        uint64_t offset = bulk_get_offset(bulk, sequence);
        size_t n_prefix, n = bulk_get_part(bulk, sequence, offset, &n_prefix), n_header = WIRE_HEADER_SIZE + n_prefix;
        bool is_last = offset + n == bulk->total;

        if (is_last)
                bulk->last = sequence;
        bulk_store_header(bulk, block->data, sequence, is_last ? WIRE_LAST : 0, n_prefix + n);
        if (n_prefix > 0)
                wire_store_u64(block->data + WIRE_HEADER_SIZE, bulk->total);
        block->n_data = n_header;
        line_put(line, pool, block, block->data, n_header, true);
        line_put(line, pool, bulk->memory, bulk->memory->data + offset, n, false);
        *ret_size = n_header + n;
}

int bulk_send(Bulk *bulk, uint64_t sequence, Line *line, BlockPool *pool, size_t *ret_size) {
        Block *block;

        block = block_new(pool, bulk->source == BULK_MEMORY ? BLOCK_SMALL : BLOCK_LARGE);
        if (!block)
                return -ENOMEM;
        if (bulk->source == BULK_MEMORY)
                bulk_send_memory(bulk, sequence, line, pool, block, ret_size);
        else {
                bulk_make(bulk, sequence, block);
                line_put(line, pool, block, block->data, block->n_data, false);
                *ret_size = block->n_data;
        }
        block_unref(pool, block);
        return 0;
}
