/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A receiver that stops reading for a while: who is disconnected, what is dropped, how much the server grows, and what the
 * other pairs notice. Senders have a steady rate here and not all that there is room for, so that it can be said what was due.
 * What a sender can't get rid of stays due, and is sent when there is room. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench-load.h"
#include "bench/process.h"

enum {
        PAIRS = 4,
        BYTES_PER_SEC = 20 * 1024 * 1024, /* of each pair */
        BEFORE_MS = 1000,
        AFTER_MS = 1000,
        SILENCE_MS = 1500, /* what has not come then does not */
        TICK_USEC = 500,
        SAMPLE_MS = 50,
        DISCARD_SIZE = 1024 * 1024,
};

typedef struct Pair {
        Client from, to;
        uint8_t *message; /* two of them, so that a send may begin anywhere in one */
        uint64_t sent, received; /* bytes */
        bool from_closed, to_closed;
} Pair;

typedef struct Scene {
        const Side *side;
        Pair pairs[PAIRS];
        size_t sent_size, delivered_size;
        uint64_t begin_nsec, moved_nsec;
        uint64_t due; /* messages of each pair */
        uint64_t peak_kib, sampled_nsec;
} Scene;

static int open_pair(Scene *s, unsigned i, uint64_t size) {
        Pair *p = &s->pairs[i];
        Out o = {};
        int r;

        p->from = p->to = CLIENT_NULL;
        p->from.index = 2 * i;
        p->to.index = 2 * i + 1;
        p->from.sends = p->to.receives = true;
        r = s->side->target->open(&p->from, &s->side->server);
        if (r >= 0)
                r = s->side->target->open(&p->to, &s->side->server);
        if (r >= 0)
                r = s->side->target->subscribe(&p->to, TARGET_ONE);
        if (r < 0)
                return r;
        s->side->target->put_delivered(&o, &p->from, &p->to, size);
        s->delivered_size = o.size;
        o.size = 0;
        s->side->target->put_sent(&o, &p->from, &p->to, size);
        s->sent_size = o.size;
        p->message = malloc(2 * o.size);
        if (!p->message)
                return -ENOMEM;
        o = (Out) { .data = p->message };
        s->side->target->put_sent(&o, &p->from, &p->to, size);
        s->side->target->put_sent(&o, &p->from, &p->to, size);
        return 0;
}

static int settle(Scene *s) {
        int r = 0;

        for (unsigned i = 0; r >= 0 && s->side->target->settle && i < PAIRS; i++)
                r = s->side->target->settle(&s->pairs[i].from, TARGET_ONE, PAIRS);
        return r;
}

static void send_due(Scene *s, Pair *p) {
        uint64_t due = s->due * s->sent_size;

        while (!p->from_closed && p->sent < due) {
                size_t offset = p->sent % s->sent_size, size = s->sent_size;
                ssize_t k;

                if (size > due - p->sent)
                        size = due - p->sent;
                k = send(p->from.fd, p->message + offset, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (k < 0) {
                        p->from_closed = errno != EAGAIN;
                        return;
                }
                p->sent += (uint64_t) k;
                s->moved_nsec = load_now_nsec();
        }
}

static void receive(Scene *s, Pair *p) {
        ssize_t k;

        while (!p->to_closed) {
                k = recv(p->to.receive_fd, NULL, DISCARD_SIZE, MSG_TRUNC | MSG_DONTWAIT);
                if (k < 0 && errno == EAGAIN)
                        return;
                p->to_closed = k <= 0;
                if (k <= 0)
                        return;
                p->received += (uint64_t) k;
                s->moved_nsec = load_now_nsec();
        }
}

static void sample_memory(Scene *s, uint64_t now) {
        ProcessMemory memory;

        if (now - s->sampled_nsec < (uint64_t) SAMPLE_MS * 1000000 || process_get_memory(s->side->pid, &memory) < 0)
                return;
        s->sampled_nsec = now;
        if (memory.resident_kib > s->peak_kib)
                s->peak_kib = memory.resident_kib;
}

static uint64_t total_received(const Scene *s) {
        uint64_t n = 0;

        for (unsigned i = 1; i < PAIRS; i++)
                n += s->pairs[i].received / s->delivered_size;
        return n;
}

/* Goes on until `until_nsec` after the beginning; `stopped`: the first receiver does not read. */
static void go_on(Scene *s, uint64_t until_nsec, uint64_t last_due_nsec, bool stopped) {
        uint64_t now;

        while ((now = load_now_nsec() - s->begin_nsec) < until_nsec) {
                uint64_t due_nsec = now < last_due_nsec ? now : last_due_nsec;

                if (due_nsec == last_due_nsec && load_now_nsec() - s->moved_nsec > (uint64_t) SILENCE_MS * 1000000 && !stopped)
                        return;
                s->due = due_nsec / 1000 * (BYTES_PER_SEC / s->sent_size) / 1000000;
                for (unsigned i = 0; i < PAIRS; i++) {
                        send_due(s, &s->pairs[i]);
                        if (i > 0 || !stopped)
                                receive(s, &s->pairs[i]);
                }
                sample_memory(s, now);
                usleep(TICK_USEC);
        }
}

static void print_scene(const Scene *s, uint64_t before_kib, uint64_t others_due, uint64_t others_received, uint64_t held_back) {
        const Pair *p = &s->pairs[0];
        uint64_t grown_kib = s->peak_kib > before_kib ? s->peak_kib - before_kib : 0;

        printf("stopped,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d,%d,%.3f,%" PRIu64 ",%" PRIu64 "\n", s->side->label, s->due,
               p->sent / s->sent_size, p->received / s->delivered_size, p->to_closed, p->from_closed,
               (double) others_received / (double) others_due, grown_kib, held_back);
        fflush(stdout);
}

static int run_scene(Scene *s, unsigned stop_ms) {
        uint64_t before_nsec = (uint64_t) BEFORE_MS * 1000000, stop_nsec = before_nsec + (uint64_t) stop_ms * 1000000;
        uint64_t last_nsec = stop_nsec + (uint64_t) AFTER_MS * 1000000, due, received, held_back;
        ProcessMemory memory;
        int r;

        s->begin_nsec = s->moved_nsec = load_now_nsec();
        go_on(s, before_nsec, last_nsec, false);
        r = process_get_memory(s->side->pid, &memory);
        if (r < 0)
                return r;
        due = s->due;
        received = total_received(s);
        go_on(s, stop_nsec, last_nsec, true);
        due = (s->due - due) * (PAIRS - 1);
        received = total_received(s) - received;
        held_back = s->due - s->pairs[0].sent / s->sent_size;
        go_on(s, UINT64_MAX, last_nsec, false);
        print_scene(s, memory.resident_kib, due, received, held_back);
        return 0;
}

int measure_stopped(const Side *side, uint64_t size, unsigned stop_ms) {
        Scene s = { .side = side };
        int r = 0;

        for (unsigned i = 0; i < PAIRS; i++)
                s.pairs[i].from = s.pairs[i].to = CLIENT_NULL;
        for (unsigned i = 0; r >= 0 && i < PAIRS; i++)
                r = open_pair(&s, i, size);
        if (r >= 0)
                r = settle(&s);
        if (r >= 0)
                r = run_scene(&s, stop_ms);
        for (unsigned i = 0; i < PAIRS; i++) {
                Client *both[] = { &s.pairs[i].from, &s.pairs[i].to };

                for (unsigned k = 0; k < 2; k++) {
                        if (both[k]->receive_fd >= 0 && both[k]->receive_fd != both[k]->fd)
                                close(both[k]->receive_fd);
                        if (both[k]->fd >= 0)
                                close(both[k]->fd);
                }
                free(s.pairs[i].message);
        }
        return r;
}
