/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the library writes to its link, as the kernel takes it: which frames were written before. The library has no figure for
 * that, and one that it kept itself would not find its own mistakes. So sendmsg() and connect() of this program stand before
 * those of libc. A frame counts as written when its header is; what the kernel has taken, and lost with the link, was sent as
 * well.
 *
 * Of each flow it knows the highest number ever written. Numbers up to that are sent again; each time that a flow goes back, a
 * turn begins. */

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "program.h"
#include "protocol/wire.h"

#define FLOWS_MAX 65536 /* slots, twice as many as there may be flows: larger messages have one each */

typedef struct TapFlow {
        uint64_t target, highest, next, n_again; /* n_again: bytes, in this turn */
        uint32_t stream;
} TapFlow;

static struct {
        Program *program;
        TapFlow flows[FLOWS_MAX];
        size_t n_flows;
        uint8_t header[WIRE_HEADER_SIZE];
        size_t n_header, n_payload; /* of the frame that is being written: had; to come */
} tap;

static void note_turn(TapFlow *flow) {
        if (flow->n_again > 0)
                record_log_add(&tap.program->log, (Record){ .type = RECORD_AGAIN, .reason = (uint16_t)flow->stream,
                                                            .value = (int32_t)flow->n_again, .own = tap.program->id,
                                                            .peer = flow->target, .sequence = flow->next - 1 });
        flow->n_again = 0;
}

static TapFlow *find_flow(uint64_t target, uint32_t stream) {
        uint64_t hash = (target * UINT64_C(0x9e3779b97f4a7c15) + stream) * UINT64_C(0x9e3779b97f4a7c15) >> 32;

        for (;; hash++) {
                TapFlow *flow = &tap.flows[hash % FLOWS_MAX];

                if (flow->target == target && flow->stream == stream)
                        return flow;
                if (flow->target != 0)
                        continue;
                if (++tap.n_flows > FLOWS_MAX / 2)
                        program_fail(tap.program, "too many flows", -ENOSPC);
                *flow = (TapFlow){ .target = target, .stream = stream };
                return flow;
        }
}

static void on_frame(const WireHeader *header) {
        TapFlow *flow;

        if (header->type != WIRE_DATA || header->sequence == 0 || header->target == WIRE_TARGET_BROADCAST ||
            header->flags & WIRE_BROADCAST)
                return;
        flow = find_flow(header->target, header->stream);
        if (header->sequence > flow->highest) {
                note_turn(flow);
                flow->highest = header->sequence;
        } else {
                if (header->sequence < flow->next)
                        note_turn(flow);
                flow->n_again += WIRE_HEADER_SIZE + header->length;
        }
        flow->next = header->sequence + 1;
}

static void on_header(void) {
        WireHeader header;

        wire_header_load(tap.header, &header);
        tap.n_payload = header.length;
        on_frame(&header);
}

static void on_bytes(const uint8_t *data, size_t size) {
        while (size > 0) {
                int in_header = tap.n_header < WIRE_HEADER_SIZE;
                size_t wanted = in_header ? WIRE_HEADER_SIZE - tap.n_header : tap.n_payload;
                size_t n = wanted < size ? wanted : size;

                if (in_header) {
                        memcpy(tap.header + tap.n_header, data, n);
                        tap.n_header += n;
                        if (n == wanted)
                                on_header();
                } else
                        tap.n_payload -= n;
                if (tap.n_header == WIRE_HEADER_SIZE && tap.n_payload == 0)
                        tap.n_header = 0;
                data += n;
                size -= n;
        }
}

static void *next_function(const char *name) {
        void *function = dlsym(RTLD_NEXT, name);

        if (!function)
                program_fail(tap.program, name, -ENOSYS);
        return function;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
        static ssize_t (*next)(int, const struct msghdr *, int);
        ssize_t n;

        if (!next)
                *(void **)&next = next_function("sendmsg");
        n = next(fd, message, flags);
        for (size_t i = 0, left = n > 0 ? (size_t)n : 0; left > 0; i++) {
                size_t size = message->msg_iov[i].iov_len;

                if (size > left)
                        size = left;
                on_bytes(message->msg_iov[i].iov_base, size);
                left -= size;
        }
        return n;
}

/* A new link: what the last one did not get to the end of is no part of it. */
int connect(int fd, const struct sockaddr *address, socklen_t size) {
        static int (*next)(int, const struct sockaddr *, socklen_t);

        if (!next)
                *(void **)&next = next_function("connect");
        tap.n_header = tap.n_payload = 0;
        return next(fd, address, size);
}

void tap_begin(Program *program) {
        tap.program = program;
}

void tap_end_session(void) {
        tap_note();
        memset(tap.flows, 0, sizeof(tap.flows));
        tap.n_flows = 0;
}

void tap_note(void) {
        for (size_t i = 0; i < FLOWS_MAX; i++)
                note_turn(&tap.flows[i]);
}
