/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ping, after ping(8). A program answers only what its author taught it, so the question goes to the service: how is that
 * client? The round trip is ours to the service; with it comes what the service knows of the other side: its state, how long
 * it has been silent, and the round trip of its link. Together they are the way that a message goes. */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/talk-session.h"

typedef struct Ping {
        uint64_t id;
        char name[DIRECT_NAME_MAX + 1];
        uint64_t n_asked, n_answered;
        uint64_t begin_usec;
        uint64_t min, max;
        double sum, sum_of_squares;
        int state; /* the last that was heard */
} Ping;

static void ping_count(Ping *ping, uint64_t usec) {
        if (ping->n_answered == 0 || usec < ping->min)
                ping->min = usec;
        if (usec > ping->max)
                ping->max = usec;
        ping->n_answered++;
        ping->sum += (double) usec;
        ping->sum_of_squares += (double) usec * (double) usec;
}

static void ping_print(const Ping *ping, const DirectAlive *alive, uint64_t usec) {
        printf("%s (%" PRIu64 "): seq=%" PRIu64 " %s time=%.3f ms", ping->name, ping->id, ping->n_asked,
               direct_state_name(ping->state), (double) usec / 1e3);
        if (ping->state == DIRECT_STATE_ALIVE || ping->state == DIRECT_STATE_BUSY) {
                printf(" silence=%.1f s", (double) alive->silence_usec / 1e6);
                if (alive->rtt_usec > 0)
                        printf(" its-rtt=%.3f ms", (double) alive->rtt_usec / 1e3);
        }
        putchar('\n');
        fflush(stdout);
}

static void ping_print_statistics(const Ping *ping) {
        double average, variance;

        printf("\n--- %s ping statistics ---\n", ping->name);
        printf("%" PRIu64 " questions, %" PRIu64 " answers, %.0f%% loss, time %" PRIu64 " ms\n", ping->n_asked, ping->n_answered,
               ping->n_asked > 0 ? 100.0 * (double) (ping->n_asked - ping->n_answered) / (double) ping->n_asked : 0.0,
               (talk_now() - ping->begin_usec) / 1000);
        if (ping->n_answered == 0)
                return;
        average = ping->sum / (double) ping->n_answered;
        variance = ping->sum_of_squares / (double) ping->n_answered - average * average;
        printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", (double) ping->min / 1e3, average / 1e3,
               (double) ping->max / 1e3, sqrt(variance > 0 ? variance : 0) / 1e3);
}

/* One question. Returns 0, also when it was not answered in time, or as talk_turn(). */
static int ping_once(Talk *talk, Ping *ping) {
        uint64_t begin = talk_now(), usec;
        int r;

        ping->n_asked++;
        talk->answer = (TalkAnswer) {};
        r = direct_alive_start(talk->client, ping->name, talk->timeout_usec, talk_on_alive, talk);
        if (r < 0)
                return r;
        r = talk_await(talk, DIRECT_FOREVER);
        usec = talk_now() - begin;
        if (r == -EINTR)
                ping->n_asked--; /* it was not lost: nobody waits for it any more */
        if (r == -ETIMEDOUT) {
                talk_say(talk, "seq=%" PRIu64 ": no answer in time", ping->n_asked);
                return 0;
        }
        if (r < 0)
                return r;

        /* The name may be somebody else's by now */
        ping->state = talk->answer.alive.id == ping->id ? talk->answer.alive.state : DIRECT_STATE_GONE;
        ping_count(ping, usec);
        ping_print(ping, &talk->answer.alive, usec);
        return 0;
}

static int ping_loop(Talk *talk, Ping *ping) {
        uint64_t next = talk_now();
        int r;

        for (;;) {
                r = ping_once(talk, ping);
                if (r < 0)
                        return r;
                if (talk->count > 0 && ping->n_asked >= talk->count)
                        return 0;
                next += talk->interval_usec;
                if (next < talk_now()) /* no burst to make up for an answer that took long */
                        next = talk_now();
                do
                        r = talk_turn(talk, -1, next);
                while (r >= 0 && talk_now() < next);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
        }
}

int talk_ping(Talk *talk, int argc, char **argv) {
        DirectAlive peer = {};
        Ping ping = {};
        char what[128];
        int r;

        r = talk_connect(talk);
        if (r > 0)
                return r;
        snprintf(what, sizeof(what), "cannot ping '%.64s'", argv[0]);
        r = talk_find(talk, argv[0], &peer);
        if (r < 0)
                return talk_fail(talk, r, what);

        ping = (Ping) { .id = peer.id, .state = peer.state, .begin_usec = talk_now() };
        memcpy(ping.name, peer.name, sizeof(ping.name));
        printf("PING %s (%" PRIu64 "): time is to the service and back, its-rtt from the service to %s and back\n",
               ping.name, ping.id, ping.name);
        fflush(stdout);

        r = ping_loop(talk, &ping);
        ping_print_statistics(&ping);
        if (r < 0 && r != -EINTR)
                return talk_fail(talk, r, "pinging");
        return ping.n_answered == 0 ? TALK_EXIT_SERVICE : talk_state_status(ping.state);
}
