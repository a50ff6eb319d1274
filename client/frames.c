/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the bytes of the link to what each type of frame means. The service is trusted to be there, not to be right: what does
 * not fit the protocol ends the link.
 *
 * A handler that has no memory leaves everything as it was: the frame stays where it is and is looked at again a little later. */

#include <errno.h>

#include "client/client.h"
#include "protocol/framer.h"

typedef int (*FrameHandler)(DirectClient *client, const WireHeader *header, const uint8_t *payload);

static int frame_ping(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        if (header->length > WIRE_PING_MAX)
                return -EPROTO;
        return sender_control(&client->sender, &(WireHeader) { .length = header->length, .type = WIRE_PONG, .tag = header->tag },
                              payload);
}

static int frame_pong(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        client->flush_tag_back = header->tag;
        return 0;
}

static int frame_reliable(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        int r;

        r = intake_begin(&client->intake, header);
        if (r <= 0)
                return r;
        r = assembly_frame(&client->assembly, header, payload);
        intake_end(&client->intake, r != -ENOMEM);
        return r == -ENOMEM ? r : 0;
}

static int frame_broadcast(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        int r;

        r = heard_begin(&client->intake, header);
        if (r <= 0)
                return r;
        r = assembly_frame(&client->assembly, header, payload);
        if (r == -ENOMEM)
                return r;
        heard_end(&client->intake);
        return 0;
}

static int frame_data(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        if (header->source == 0 || header->source >= WIRE_TARGET_GROUP || (header->flags & WIRE_RESERVED))
                return -EPROTO;
        if ((header->flags & WIRE_RELIABLE) && header->sequence != 0)
                return header->target == WIRE_TARGET_BROADCAST || (header->flags & WIRE_BROADCAST) ?
                               frame_broadcast(client, header, payload) : frame_reliable(client, header, payload);
        (void) assembly_frame(&client->assembly, header, payload); /* a frame that fits nothing is its sender's affair */
        return 0;
}

static int frame_ack(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        if (header->length >= sizeof(uint64_t)) /* what is wrong with it is its sender's affair, too */
                (void) sender_ack(&client->sender, header->source, header->stream, header->sequence, wire_load_u64(payload));
        return 0;
}

static int frame_resend(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        if (header->length < 2 * sizeof(uint64_t))
                return 0;
        return sender_resend(&client->sender, header->source, wire_load_u64(payload), wire_load_u64(payload + 8));
}

static int frame_mark(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        if (header->source == client->session.id)
                return 0;
        return heard_mark(&client->intake, header, header->length >= sizeof(uint64_t) ? wire_load_u64(payload) : 0);
}

static int frame_lost(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        uint64_t first, last;
        int r;

        if (header->length < 2 * sizeof(uint64_t))
                return 0;
        first = wire_load_u64(payload);
        last = wire_load_u64(payload + 8);
        r = client_broadcasts_lost(client, header->source, heard_count_lost(&client->intake, header->source, first, last));
        if (r >= 0)
                heard_lost(&client->intake, header->source, first, last);
        return r;
}

static int frame_bounce(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        return client_bounce(client, header);
}

static int frame_presence(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        WirePresence presence;

        if (wire_presence_parse(payload, header->length, &presence) < 0 || presence.id == 0)
                return -EPROTO;
        client_presence(client, &presence);
        return 0;
}

static const struct {
        FrameHandler greeting; /* before we are accepted */
        FrameHandler up;
} frame_types[] = {
        [WIRE_WELCOME] = { session_welcome, NULL },
        [WIRE_REFUSED] = { session_refused, NULL },
        [WIRE_GOODBYE] = { session_goodbye, session_goodbye },
        [WIRE_PING] = { NULL, frame_ping },
        [WIRE_PONG] = { NULL, frame_pong },
        [WIRE_DATA] = { NULL, frame_data },
        [WIRE_ACK] = { NULL, frame_ack },
        [WIRE_BOUNCE] = { NULL, frame_bounce },
        [WIRE_RESEND] = { NULL, frame_resend },
        [WIRE_MARK] = { NULL, frame_mark },
        [WIRE_LOST] = { NULL, frame_lost },
        [WIRE_ANSWER] = { NULL, client_answer },
        [WIRE_PRESENCE] = { NULL, frame_presence },
};

static int client_frame(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        FrameHandler handler = NULL;

        if (header->type < N_ELEMENTS(frame_types))
                handler = client->session.state == SESSION_UP ? frame_types[header->type].up : frame_types[header->type].greeting;
        return handler ? handler(client, header, payload) : -EPROTO;
}

bool client_has_frame(const DirectClient *client) {
        size_t size;

        return framer_peek(link_get_data(&client->link), link_get_size(&client->link), &size) != FRAMER_E_MORE;
}

int client_read_frames(DirectClient *client, bool regardless) {
        const uint8_t *p;
        WireHeader header;
        size_t size;
        int r;

        /* A handler may close the link, or open the next one: then there is no data */
        while (regardless || client_wants_input(client)) {
                p = link_get_data(&client->link);
                r = framer_peek(p, link_get_size(&client->link), &size);
                if (r == FRAMER_E_MORE)
                        return 0;
                if (r == FRAMER_E_LENGTH)
                        return -EPROTO;
                wire_header_load(p, &header);
                link_consume(&client->link, size);
                client->is_reading = true;
                r = client_frame(client, &header, p + WIRE_HEADER_SIZE);
                client->is_reading = false;
                if (r == -ENOMEM) {
                        client->link.start -= size;
                        client->is_starved = true;
                        client_put_off(client);
                        return 0;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}
