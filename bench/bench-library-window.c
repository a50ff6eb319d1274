/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs in the process of a peer; what is on its way outlasts the order that has sent it. */

#include <errno.h>
#include <string.h>

#include "bench/bench-library-window.h"

typedef struct Window {
        PeerOrder order;
        bool is_open;
        uint64_t n_sent[PEER_TARGETS_MAX], n_answered[PEER_TARGETS_MAX];
        uint64_t n_all, n_delivered;
        uint64_t sent_nsec[PEER_TARGETS_MAX][WINDOW_SIZE]; /* not of the deep one */
} Window;

typedef struct Message {
        uint32_t target; /* which of the order's */
        uint64_t number;
        uint8_t rest[WINDOW_MESSAGE_SIZE - 16];
} Message;

static void on_sent(DirectClient *client, int result, void *userdata) {
        PeerSelf *self = userdata;
        Window *w = self->state;

        if (result < 0)
                self->error = result;
        else
                w->n_delivered++;
}

static int window_fill(PeerSelf *self, Window *w, uint32_t i) {
        bool is_deep = (int32_t) i == w->order.deep;
        unsigned size = is_deep ? w->order.deep_window : w->order.window;
        int r = 0;

        while (r >= 0 && w->is_open && w->n_sent[i] - w->n_answered[i] < size) {
                Message message = { .target = i, .number = w->n_sent[i] };

                w->sent_nsec[i][w->n_sent[i] % WINDOW_SIZE] = peer_now_nsec();
                r = direct_send_async(self->client, w->order.targets[i], KIND_ECHO, &message, sizeof(message), on_sent, self);
                if (r < 0)
                        break;
                w->n_sent[i]++;
                w->n_all++;
                self->figures->n_sent++;
        }
        return r;
}

static void on_answer(PeerSelf *self, const void *data, size_t size) {
        Window *w = self->state;
        Message message;
        uint32_t i;
        int r;

        memcpy(&message, data, sizeof(message) <= size ? sizeof(message) : size);
        i = message.target;
        if (size != sizeof(message) || i >= w->order.n_targets || message.number != w->n_answered[i]) {
                self->error = -EPROTO; /* lost, doubled, or out of order */
                return;
        }
        if (w->is_open && (int32_t) i != w->order.deep) {
                self->figures->n_done++;
                histogram_add(&self->figures->round_trips, peer_now_nsec() - w->sent_nsec[i][message.number % WINDOW_SIZE]);
        }
        w->n_answered[i]++;
        r = window_fill(self, w, i);
        if (r < 0)
                self->error = r;
}

/* What has no answer yet has waited for so long already: without this, a standstill would look like no delay at all. */
static void window_close(PeerSelf *self, Window *w) {
        uint64_t now = peer_now_nsec();

        w->is_open = false;
        for (uint32_t i = 0; i < w->order.n_targets; i++)
                for (uint64_t n = w->n_answered[i]; (int32_t) i != w->order.deep && n < w->n_sent[i]; n++)
                        histogram_add(&self->figures->round_trips, now - w->sent_nsec[i][n % WINDOW_SIZE]);
}

int task_window(PeerSelf *self, const PeerOrder *order) {
        static Window w;
        uint64_t now = peer_now_nsec(), end = now + order->duration_nsec;
        int r = 0;

        w.order = *order;
        w.is_open = true;
        self->state = &w;
        self->on_answer = on_answer;
        for (uint32_t i = 0; r >= 0 && i < order->n_targets; i++)
                r = window_fill(self, &w, i);
        for (; r >= 0 && now < end; now = peer_now_nsec())
                r = self_turn(self, (end - now) / 1000 + 1);
        window_close(self, &w);
        return r;
}

int task_drain(PeerSelf *self, const PeerOrder *order) {
        Window *w = self->state;
        int r = 0;

        for (uint32_t i = 0; i < w->order.n_targets; i++)
                while (r >= 0 && w->n_answered[i] < w->n_sent[i])
                        r = self_turn(self, DIRECT_FOREVER);
        while (r >= 0 && w->n_delivered < w->n_all)
                r = self_turn(self, DIRECT_FOREVER);
        return r;
}
