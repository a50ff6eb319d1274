/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the programs do: send what the plan says, take and check what comes, answer requests, and go on with what was refused when
 * there is room again. */

#include <inttypes.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocol/wire.h"
#include "tests/sim/alloc.h"
#include "tests/sim/oracle.h"
#include "tests/sim/pipes.h"

enum {
        PROGRAM_STALE_PERCENT = 8,   /* messages to the id that a client had before */
        PROGRAM_SILENT_PERCENT = 10, /* requests that are not replied to */
        PROGRAM_KIND = 7,
        PROGRAM_SMALL_MAX = 60000,
        PROGRAM_PIPE_MAX = 150000, /* larger ones would take too long, a piece at a time */
};

/* Handlers: called from inside of the library, so each begins by stepping out of it */

static void sent(DirectClient *client, int result, void *userdata) {
        OUTSIDE(oracle_outcome(userdata, result));
}

static void called(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        Message *m = userdata;

        OUTSIDE(oracle_outcome(m, result));
        if (result == 0) {
                OUTSIDE(oracle_replied(m, reply));
                direct_message_free(reply);
        } else if (reply)
                OUTSIDE(world_violation("a call that failed has a reply"));
}

static void reply(Actor *a, DirectMessage *request, const Message *m) {
        uint64_t size = MESSAGE_SIZE_MIN + m->number * 7919 % (m->number % 5 == 0 ? 100000 : 2000);
        Message *answer;
        void *data;
        int r;

        if (m->number % 100 < PROGRAM_SILENT_PERCENT)
                return;
        answer = oracle_new_message(a, MESSAGE_REPLY, m->source, m->sender, size);
        answer->order = m->number;
        data = sim_must(malloc(size));
        oracle_fill(answer, data);
        INSIDE(r = direct_reply(a->client, request, data, size));
        free(data);
        if (r < 0)
                oracle_not_sent(answer);
        else
                oracle_sent(answer);
}

static void on_message(Actor *a, DirectMessage *message) {
        const Message *m = oracle_received(a, message);

        if (m && m->class == MESSAGE_REQUEST && direct_message_is_request(message))
                reply(a, message, m);
        INSIDE(direct_message_free(message));
}

static void message_handler(DirectClient *client, DirectMessage *message, void *userdata) {
        OUTSIDE(on_message(userdata, message));
}

static void on_event(Actor *a, const DirectEvent *event) {
        world_trace((uint64_t) event->type << 8 | (uint64_t) event->reason, event->id);
        world_say("c%u: event %d, id %" PRIu64 ", reason %d, error %d, resumed %d, %s", a->number, event->type, event->id,
                  event->reason, event->error, event->resumed, event->text);
        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                if (a->is_finished)
                        world_violation("c%u connects again after it was kicked, or has given up", a->number);
                /* Without memory for it, the event before may be missing */
                if (!event->resumed || (event->id != a->id && alloc_get_failed() > 0))
                        oracle_new_session(a);
                else if (event->id != a->id)
                        world_violation("c%u resumed %" PRIu64 " as %" PRIu64, a->number, a->id, event->id);
                break;
        case DIRECT_EVENT_KICKED:
        case DIRECT_EVENT_FAILED:
                a->is_finished = true;
                break;
        case DIRECT_EVENT_WRITABLE:
                a->wants_writable = false;
                program_writable(a);
                break;
        case DIRECT_EVENT_UNDELIVERED:
                oracle_undelivered(a, event);
                break;
        case DIRECT_EVENT_LOST:
                oracle_lost(a, event->id, event->count);
                break;
        default:
                break;
        }
}

static void event_handler(DirectClient *client, const DirectEvent *event, void *userdata) {
        OUTSIDE(on_event(userdata, event));
}

void program_attach(Actor *a) {
        (void) direct_set_message_handler(a->client, message_handler, a);
        (void) direct_set_event_handler(a->client, event_handler, a);
}

/* Sending */

/* To a descriptor, and it will be read when it is its turn; or from a pipe, when there is something in it. What comes out of that
 * is less than was announced, if so much was, at times. */
static int program_send_fd(Actor *a, Message *m, const void *data, const Item *item) {
        bool is_pipe = item->random % 2 && m->size <= PROGRAM_PIPE_MAX, is_announced = is_pipe && item->random / 2 % 2;
        uint64_t target = m->class == MESSAGE_BROADCAST_LARGE ? DIRECT_EVERYONE : m->target;
        int fd, r;

        m->is_cut_short = is_announced && item->random / 4 % 4 == 0;
        if (is_pipe)
                fd = pipes_new(a, data, m->size, m->is_cut_short, item->random);
        else {
                fd = memfd_create("sim", MFD_CLOEXEC);
                sim_require(fd >= 0 && write(fd, data, m->size) == (ssize_t) m->size);
        }
        INSIDE(r = direct_send_fd(a->client, target, PROGRAM_KIND, fd, is_announced ? m->size : DIRECT_SIZE_UNKNOWN,
                                  m->has_handler ? sent : NULL, m));
        close(fd);
        return r;
}

/* In pieces. What there is no room for is left out, and then it fails. */
static int program_stream(Actor *a, Message *m, const uint8_t *data) {
        uint64_t piece = 1000 + m->number * 7919 % 100000;
        uint32_t stream;
        int r;

        INSIDE(r = direct_stream_begin(a->client, m->target, PROGRAM_KIND, m->size, &stream));
        if (r < 0)
                return r;
        for (uint64_t done = 0; r >= 0 && done < m->size; done += piece) {
                size_t n = m->size - done < piece ? m->size - done : piece;

                INSIDE(r = direct_stream_write(a->client, stream, data + done, n));
                a->wants_writable = a->wants_writable || r == -EAGAIN;
        }
        m->is_cut_short = r < 0;
        INSIDE(r = direct_stream_end_async(a->client, stream, m->has_handler ? sent : NULL, m));
        if (r < 0) {
                m->has_handler = false; /* nobody has promised anything */
                m->is_cut_short = true;
        }
        return 0;
}

/* A large broadcast has a handler then. */
static bool program_broadcasts_fd(const Item *item) {
        return item->type == ITEM_BROADCAST && item->how >= 50;
}

static int program_send(Actor *a, Message *m, const void *data, const Item *item) {
        DirectSendHandler handler = m->has_handler ? sent : NULL;
        int r;

        switch (m->class) {
        case MESSAGE_NAMED:
                INSIDE(r = direct_send_name_async(a->client, m->target_actor->name, PROGRAM_KIND, data, m->size, handler, m));
                break;
        case MESSAGE_BROADCAST_LARGE:
                if (program_broadcasts_fd(item))
                        return program_send_fd(a, m, data, item);
                /* fall through */
        case MESSAGE_BROADCAST:
                INSIDE(r = direct_broadcast(a->client, PROGRAM_KIND, data, m->size));
                break;
        case MESSAGE_REQUEST:
                INSIDE(r = direct_call_start(a->client, m->target, PROGRAM_KIND, data, m->size, item->duration, called, m));
                break;
        default: {
                DirectSendOptions options = { .time_to_live_usec = item->duration, .handler = handler, .userdata = m };

                if (item->type == ITEM_SEND_FD)
                        return program_send_fd(a, m, data, item);
                if (item->type == ITEM_STREAM)
                        return program_stream(a, m, data);
                if (item->type == ITEM_UNRELIABLE)
                        options.flags = DIRECT_SEND_UNRELIABLE;
                INSIDE(r = direct_send_with(a->client, m->target, PROGRAM_KIND, data, m->size, &options, sizeof(options)));
        }
        }
        return r;
}

static MessageClass item_class(const Item *item, uint64_t size) {
        switch (item->type) {
        case ITEM_SEND_NAME:
                return MESSAGE_NAMED;
        case ITEM_BROADCAST:
                return size > WIRE_PAYLOAD_MAX ? MESSAGE_BROADCAST_LARGE : MESSAGE_BROADCAST;
        case ITEM_CALL:
                return MESSAGE_REQUEST;
        case ITEM_SEND_FD:
        case ITEM_STREAM:
                return MESSAGE_LARGE;
        case ITEM_UNRELIABLE:
                return MESSAGE_UNRELIABLE;
        default:
                return size > WIRE_PAYLOAD_MAX ? MESSAGE_LARGE : MESSAGE_SMALL;
        }
}

static uint64_t item_target(const Item *item) {
        const Actor *target = &actors[item->target];

        if (item->type == ITEM_BROADCAST || item->type == ITEM_SEND_NAME)
                return 0;
        if (item->how < PROGRAM_STALE_PERCENT && target->former_id != 0)
                return target->former_id;
        return target->id;
}

static void program_refused(Actor *a, const Item *item, int r) {
        world_say("c%u: %s of %" PRIu64 " bytes is refused: %d", a->number, item_name(item->type), item->size, r);
        if (r == -EAGAIN) {
                a->wants_writable = true;
                if (a->n_backlog < ACTOR_BACKLOG_MAX)
                        a->backlog[a->n_backlog++] = item;
        } else if (r != -ENOTCONN && !(r == -ENOMEM && alloc_get_failed() > 0))
                world_violation("c%u: %s of %" PRIu64 " bytes was refused with %d", a->number, item_name(item->type), item->size,
                                r);
}

static void program_message(Actor *a, const Item *item) {
        MessageClass class = item_class(item, item->size);
        uint64_t target = item_target(item);
        bool fits_one_frame = class == MESSAGE_NAMED || class == MESSAGE_REQUEST || class == MESSAGE_UNRELIABLE;
        uint64_t size = fits_one_frame && item->size > PROGRAM_SMALL_MAX ? PROGRAM_SMALL_MAX : item->size;
        Message *m;
        void *data;
        int r;

        if (target == 0 && !message_is_broadcast(class) && class != MESSAGE_NAMED)
                return;
        m = oracle_new_message(a, class, target, message_is_broadcast(class) ? NULL : &actors[item->target], size);
        m->has_handler = class == MESSAGE_REQUEST ||
                         ((!message_is_broadcast(class) || (class == MESSAGE_BROADCAST_LARGE && program_broadcasts_fd(item))) &&
                          item->has_handler);
        m->has_time_to_live = item->type == ITEM_SEND && item->duration > 0;
        m->order = message_is_broadcast(class) ? oracle_next_broadcast(m->source, class) : 0;
        data = sim_must(malloc(size));
        oracle_fill(m, data);
        r = program_send(a, m, data, item);
        free(data);
        if (r < 0) {
                oracle_not_sent(m);
                program_refused(a, item, r);
        } else
                oracle_sent(m);
}

void program_writable(Actor *a) {
        const Item *items[ACTOR_BACKLOG_MAX];
        unsigned n = a->n_backlog;

        memcpy(items, a->backlog, sizeof(items));
        a->n_backlog = 0;
        for (unsigned i = 0; i < n; i++)
                program_message(a, items[i]);
}

void program_do(Actor *a, const Item *item) {
        if (!a->client || a->halted_until > world_now)
                return;
        if (item->type == ITEM_WATCH) {
                if (actors[item->target].id != 0)
                        INSIDE((void) direct_watch(a->client, actors[item->target].id, item->how < 80));
        } else
                program_message(a, item);
        actor_settle(a);
}
