/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the connections; all of them live until the run is over, because events still on their way refer to them.
 *
 * What arrives is counted, not moved: bytes lie in the pipe in their order and each piece that arrives makes more of them
 * readable. So pieces can be of any size and come at any time, and a break cuts at any byte. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/actor.h"
#include "tests/sim/ledger.h"
#include "tests/sim/net.h"
#include "tests/sim/service.h"
#include "tests/unit/fake-net.h"

enum {
        NET_KEEPALIVE_USEC = 9 * 1000 * 1000,    /* as the client's link sets it */
        NET_USER_TIMEOUT_USEC = 5 * 1000 * 1000, /* the service's, by default */
        NET_PIECES_MAX = 4,                      /* that one write arrives in */
        NET_SOCKET_MAX = 128 * 1024,             /* of what lies in front of the router and is not read */
};

static struct {
        Conn *first, **last;
        unsigned n_conns;
        uint64_t delay_max;
        size_t pipe_size;
} net;

void net_init(uint64_t delay_max, size_t pipe_size) {
        memset(&net, 0, sizeof(net));
        net.last = &net.first;
        net.delay_max = delay_max;
        net.pipe_size = pipe_size;
}

static void pipe_deinit(Pipe *p) {
        free(p->data);
        p->data = NULL;
        tap_deinit(&p->tap);
}

void net_deinit(void) {
        Conn *c;

        while ((c = net.first)) {
                net.first = c->next;
                ledger_detach(c);
                pipe_deinit(&c->up);
                pipe_deinit(&c->down);
                free(c);
        }
}

Conn *net_first(void) {
        return net.first;
}

static bool actor_is_partitioned(const Actor *actor) {
        return actor->host.partition_until > world_now;
}

static void conn_wake(Conn *c) {
        actor_wake(c->actor);
}

/* Pipes */

static size_t pipe_size(const Pipe *p) {
        return p->end - p->start;
}

static void pipe_put(Pipe *p, const uint8_t *data, size_t size) {
        if (p->end + size > p->n_allocated) {
                if (p->start > 0) {
                        memmove(p->data, p->data + p->start, pipe_size(p));
                        p->end -= p->start;
                        p->start = 0;
                }
                if (p->end + size > p->n_allocated) {
                        p->n_allocated = (p->end + size) * 2;
                        p->data = sim_must(realloc(p->data, p->n_allocated));
                }
        }
        memcpy(p->data + p->end, data, size);
        p->end += size;
        p->n_written += size;
}

static void pipe_take(Pipe *p, size_t size) {
        p->start += size;
        p->n_arrived -= size;
        if (p->start == p->end)
                p->start = p->end = 0;
}

static void pipe_lose(Pipe *p) {
        p->end = p->start + p->n_arrived;
}

static uint64_t conn_delay(Conn *c) {
        return rng_between(&c->rng, 1, net.delay_max);
}

static void conn_arrived(Conn *c, Pipe *p) {
        if (p == &c->up)
                service_wake();
        else
                conn_wake(c);
}

static void pipe_event(Conn *c, Pipe *p, uint64_t n, WorldFn again) {
        if (c->broken || n > pipe_size(p) - p->n_arrived)
                return;
        if (actor_is_partitioned(c->actor)) {
                world_at(c->actor->host.partition_until + conn_delay(c), again, c, n);
                return;
        }
        p->n_arrived += n;
        conn_arrived(c, p);
}

static void up_event(void *object, uint64_t n) {
        pipe_event(object, &((Conn *) object)->up, n, up_event);
}

static void down_event(void *object, uint64_t n) {
        pipe_event(object, &((Conn *) object)->down, n, down_event);
}

static void pipe_fin_event(Conn *c, Pipe *p, WorldFn again) {
        if (c->broken)
                return;
        if (actor_is_partitioned(c->actor)) {
                world_at(c->actor->host.partition_until + conn_delay(c), again, c, 0);
                return;
        }
        p->fin_arrived = true;
        conn_arrived(c, p);
}

static void up_fin_event(void *object, uint64_t n) {
        pipe_fin_event(object, &((Conn *) object)->up, up_fin_event);
}

static void down_fin_event(void *object, uint64_t n) {
        pipe_fin_event(object, &((Conn *) object)->down, down_fin_event);
}

static uint64_t pipe_next_arrival(Conn *c, Pipe *p) {
        uint64_t usec = world_now + conn_delay(c);

        if (usec < p->last_arrival)
                usec = p->last_arrival;
        return p->last_arrival = usec;
}

static void conn_transmit(Conn *c, Pipe *p, size_t size) {
        WorldFn fn = p == &c->up ? up_event : down_event;

        for (unsigned pieces = (unsigned) rng_between(&c->rng, 1, NET_PIECES_MAX); size > 0; pieces--) {
                size_t n = pieces <= 1 ? size : (size_t) rng_between(&c->rng, 1, size);

                world_at(pipe_next_arrival(c, p), fn, c, n);
                size -= n;
        }
}

static void pipe_finish(Conn *c, Pipe *p) {
        if (p->finished)
                return;
        p->finished = true;
        world_at(pipe_next_arrival(c, p), p == &c->up ? up_fin_event : down_fin_event, c, 0);
}

/* The client's end */

static void conn_fail(Conn *c, int error) {
        if (c->state == CONN_CLOSED || c->state == CONN_FAILED)
                return;
        c->state = CONN_FAILED;
        c->error = error;
        conn_wake(c);
}

static void connect_event(void *object, uint64_t n) {
        Conn *c = object;

        if (c->state != CONN_OPENING)
                return;
        if (actor_is_partitioned(c->actor)) {
                world_at(c->actor->host.partition_until + rng_below(&c->rng, SIM_SEC), connect_event, c, 0);
                return;
        }
        if (!service_accept(c)) {
                c->service_done = true;
                conn_fail(c, -ECONNREFUSED);
                return;
        }
        c->state = CONN_UP;
        conn_wake(c);
}

Conn *conn_open(Actor *actor, bool *ret_connected) {
        Conn *c = sim_must(calloc(1, sizeof(*c)));

        c->number = ++net.n_conns;
        c->actor = actor;
        c->rng = rng_derive(world_seed() + actor->number, 1000 + actor->n_conns++);
        ledger_attach(c);
        *net.last = c;
        net.last = &c->next;
        *ret_connected = false;
        /* A local socket is connected at once, or not at all */
        if (rng_chance(&c->rng, 20) && !actor_is_partitioned(actor)) {
                c->state = service_accept(c) ? CONN_UP : CONN_FAILED;
                c->service_done = c->state == CONN_FAILED;
                c->error = -ECONNREFUSED;
                *ret_connected = c->state == CONN_UP;
        } else
                world_in(conn_delay(c), connect_event, c, 0);
        return c;
}

Conn *conn_find(int number) {
        Conn *c = net.first;

        while (c && (int) c->number != number)
                c = c->next;
        return c;
}

void conn_close(Conn *c) {
        if (c->state == CONN_UP && !c->muted)
                pipe_finish(c, &c->up);
        c->state = CONN_CLOSED;
        service_wake();
}

bool conn_can_read(const Conn *c) {
        return c->state == CONN_FAILED || c->down.n_arrived > 0 || c->down.fin_arrived ||
               c->down.tap.n_out > c->down.tap.start_out;
}

static size_t conn_room(const Conn *c) {
        size_t used = pipe_size(&c->up) + (c->link ? c->link->n_in : 0);

        return used < net.pipe_size ? net.pipe_size - used : 0;
}

bool conn_can_write(const Conn *c) {
        return c->state == CONN_FAILED || (c->state == CONN_UP && conn_room(c) >= net.pipe_size / 4 + 1);
}

/* Through the tap, which may hold back what is not whole */
static size_t conn_read_held(Conn *c, uint8_t *data, size_t size) {
        Tap *t = &c->down.tap;
        size_t n;

        tap_feed(t, c, c->down.data + c->down.start, c->down.n_arrived);
        pipe_take(&c->down, c->down.n_arrived);
        n = t->n_out - t->start_out;
        if (n > size)
                n = size;
        if (n > 0)
                memcpy(data, t->out + t->start_out, n);
        t->start_out += n;
        if (t->start_out == t->n_out)
                t->start_out = t->n_out = 0;
        return n;
}

ssize_t conn_read(Conn *c, uint8_t *data, size_t size) {
        size_t n = c->down.n_arrived < size ? c->down.n_arrived : size;

        if (c->down.tap.holds)
                n = conn_read_held(c, data, size);
        else if (n > 0) {
                memcpy(data, c->down.data + c->down.start, n);
                tap_feed(&c->down.tap, c, data, n);
                pipe_take(&c->down, n);
        }
        if (n > 0) {
                service_wake(); /* there is room for more */
                return (ssize_t) n;
        }
        if (c->state == CONN_FAILED)
                return c->error;
        return c->down.fin_arrived && pipe_size(&c->down) == 0 ? 0 : -EAGAIN;
}

/* What the kernel takes of a write is on its way, whatever becomes of the link. */
static void conn_put_up(Conn *c, const uint8_t *data, size_t size) {
        Tap *t = &c->up.tap;
        size_t n = size;

        tap_feed(t, c, data, size);
        if (t->holds) {
                data = t->out;
                n = t->n_out;
        }
        if (n > 0 && !c->muted && !c->service_done) {
                pipe_put(&c->up, data, n);
                conn_transmit(c, &c->up, n);
        }
        t->n_out = 0;
}

ssize_t conn_write(Conn *c, const struct iovec *iov, size_t n_iov) {
        size_t room = conn_room(c), total = 0;

        if (c->state == CONN_FAILED)
                return c->error;
        if (c->muted)
                return -EPIPE;
        for (size_t i = 0; i < n_iov && room > 0; i++) {
                size_t n = iov[i].iov_len < room ? iov[i].iov_len : room;

                if (n > 0)
                        conn_put_up(c, iov[i].iov_base, n);
                room -= n;
                total += n;
        }
        return total > 0 || n_iov == 0 ? (ssize_t) total : -EAGAIN;
}

bool conn_is_acknowledged(const Conn *c) {
        return pipe_size(&c->up) == c->up.n_arrived && !c->broken;
}

uint64_t conn_silent_since(const Conn *c) {
        uint64_t since = c->broken ? c->broken_usec : world_now;

        if (actor_is_partitioned(c->actor) && c->actor->host.partition_since < since)
                since = c->actor->host.partition_since;
        return since;
}

/* Faults */

static void client_hears_event(void *object, uint64_t error) {
        conn_fail(object, -(int) error);
}

static void service_hears_event(void *object, uint64_t how) {
        Conn *c = object;

        if (c->service_done || !c->link)
                return;
        fake_close(c->link, (LinkEnd) how);
        service_wake();
}

static void conn_break(Conn *c) {
        if (c->broken)
                return;
        c->broken = true;
        c->broken_usec = world_now;
        pipe_lose(&c->up);
        pipe_lose(&c->down);
}

/* Each end hears of it soon, or when its kernel gives up waiting. */
void conn_reset(Conn *c, unsigned how) {
        if (c->broken || c->state == CONN_CLOSED || c->state == CONN_FAILED)
                return;
        world_say("c%u link %u: reset, %zu bytes lost up, %zu down", c->actor->number, c->number,
                  pipe_size(&c->up) - c->up.n_arrived, pipe_size(&c->down) - c->down.n_arrived);
        conn_break(c);
        if (how % 10 < 8)
                world_in(rng_below(&c->rng, how % 3 == 0 ? 10 : 50 * SIM_MSEC), client_hears_event, c, ECONNRESET);
        else
                world_in(NET_KEEPALIVE_USEC + rng_below(&c->rng, SIM_SEC), client_hears_event, c, ETIMEDOUT);
        if (how / 10 < 8)
                world_in(rng_below(&c->rng, how / 10 % 3 == 0 ? 10 : 50 * SIM_MSEC), service_hears_event, c, LINK_RESET);
        else
                world_in(NET_USER_TIMEOUT_USEC + rng_below(&c->rng, 5 * SIM_SEC), service_hears_event, c, LINK_TIMEOUT);
}

void conn_die(Conn *c, unsigned how) {
        if (how < 70 && c->state == CONN_UP)
                pipe_finish(c, &c->up);
        else if (!c->broken && c->state != CONN_CLOSED) {
                conn_break(c);
                world_in(rng_below(&c->rng, 20 * SIM_MSEC), service_hears_event, c, how < 90 ? LINK_RESET : LINK_TIMEOUT);
        }
        c->muted = true;
}

/* Does a kernel give up while the partition lasts? If only one has, the other is told so when they hear of each other again. */
static void partition_event(void *object, uint64_t n) {
        Actor *actor = object;

        for (Conn *c = net.first; c; c = c->next) {
                if (c->actor != actor || c->broken || c->state == CONN_CLOSED || c->service_done)
                        continue;
                if (actor->host.partition_until <= world_now || c->state != CONN_UP)
                        continue;
                conn_break(c);
                c->broken_usec = actor->host.partition_since;
                service_hears_event(c, LINK_TIMEOUT);
                if (actor->host.partition_until > actor->host.partition_since + NET_KEEPALIVE_USEC)
                        world_at(actor->host.partition_since + NET_KEEPALIVE_USEC, client_hears_event, c, ETIMEDOUT);
                else
                        world_at(actor->host.partition_until + conn_delay(c), client_hears_event, c, ECONNRESET);
        }
}

void net_partition(Actor *actor, uint64_t duration) {
        if (actor_is_partitioned(actor))
                return;
        world_say("c%u: partition of %.3f s", actor->number, (double) duration / 1e6);
        actor->host.partition_since = world_now;
        actor->host.partition_until = world_now + duration;
        if (duration > NET_USER_TIMEOUT_USEC)
                world_in(NET_USER_TIMEOUT_USEC + rng_below(&actor->rng, 2 * SIM_SEC), partition_event, actor, 0);
}

/* The service's end */

bool conn_feed(Conn *c) {
        FakeLink *l = c->link;
        size_t n, room, held;

        if (c->service_done || !l || !l->link)
                return false;
        n = c->up.n_arrived;
        held = l->n_in < NET_SOCKET_MAX ? NET_SOCKET_MAX - l->n_in : 0;
        if (n > held)
                n = held;
        if (n > 0 && !l->closed) {
                fake_send_bytes(l, c->up.data + c->up.start, n);
                pipe_take(&c->up, n);
        } else
                n = 0;
        if (c->up.fin_arrived && c->up.n_arrived == 0 && pipe_size(&c->up) == 0 && !l->closed) {
                fake_close(l, LINK_EOF);
                n++;
        }
        room = pipe_size(&c->down) < net.pipe_size ? net.pipe_size - pipe_size(&c->down) : 0;
        if (c->state == CONN_CLOSED || c->broken)
                room = FAKE_UNLIMITED;
        if (room > 0 && l->write_blocked && (room == FAKE_UNLIMITED || room >= net.pipe_size / 4)) {
                l->write_blocked = false;
                link_set_dirty(l->link);
                n++;
        }
        l->room = room;
        l->is_dead = c->broken ||
                     (actor_is_partitioned(c->actor) && world_now > c->actor->host.partition_since + NET_USER_TIMEOUT_USEC);
        return n > 0;
}

void conn_collect(Conn *c) {
        FakeLink *l = c->link;

        if (c->service_done || !l)
                return;
        if (l->n_out > 0) {
                if (c->state != CONN_CLOSED && !c->broken && !c->muted) {
                        pipe_put(&c->down, l->out, l->n_out);
                        conn_transmit(c, &c->down, l->n_out);
                }
                l->n_out = 0;
        }
        if (conn_can_write(c) && c->state == CONN_UP)
                conn_wake(c);
        if (!l->link)
                conn_service_closed(c, conn_is_unread(c));
        else if (l->shut)
                pipe_finish(c, &c->down);
}

bool conn_is_unread(const Conn *c) {
        return pipe_size(&c->up) > 0 || (c->link && c->link->n_in > 0);
}

void conn_service_closed(Conn *c, bool reset) {
        if (c->service_done)
                return;
        c->service_done = true;
        c->link = NULL;
        if (c->state == CONN_OPENING || c->broken)
                return; /* a client that does not know yet will in time */
        if (reset) {
                uint64_t delay = conn_delay(c);

                conn_break(c);
                if (actor_is_partitioned(c->actor))
                        delay += c->actor->host.partition_until - world_now;
                world_in(delay, client_hears_event, c, ECONNRESET);
        } else
                pipe_finish(c, &c->down);
}
