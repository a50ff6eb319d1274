/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* alive, list and watch: who is there, and how they are. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/talk-session.h"

static const char *look_format_time(char buffer[32], uint64_t usec) {
        if (usec < 1000)
                snprintf(buffer, 32, "%" PRIu64 " us", usec);
        else if (usec < 1000000)
                snprintf(buffer, 32, "%.1f ms", (double) usec / 1e3);
        else
                snprintf(buffer, 32, "%.1f s", (double) usec / 1e6);
        return buffer;
}

int talk_alive(Talk *talk, int argc, char **argv) {
        char what[128], silence[32], rtt[32];
        DirectAlive peer = {};
        int r;

        r = talk_connect(talk);
        if (r > 0)
                return r;
        r = talk_find(talk, argv[0], &peer);
        if (r == -ENXIO) { /* an answer, not an error: it goes to stdout like the others */
                printf("%s: not connected\n", argv[0]);
                return TALK_EXIT_PEER;
        }
        if (r < 0) {
                snprintf(what, sizeof(what), "cannot ask for '%.64s'", argv[0]);
                return talk_fail(talk, r, what);
        }

        printf("%s (%" PRIu64 "): %s, heard of %s ago", peer.name, peer.id, direct_state_name(peer.state),
               look_format_time(silence, peer.silence_usec));
        if (peer.kernel_silence_usec > 0)
                printf(", its host %s ago", look_format_time(silence, peer.kernel_silence_usec));
        if (peer.rtt_usec > 0)
                printf(", round trip %s", look_format_time(rtt, peer.rtt_usec));
        putchar('\n');
        return talk_state_status(peer.state);
}

static int list_width(const DirectPeer *peers, size_t n_peers) {
        int width = (int) strlen("NAME");

        for (size_t i = 0; i < n_peers; i++)
                if ((int) strlen(peers[i].name) > width)
                        width = (int) strlen(peers[i].name);
        return width;
}

static void list_on_list(DirectClient *client, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        Talk *talk = userdata;
        int width;

        talk->answer.done = true;
        talk->answer.result = result;
        if (result < 0)
                return;

        width = list_width(peers, n_peers);
        if (!talk->no_legend)
                printf("%10s %-*s STATE\n", "ID", width, "NAME");
        for (size_t i = 0; i < n_peers; i++)
                if (peers[i].id != direct_get_id(client)) /* who asks is gone when the list is read */
                        printf("%10" PRIu64 " %-*s %s\n", peers[i].id, width, peers[i].name, direct_state_name(peers[i].state));
        if (!talk->no_legend)
                printf("\n%zu client%s.\n", n_peers - 1, n_peers == 2 ? "" : "s");
}

int talk_list(Talk *talk, int argc, char **argv) {
        int r;

        r = talk_connect(talk);
        if (r > 0)
                return r;
        talk->answer = (TalkAnswer) {};
        r = direct_list_start(talk->client, talk->timeout_usec, list_on_list, talk);
        if (r >= 0)
                r = talk_await(talk, DIRECT_FOREVER);
        return r < 0 ? talk_fail(talk, r, "cannot list the clients") : TALK_EXIT_SUCCESS;
}

typedef struct Watch {
        int n_names;
        char **names; /* NULL-terminated; none: everyone */
} Watch;

static bool watch_wants(const Watch *watch, uint64_t id, const char *name) {
        uint64_t wanted;

        for (int i = 0; i < watch->n_names; i++)
                if (strcmp(watch->names[i], name) == 0 || (talk_parse_id(watch->names[i], &wanted) && wanted == id))
                        return true;
        return watch->n_names == 0;
}

static void watch_print(const char *event, uint64_t id, const char *name, const char *reason) {
        time_t now = time(NULL);
        struct tm tm;
        char stamp[16];

        strftime(stamp, sizeof(stamp), "%H:%M:%S", localtime_r(&now, &tm));
        printf("%s %-6s %" PRIu64 " %s%s%s\n", stamp, event, id, name, reason ? " " : "", reason ?: "");
        fflush(stdout);
}

static void watch_on_event(Talk *talk, const DirectEvent *event) {
        static const char *const names[] = {
                [DIRECT_EVENT_JOINED] = "joined", [DIRECT_EVENT_LEFT] = "left", [DIRECT_EVENT_AWAY] = "away",
                [DIRECT_EVENT_BACK] = "back",     [DIRECT_EVENT_BUSY] = "busy", [DIRECT_EVENT_ALIVE] = "alive",
        };
        const Watch *watch = talk->userdata;
        bool reasoned;

        if (event->type < 0 || (size_t) event->type >= sizeof(names) / sizeof(names[0]) || !names[event->type])
                return;
        if (!watch_wants(watch, event->id, event->name))
                return;
        reasoned = event->type == DIRECT_EVENT_LEFT || event->type == DIRECT_EVENT_AWAY;
        watch_print(names[event->type], event->id, event->name, reasoned ? direct_reason_name(event->reason) : NULL);
}

/* Those who are named may not be there yet, so everyone is watched and the events are picked here: a name has an id only while
 * somebody has it. */
static int watch_loop(Talk *talk, const Watch *watch) {
        int r;

        r = direct_watch(talk->client, 0, 1);
        if (r < 0)
                return r;
        r = talk_settle(talk, talk_now() + talk->timeout_usec);
        if (r < 0)
                return r;
        talk_say(talk, "watching");
        for (int i = 0; i < watch->n_names; i++) {
                DirectAlive peer;

                r = talk_find(talk, watch->names[i], &peer);
                if (r >= 0)
                        watch_print(direct_state_name(peer.state), peer.id, peer.name, NULL);
                else if (r != -ENXIO)
                        return r;
        }
        do
                r = talk_turn(talk, -1, DIRECT_FOREVER);
        while (r >= 0 && !ferror(stdout));
        return r;
}

int talk_watch(Talk *talk, int argc, char **argv) {
        Watch watch = { .n_names = argc, .names = argv };
        int r;

        talk->stays = true;
        r = talk_connect(talk);
        if (r > 0)
                return r;
        talk->userdata = &watch;
        talk->on_event = watch_on_event;
        r = watch_loop(talk, &watch);
        talk->on_event = NULL;
        talk->userdata = NULL;
        if (ferror(stdout))
                return TALK_EXIT_FAILURE;
        return r == -EINTR ? TALK_EXIT_SUCCESS : talk_fail(talk, r, "watching");
}
