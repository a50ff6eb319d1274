/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service that is driven by hand, in the same process and thread as the client: it says what the test wants, right or wrong. */

#include <stdbool.h>
#include <stdint.h>

#include "client/directclient.h"
#include "protocol/wire.h"

typedef struct Fake {
        int listen_fd;
        int fd;
        char address[128];
        uint8_t in[2 * WIRE_FRAME_MAX];
        size_t n_in;
} Fake;

/* A frame that the client sent */
typedef struct FakeFrame {
        WireHeader header;
        uint8_t payload[WIRE_PAYLOAD_MAX];
} FakeFrame;

/* What a program was told: for fake_on_event(), whose userdata this is */
typedef struct FakeEvents {
        DirectEvent events[64];
        size_t n;
        bool without_links; /* CONNECTED and DISCONNECTED are not kept */
} FakeEvents;

void fake_on_event(DirectClient *client, const DirectEvent *event, void *userdata);

void fake_init(Fake *fake);
void fake_init_local(Fake *fake, const char *path); /* listens on a local socket instead */
void fake_deinit(Fake *fake);

/* Takes the connection that is there, or will be. */
void fake_accept(Fake *fake);

/* Ends it: with FIN, or with RST. */
void fake_close(Fake *fake);
void fake_reset(Fake *fake);

/* Runs the client until it has sent a frame, which has to be of this type. */
void fake_expect(Fake *fake, DirectClient *client, WireType type, FakeFrame *ret);

/* The same for DATA. Questions of the client whether its target is there come before that, and are answered: it is. */
void fake_expect_data(Fake *fake, DirectClient *client, FakeFrame *ret);

/* Acknowledges a frame, and all before it in its flow. */
void fake_ack(Fake *fake, const FakeFrame *data);

/* True if a frame of the client has arrived already. */
bool fake_take(Fake *fake, FakeFrame *ret);

void fake_send_bytes(Fake *fake, const void *data, size_t size);
void fake_send(Fake *fake, const WireHeader *header, const void *payload, size_t size);
void fake_send_data(Fake *fake, uint64_t source, uint8_t flags, uint32_t stream, uint32_t tag, const void *payload, size_t size);
/* The same with a number in its flow. */
void fake_send_reliable(Fake *fake, uint64_t source, uint8_t flags, uint32_t stream, uint64_t sequence, const void *payload,
                        size_t size);
void fake_send_welcome(Fake *fake, uint64_t id, const char *name);
void fake_send_refused(Fake *fake, uint16_t code, const char *text);
void fake_send_goodbye(Fake *fake, uint16_t code, uint32_t retry_after_ms, const char *text);
void fake_send_presence(Fake *fake, uint8_t event, uint8_t reason, uint64_t id, const char *name);

/* The answer to a question that was received. */
void fake_answer(Fake *fake, const FakeFrame *question, uint8_t flags, const void *payload, size_t size);

/* From a new handle to an accepted one, with id 1. */
void fake_connect(Fake *fake, DirectClient *client);

/* Waits for the client, whose link was lost, to connect again, and takes its HELLO. */
void fake_expect_hello(Fake *fake, DirectClient *client, FakeFrame *ret);

/* The client asks whether `target` is there; and the answer. */
void fake_expect_watch(Fake *fake, DirectClient *client, uint64_t target, FakeFrame *ret);
void fake_answer_watch(Fake *fake, const FakeFrame *question, uint8_t state);

/* Runs the client until the socket and the library have nothing left to do. */
void fake_settle(DirectClient *client);
