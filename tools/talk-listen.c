/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* listen: shows what comes. Anything over one frame arrives in parts and is written as it comes, so its size does not matter.
 * Messages are taken with direct_receive() and not by a handler, because the first ones wait until the names of those who are
 * connected are known: no longer than the library has room for them, else ids have to do. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/talk-names.h"
#include "tools/talk-session.h"
#include "tools/talk-sink.h"

enum {
        LISTEN_TEXT_MAX = 4096, /* longer text is no longer read by people from a terminal */
        LISTEN_HEX_MAX = 16,
        LISTEN_TURN_MAX = 64,
};
#define LISTEN_MAX_MESSAGE UINT64_C(65536)
#define LISTEN_MAX_REQUEST (UINT64_C(64) << 20) /* what is echoed has to be there as a whole */

typedef struct Listen {
        Names names;
        Sink sink;
        uint64_t n_messages;
        uint64_t shown_source; /* whose stream the progress bar shows */
        uint32_t shown_stream;
} Listen;

static void listen_learn(Listen *listen, const DirectPeer *peers, size_t n_peers) {
        for (size_t i = 0; i < n_peers; i++)
                names_add(&listen->names, peers[i].id, peers[i].name);
}

static void listen_on_list(DirectClient *client, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        Talk *talk = userdata;

        if (talk->userdata && result == 0)
                listen_learn(talk->userdata, peers, n_peers);
}

/* Who is here already; without an answer in time, or with too many messages before it, ids will do. */
static void listen_ask_names(Talk *talk, Listen *listen) {
        DirectPeer *peers;
        size_t n_peers;

        if (direct_list(talk->client, talk->timeout_usec, &peers, &n_peers) < 0)
                return;
        listen_learn(listen, peers, n_peers);
        direct_list_free(peers);
}

static void listen_on_event(Talk *talk, const DirectEvent *event) {
        Listen *listen = talk->userdata;

        if (event->type == DIRECT_EVENT_JOINED)
                names_add(&listen->names, event->id, event->name);
        else if (event->type == DIRECT_EVENT_CONNECTED) /* who has joined while we were not connected? */
                direct_list_start(talk->client, talk->timeout_usec, listen_on_list, talk);
}

/* "alice", or "#17" for somebody whose name is not known any more */
static const char *listen_name(const Listen *listen, uint64_t id, char buffer[24]) {
        const char *name = names_get(&listen->names, id);

        if (name)
                return name;
        snprintf(buffer, 24, "#%" PRIu64, id);
        return buffer;
}

/* "alice, to all, kind 7: " */
static void listen_print_head(const Listen *listen, const DirectMessage *m) {
        char buffer[24];

        printf("%s", listen_name(listen, direct_message_get_source(m), buffer));
        if (direct_message_is_broadcast(m))
                printf(", to all");
        if (direct_message_is_request(m))
                printf(", a call");
        if (direct_message_get_kind(m) != 0)
                printf(", kind %u", direct_message_get_kind(m));
        printf(": ");
}

/* Lines after the first are indented: a message cannot pass its second line off as a message of somebody else. */
static void listen_print_text(const char *text, size_t size) {
        if (size > 0 && text[size - 1] == '\n')
                size--;
        for (;;) {
                const char *end = memchr(text, '\n', size);
                size_t n = end ? (size_t) (end - text) : size;

                printf("%.*s\n", (int) n, text);
                if (!end)
                        return;
                printf("    ");
                text += n + 1;
                size -= n + 1;
        }
}

static int listen_show(Talk *talk, Listen *listen, const DirectMessage *m) {
        const uint8_t *data = direct_message_get_data(m);
        size_t size = direct_message_get_size(m);

        if (direct_message_get_stream(m) != 0) {
                if (!direct_message_is_last(m))
                        return 0;
                if (direct_message_is_failed(m))
                        return -EPIPE;
                listen_print_head(listen, m);
                printf("%" PRIu64 " bytes, not kept; --output=DIR or --raw keep them\n", direct_message_get_offset(m) + size);
                return 1;
        }

        listen_print_head(listen, m);
        if (size > 0 && size <= LISTEN_TEXT_MAX && talk_is_text(data, size)) {
                listen_print_text((const char *) data, size);
                return 1;
        }
        printf("%zu bytes", size);
        for (size_t i = 0; i < size && i < LISTEN_HEX_MAX; i++)
                printf("%s%02x", i == 0 ? ", " : " ", data[i]);
        printf("%s\n", size > LISTEN_HEX_MAX ? " …" : "");
        return 1;
}

/* One bar for one stream; when that is over, the next part of another takes it. */
static bool listen_is_shown(Talk *talk, Listen *listen, const DirectMessage *m) {
        char buffer[24], label[64];

        if (direct_message_get_stream(m) == 0)
                return false;
        if (talk->progress.active)
                return direct_message_get_source(m) == listen->shown_source &&
                       direct_message_get_stream(m) == listen->shown_stream;

        listen->shown_source = direct_message_get_source(m);
        listen->shown_stream = direct_message_get_stream(m);
        snprintf(label, sizeof(label), "from %.50s", listen_name(listen, listen->shown_source, buffer));
        progress_begin(&talk->progress, label, direct_message_get_total(m), talk_now());
        return true;
}

static int listen_store(Talk *talk, Listen *listen, const DirectMessage *m) {
        bool shown = listen_is_shown(talk, listen, m);
        int r;

        r = sink_write(&listen->sink, m);
        if (shown && r == 0)
                progress_update(&talk->progress, listen->sink.written, talk_now());
        else if (shown)
                progress_end(&talk->progress);
        if (r > 0) {
                progress_erase(&talk->progress);
                printf("%s/%s ", listen->sink.path, listen->sink.done);
                listen_print_head(listen, m);
                printf("%" PRIu64 " bytes\n", listen->sink.written);
        }
        return r;
}

static int listen_raw(const DirectMessage *m) {
        size_t size = direct_message_get_size(m);

        if (direct_message_is_failed(m))
                return -EPIPE;
        if (fwrite(direct_message_get_data(m), 1, size, stdout) != size)
                return -errno;
        return direct_message_is_last(m);
}

static int listen_message(Talk *talk, Listen *listen, DirectMessage *m) {
        char buffer[24];
        int r;

        r = talk->output ? listen_store(talk, listen, m) : talk->raw ? listen_raw(m) : listen_show(talk, listen, m);
        if (r == -EPIPE) {
                talk_say(talk, "a message from %s ended in the middle, after %" PRIu64 " bytes: its sender is gone",
                         listen_name(listen, direct_message_get_source(m), buffer), direct_message_get_offset(m));
                return 0;
        }
        if (r < 0) {
                talk_say(talk, "cannot write to %s: %s", talk->output ?: "stdout", strerror(-r));
                return r;
        }
        listen->n_messages += (uint64_t) r;

        if (talk->echo && direct_message_is_request(m) && direct_message_get_stream(m) == 0) {
                r = direct_reply(talk->client, m, direct_message_get_data(m), direct_message_get_size(m));
                if (r < 0)
                        talk_say(talk, "cannot reply to %s: %s", listen_name(listen, direct_message_get_source(m), buffer),
                                 strerror(-r));
        }
        return 0;
}

static bool listen_is_done(const Talk *talk, const Listen *listen) {
        return talk->count > 0 && listen->n_messages >= talk->count;
}

/* What waits, up to a bound, so that a flood does not keep signals waiting. Returns 1 if there may be more, 0 if not, or a
 * negative errno that has been said. */
static int listen_take(Talk *talk, Listen *listen) {
        bool more = true;

        for (unsigned i = 0; more && i < LISTEN_TURN_MAX && !listen_is_done(talk, listen); i++) {
                DirectMessage *m;
                int r;

                r = direct_receive(talk->client, 0, &m);
                if (r < 0) { /* -EAGAIN; a lost connection is talk_turn()'s to tell */
                        more = false;
                        break;
                }
                r = listen_message(talk, listen, m);
                direct_message_free(m);
                if (r < 0)
                        return r;
        }
        if (fflush(stdout) == 0)
                return more;
        talk_say(talk, "cannot write to stdout: %s", strerror(errno));
        return -EIO;
}

static int listen_loop(Talk *talk, Listen *listen) {
        for (;;) {
                int r;

                r = listen_take(talk, listen);
                if (r < 0)
                        return -EIO;
                if (listen_is_done(talk, listen))
                        return direct_flush(talk->client, talk->timeout_usec); /* echoes */
                r = talk_turn(talk, -1, r > 0 ? 0 : DIRECT_FOREVER);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
        }
}

int talk_listen(Talk *talk, int argc, char **argv) {
        Listen listen = { .sink = SINK_NULL };
        int r;

        if (talk->output) {
                r = sink_open(&listen.sink, talk->output);
                if (r < 0) {
                        talk_say(talk, "cannot use the directory '%s': %s", talk->output, strerror(-r));
                        return TALK_EXIT_FAILURE;
                }
        }

        talk->stays = true;
        talk->takes_messages = true;
        talk->max_message = talk->echo ? LISTEN_MAX_REQUEST : LISTEN_MAX_MESSAGE;
        r = talk_connect(talk);
        if (r == 0) {
                talk->userdata = &listen;
                talk->on_event = listen_on_event;
                direct_set_send_timeout(talk->client, talk->timeout_usec); /* for echoes */
                direct_watch(talk->client, 0, 1);
                listen_ask_names(talk, &listen);
                talk_say(talk, "listening as %s (%" PRIu64 ")", direct_get_name(talk->client), direct_get_id(talk->client));

                r = listen_loop(talk, &listen);
                if (r == -EINTR && talk->count == 0)
                        r = 0; /* without a count, that is how it ends */
                if (r == -EIO)
                        r = TALK_EXIT_FAILURE;
                else if (r < 0)
                        r = talk_fail(talk, r, "listening");
        }

        talk->on_event = NULL;
        talk->userdata = NULL;
        progress_end(&talk->progress);
        sink_deinit(&listen.sink);
        names_deinit(&listen.names);
        return r;
}
