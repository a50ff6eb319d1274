/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client library against a service that says anything at all.
 *
 * The first byte chooses what the program has under way (the bits of OPERATION_…), the second how many bytes come at a time; the
 * rest is what the service says. Tags of questions count from 1 in the order below, so a corpus can answer them. */

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"
#include "fuzz.h"

enum {
        OPERATION_GREETING = 1, /* WELCOME has not come yet, and nothing else is under way */
        OPERATION_HANDLERS = 2, /* messages go to a handler; else to direct_receive() */
        OPERATION_ASK = 4,
        OPERATION_CALL = 8,
        OPERATION_NAME = 16,
        OPERATION_STREAM = 32,
        OPERATION_WATCH = 64,
        OPERATION_FREE = 128, /* the handler of the first message frees the handle */
};

static DirectClient *client;
static unsigned n_promised, n_kept;

static void look_at(DirectMessage *message) {
        const volatile uint8_t *p = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);

        if (size > 0)
                (void) (p[0] + p[size - 1]);
        fuzz_assert(direct_message_get_source(message) != 0);
        fuzz_assert(direct_message_is_last(message) || direct_message_get_stream(message) != 0 ||
                    direct_message_get_total(message) != size);
}

static void on_event(DirectClient *c, const DirectEvent *event, void *userdata) {
        fuzz_assert(event->type > 0 && event->name && event->text);
        if (event->type == DIRECT_EVENT_LEFT)
                (void) direct_watch(c, event->id + 1, 1);
}

static void on_message(DirectClient *c, DirectMessage *message, void *userdata) {
        look_at(message);
        if (direct_message_is_request(message))
                (void) direct_reply(c, message, "reply", 5);
        direct_message_free(message);
        if (userdata)
                client = direct_client_free(c);
}

static void on_called(DirectClient *c, int result, DirectMessage *reply, void *userdata) {
        fuzz_assert((result == 0) == !!reply);
        if (reply)
                look_at(reply);
        direct_message_free(reply);
        n_kept++;
}

static void on_sent(DirectClient *c, int result, void *userdata) {
        n_kept++;
}

static void on_alive(DirectClient *c, int result, const DirectAlive *alive, void *userdata) {
        fuzz_assert((result == 0) == !!alive);
        n_kept++;
}

static void on_resolved(DirectClient *c, int result, uint64_t id, void *userdata) {
        fuzz_assert((result == 0) == (id != 0));
        n_kept++;
}

static void on_list(DirectClient *c, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        for (size_t i = 1; i < n_peers; i++)
                fuzz_assert(peers[i - 1].id < peers[i].id);
        n_kept++;
}

static void begin_operations(uint8_t operations) {
        static char data[WIRE_PAYLOAD_MAX * 3];
        uint32_t stream;

        if (operations & OPERATION_ASK) {
                n_promised += direct_alive_start(client, "peer", DIRECT_FOREVER, on_alive, NULL) == 0;     /* tag 1 */
                n_promised += direct_resolve_start(client, "peer", DIRECT_FOREVER, on_resolved, NULL) == 0; /* 2 */
                n_promised += direct_list_start(client, DIRECT_FOREVER, on_list, NULL) == 0;                /* 3 */
        }
        if (operations & OPERATION_CALL)
                n_promised += direct_call_start(client, 2, 1, "call", 4, DIRECT_FOREVER, on_called, NULL) == 0; /* and a WATCH */
        if (operations & OPERATION_NAME)
                (void) direct_send_name(client, "peer", 1, "name", 4);
        if (operations & OPERATION_STREAM) {
                n_promised += direct_send_async(client, 2, 1, data, sizeof(data), on_sent, NULL) == 0;
                (void) direct_stream_begin(client, 2, 1, DIRECT_SIZE_UNKNOWN, &stream);
                (void) direct_stream_write(client, stream, "stream", 6);
        }
        if (operations & OPERATION_WATCH) {
                (void) direct_watch(client, 0, 1);
                (void) direct_watch(client, 3, 1);
        }
}

/* As if it had connected, without a network. */
static int begin(uint8_t operations) {
        int fds[2];

        fuzz_assert(direct_client_new(&client) == 0);
        fuzz_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        (void) direct_set_max_message(client, ASSEMBLY_MAX_MESSAGE_MIN);
        (void) direct_set_reconnect(client, 0);
        (void) direct_set_event_handler(client, on_event, NULL);
        if (operations & OPERATION_HANDLERS)
                (void) direct_set_message_handler(client, on_message, operations & OPERATION_FREE ? &client : NULL);
        client->link.buffer = malloc(LINK_BUFFER_SIZE);
        fuzz_assert(client->link.buffer);
        client->link.fd = fds[0];
        client->session.id = 1;
        client->session.state = operations & OPERATION_GREETING ? SESSION_GREETING : SESSION_UP;
        client_settle(client);
        begin_operations(operations);
        return fds[1];
}

/* Until it has nothing more to do, and what it says has been read. */
static void process(int fd) {
        static uint8_t nowhere[65536];
        DirectMessage *message;
        int r;

        do {
                r = client ? direct_process(client) : 0;
                fuzz_assert(r >= 0 || r == -ECANCELED);
                while (client && direct_receive(client, 0, &message) == 0) {
                        look_at(message);
                        direct_message_free(message);
                }
                while (read(fd, nowhere, sizeof(nowhere)) > 0)
                        ;
        } while (r > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t step;
        int fd;

        if (size < 2)
                return 0;
        n_promised = n_kept = 0;
        fd = begin(data[0]);
        step = data[1] > 0 ? (size_t) data[1] * data[1] : 65536;
        for (size_t i = 2; i < size && client && client->link.fd >= 0;) {
                ssize_t n = send(fd, data + i, size - i < step ? size - i : step, MSG_NOSIGNAL);

                if (n > 0)
                        i += (size_t) n;
                process(fd);
        }
        shutdown(fd, SHUT_RDWR);
        process(fd);
        client = direct_client_free(client);
        fuzz_assert(n_kept == n_promised); /* each handler exactly once */
        close(fd);
        return 0;
}
