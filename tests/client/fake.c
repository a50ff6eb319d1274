/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A listening socket on a port of its own, and one connection. Writes block: what a test sends fits the socket's buffers. Reads
 * wait with a bound, which is for failing only. */

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/util.h"
#include "protocol/framer.h"
#include "tests/client/fake.h"

enum { FAKE_PATIENCE_MS = 20000 };

void fake_on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        FakeEvents *told = userdata;

        if (told->without_links && (event->type == DIRECT_EVENT_CONNECTED || event->type == DIRECT_EVENT_DISCONNECTED))
                return;
        ck_assert_uint_lt(told->n, N_ELEMENTS(told->events));
        told->events[told->n++] = *event;
}

void fake_init(Fake *fake) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);

        *fake = (Fake) { .fd = -1 };
        fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fake->listen_fd, 0);
        ck_assert_int_eq(bind(fake->listen_fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fake->listen_fd, 8), 0);
        ck_assert_int_eq(getsockname(fake->listen_fd, (struct sockaddr *) &address, &size), 0);
        snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%d", ntohs(address.sin_port));
}

void fake_init_local(Fake *fake, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        *fake = (Fake) { .fd = -1 };
        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fake->listen_fd, 0);
        ck_assert_int_eq(bind(fake->listen_fd, (struct sockaddr *) &address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fake->listen_fd, 8), 0);
        snprintf(fake->address, sizeof(fake->address), "unix:%s", path);
}

void fake_close(Fake *fake) {
        if (fake->fd >= 0)
                close(fake->fd);
        fake->fd = -1;
        fake->n_in = 0;
}

void fake_reset(Fake *fake) {
        struct linger linger = { .l_onoff = 1 };

        setsockopt(fake->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        fake_close(fake);
}

void fake_deinit(Fake *fake) {
        fake_close(fake);
        close(fake->listen_fd);
}

void fake_accept(Fake *fake) {
        struct pollfd pollfd = { .fd = fake->listen_fd, .events = POLLIN };

        fake_close(fake);
        ck_assert_int_eq(poll(&pollfd, 1, FAKE_PATIENCE_MS), 1);
        fake->fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        ck_assert_int_ge(fake->fd, 0);
        setsockopt(fake->fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
}

bool fake_take(Fake *fake, FakeFrame *ret) {
        size_t size;
        ssize_t n;

        n = recv(fake->fd, fake->in + fake->n_in, sizeof(fake->in) - fake->n_in, MSG_DONTWAIT);
        if (n > 0)
                fake->n_in += (size_t) n;
        if (framer_peek(fake->in, fake->n_in, &size) != 0)
                return false;
        wire_header_load(fake->in, &ret->header);
        memcpy(ret->payload, fake->in + WIRE_HEADER_SIZE, size - WIRE_HEADER_SIZE);
        fake->n_in -= size;
        memmove(fake->in, fake->in + size, fake->n_in);
        return true;
}

static void fake_expect_any(Fake *fake, DirectClient *client, WireType type, FakeFrame *ret) {
        while (!fake_take(fake, ret)) {
                struct pollfd pollfds[] = {
                        { .fd = fake->fd, .events = POLLIN },
                        { .fd = direct_get_fd(client), .events = POLLIN },
                };

                ck_assert_msg(poll(pollfds, 2, FAKE_PATIENCE_MS) > 0, "the client does not send a frame of type %d", type);
                ck_assert_int_ge(direct_process(client), 0);
        }
}

void fake_expect(Fake *fake, DirectClient *client, WireType type, FakeFrame *ret) {
        fake_expect_any(fake, client, type, ret);
        ck_assert_int_eq(ret->header.type, type);
}

void fake_expect_watch(Fake *fake, DirectClient *client, uint64_t target, FakeFrame *ret) {
        fake_expect(fake, client, WIRE_ASK, ret);
        ck_assert_uint_eq(ret->header.kind, WIRE_ASK_WATCH);
        ck_assert_uint_eq(ret->header.length, 9);
        ck_assert_uint_eq(wire_load_u64(ret->payload), target);
        ck_assert_uint_eq(ret->payload[8], 1);
}

void fake_answer_watch(Fake *fake, const FakeFrame *question, uint8_t state) {
        uint8_t payload[9] = { 11 };

        payload[8] = state;
        fake_answer(fake, question, 0, payload, sizeof(payload));
}

void fake_expect_data(Fake *fake, DirectClient *client, FakeFrame *ret) {
        for (;;) {
                fake_expect_any(fake, client, WIRE_DATA, ret);
                if (ret->header.type != WIRE_ASK || ret->header.kind != WIRE_ASK_WATCH)
                        break;
                fake_answer_watch(fake, ret, WIRE_STATE_ALIVE);
        }
        ck_assert_int_eq(ret->header.type, WIRE_DATA);
}

void fake_ack(Fake *fake, const FakeFrame *data) {
        uint8_t credit[8];

        ck_assert_uint_ne(data->header.sequence, 0);
        wire_store_u64(credit, UINT64_C(1) << 40);
        fake_send(fake,
                  &(WireHeader) { .type = WIRE_ACK,
                                  .source = data->header.target,
                                  .target = 1,
                                  .sequence = data->header.sequence,
                                  .stream = data->header.stream },
                  credit, sizeof(credit));
}

void fake_send_bytes(Fake *fake, const void *data, size_t size) {
        for (const uint8_t *p = data; size > 0;) {
                ssize_t n = send(fake->fd, p, size, MSG_NOSIGNAL);

                ck_assert_int_gt(n, 0);
                p += n;
                size -= (size_t) n;
        }
}

void fake_send(Fake *fake, const WireHeader *header, const void *payload, size_t size) {
        uint8_t bytes[WIRE_FRAME_MAX];
        WireHeader h = *header;

        ck_assert_uint_le(size, WIRE_PAYLOAD_MAX);
        h.length = (uint32_t) size;
        wire_header_store(bytes, &h);
        if (size > 0)
                memcpy(bytes + WIRE_HEADER_SIZE, payload, size);
        fake_send_bytes(fake, bytes, WIRE_HEADER_SIZE + size); /* in one piece, so that it is there or not */
}

void fake_send_data(Fake *fake, uint64_t source, uint8_t flags, uint32_t stream, uint32_t tag, const void *payload, size_t size) {
        fake_send(fake,
                  &(WireHeader) { .type = WIRE_DATA,
                                  .flags = flags,
                                  .kind = 5,
                                  .source = source,
                                  .target = 1,
                                  .stream = stream,
                                  .tag = tag },
                  payload, size);
}

void fake_send_reliable(Fake *fake, uint64_t source, uint8_t flags, uint32_t stream, uint64_t sequence, const void *payload,
                        size_t size) {
        fake_send(fake,
                  &(WireHeader) { .type = WIRE_DATA,
                                  .flags = flags | WIRE_RELIABLE,
                                  .kind = 5,
                                  .source = source,
                                  .target = 1,
                                  .sequence = sequence,
                                  .stream = stream },
                  payload, size);
}

void fake_send_welcome(Fake *fake, uint64_t id, const char *name) {
        WireWelcome welcome = {
                .version = WIRE_VERSION,
                .id = id,
                .resume_token = { 1, 2, 3 },
                .max_payload = WIRE_PAYLOAD_MAX,
                .initial_credit = 1 << 20,
                .epoch = 10,
                .name = { name, strlen(name) },
        };
        uint8_t payload[512];
        int n = wire_welcome_store(&welcome, payload, sizeof(payload));

        ck_assert_int_gt(n, 0);
        fake_send(fake, &(WireHeader) { .type = WIRE_WELCOME }, payload, (size_t) n);
}

void fake_send_refused(Fake *fake, uint16_t code, const char *text) {
        uint8_t payload[512];
        WireWriter w = wire_writer(payload, sizeof(payload));

        wire_write_text16(&w, text, strlen(text));
        fake_send(fake, &(WireHeader) { .type = WIRE_REFUSED, .kind = code }, payload, wire_writer_size(&w));
}

void fake_send_goodbye(Fake *fake, uint16_t code, uint32_t retry_after_ms, const char *text) {
        uint8_t payload[512];
        int n = wire_goodbye_store(&(WireGoodbye) { retry_after_ms, { text, strlen(text) } }, payload, sizeof(payload));

        fake_send(fake, &(WireHeader) { .type = WIRE_GOODBYE, .kind = code }, payload, (size_t) n);
}

void fake_send_presence(Fake *fake, uint8_t event, uint8_t reason, uint64_t id, const char *name) {
        uint8_t payload[512];
        int n = wire_presence_store(&(WirePresence) { 11, event, reason, id, { name, strlen(name) } }, payload, sizeof(payload));

        fake_send(fake, &(WireHeader) { .type = WIRE_PRESENCE }, payload, (size_t) n);
}

void fake_answer(Fake *fake, const FakeFrame *question, uint8_t flags, const void *payload, size_t size) {
        fake_send(fake,
                  &(WireHeader) {
                          .type = WIRE_ANSWER, .flags = flags, .kind = question->header.kind, .tag = question->header.tag },
                  payload, size);
}

void fake_expect_hello(Fake *fake, DirectClient *client, FakeFrame *ret) {
        struct pollfd pollfds[] = { { .fd = fake->listen_fd, .events = POLLIN },
                                    { .fd = direct_get_fd(client), .events = POLLIN } };

        while (poll(pollfds, 2, FAKE_PATIENCE_MS) > 0 && !(pollfds[0].revents & POLLIN))
                direct_process(client);
        fake_accept(fake);
        fake_expect(fake, client, WIRE_HELLO, ret);
}

void fake_connect(Fake *fake, DirectClient *client) {
        FakeFrame frame;

        ck_assert_int_eq(direct_connect_start(client, fake->address), 0);
        fake_accept(fake);
        fake_expect(fake, client, WIRE_HELLO, &frame);
        fake_send_welcome(fake, 1, "me");
        fake_settle(client);
        ck_assert_int_eq(direct_is_connected(client), 1);
}

void fake_settle(DirectClient *client) {
        struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };
        unsigned idle = 0;

        /* The loopback delivers at once, but not always within the call that sent: a few rounds without anything are quiet
         * enough */
        while (idle < 3) {
                int r = direct_process(client);

                ck_assert_int_ge(r, 0);
                idle = r == 0 && poll(&pollfd, 1, 5) == 0 ? idle + 1 : 0;
        }
}
