/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The public functions that send: they check, see to the room in the send buffer, and hand over to the sender. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "client/client.h"

enum {
        TRANSMIT_SMALL_FILE = 4096,      /* more than that is worth a stream, and less is most of what is sent from small files */
        TRANSMIT_WRITE_SIZE = 64 * 1024, /* with so much there is no sense in waiting for more to write at once */
};

uint64_t client_get_queued(const DirectClient *client) {
        return client->sender.n_queued + client->names.n_queued;
}

void client_output_later(DirectClient *client) {
        client->flush_is_due = true;
        if (client->output_since == USEC_NEVER)
                client->output_since = usec_now();
}

void client_output(DirectClient *client) {
        client_output_later(client);
        if (client->sender.n_fresh >= TRANSMIT_WRITE_SIZE && !client->link.is_blocked && !client->is_reading)
                (void) client_write(client);
}

bool client_has_room(const DirectClient *client, uint64_t size) {
        uint64_t n_queued = client_get_queued(client);

        return n_queued == 0 || usec_add(n_queued, size) <= client->send_buffer;
}

static bool room_done(const DirectClient *client, const void *userdata) {
        return client->session.state == SESSION_IDLE || client_has_room(client, *(const uint64_t *) userdata);
}

int client_reserve(DirectClient *client, size_t size) {
        uint64_t wanted = size;
        int r;

        r = client_check_session(client);
        if (r < 0)
                return r;
        if (client_has_room(client, wanted))
                return 0;
        if (client->send_timeout == 0 || client->is_dispatching) {
                if (!client->was_refused || size > client->refused_size)
                        client->refused_size = size;
                client->was_refused = true;
                return -EAGAIN;
        }
        r = client_wait_until(client, room_done, &wanted, usec_add(usec_now(), client->send_timeout));
        client_settle(client);
        return r < 0 ? r : client_check_session(client);
}

/* NULL in *ret if nobody is to be told and nothing is to expire. */
static int sent_new(DirectSendHandler handler, void *userdata, uint64_t time_to_live, Sent **ret) {
        Sent *sent = NULL;

        if (handler || time_to_live != 0) {
                sent = malloc(sizeof(*sent));
                if (!sent)
                        return -ENOMEM;
                *sent = (Sent) { .handler = handler, .userdata = userdata, .deadline = USEC_NEVER };
                if (time_to_live != 0)
                        sent->deadline = usec_add(usec_now(), time_to_live);
                list_init(&sent->expiring);
        }
        *ret = sent;
        return 0;
}

static void sent_deliver(DirectClient *client, Notice *notice) {
        Sent *sent = container_of(notice, Sent, notice);
        DirectSendHandler handler = sent->handler;
        void *userdata = sent->userdata;
        int result = sent->result;

        free(sent);
        handler(client, result, userdata);
}

static void client_undelivered(uint64_t target, int error, uint64_t count, void *userdata) {
        client_push_event(userdata, &(DirectEvent) {
                .type = DIRECT_EVENT_UNDELIVERED, .error = error, .id = target, .count = count });
}

static void client_sent(Sent *sent, void *userdata) {
        static const NoticeType type = { sent_deliver, sent_deliver };
        DirectClient *client = userdata;

        if (sent->handler) {
                inbox_push(&client->inbox, &sent->notice, &type, sizeof(*sent));
                return;
        }
        if (sent->result < 0)
                client_undelivered(sent->flow ? sent->flow->peer->by_id.key : 0, sent->result, 1, client);
        free(sent);
}

static int client_watch_target(uint64_t target, void *userdata) {
        return watches_use(&((DirectClient *) userdata)->watches, target);
}

const SenderCallbacks client_sender_callbacks = { client_sent, client_undelivered, client_watch_target };

static int client_send(DirectClient *client, const Envelope *envelope, const void *data, size_t size,
                       const DirectSendOptions *options) {
        _cleanup_free_ Sent *sent = NULL;
        int r;

        if (!data && size > 0)
                return -EINVAL;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        r = sent_new(options->handler, options->userdata, options->time_to_live_usec, &sent);
        if (r < 0)
                return r;
        r = sender_message(&client->sender, envelope, data, size, sent);
        if (r < 0)
                return r;
        sent = NULL;
        client_output(client);
        client_settle(client);
        return 0;
}

static bool target_is_valid(uint64_t target) {
        return target > 0 && target < WIRE_TARGET_GROUP;
}

static int client_send_reliable(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size,
                                const DirectSendOptions *options) {
        const Envelope envelope = { .target = target, .kind = kind, .flags = WIRE_RELIABLE };

        if (!client || !target_is_valid(target))
                return -EINVAL;
        return client_send(client, &envelope, data, size, options);
}

int direct_send(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size) {
        return client_send_reliable(client, target, kind, data, size, &(DirectSendOptions) {});
}

int direct_send_async(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size,
                      DirectSendHandler handler, void *userdata) {
        const DirectSendOptions options = { .handler = handler, .userdata = userdata };

        return client_send_reliable(client, target, kind, data, size, &options);
}

int direct_send_with(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size,
                     const DirectSendOptions *options, size_t options_size) {
        const Envelope envelope = { .target = target, .kind = kind };
        DirectSendOptions o = {};
        int r;

        if (!client || !target_is_valid(target) || !options || options_size == 0)
                return -EINVAL;
        memcpy(&o, options, options_size < sizeof(o) ? options_size : sizeof(o));
        if (o.flags == 0)
                return client_send_reliable(client, target, kind, data, size, &o);
        if (o.flags != DIRECT_SEND_UNRELIABLE || o.time_to_live_usec != 0)
                return -EINVAL;
        if (size > WIRE_PAYLOAD_MAX)
                return -EMSGSIZE;
        r = client_check_up(client);
        return r < 0 ? r : client_send(client, &envelope, data, size, &o);
}

int direct_broadcast(DirectClient *client, uint16_t kind, const void *data, size_t size) {
        const Envelope envelope = { .target = WIRE_TARGET_BROADCAST, .kind = kind, .flags = WIRE_RELIABLE };

        if (!client)
                return -EINVAL;
        return client_send(client, &envelope, data, size, &(DirectSendOptions) {});
}

/* The name is asked for when the first message to it comes. */
static int client_find_name(DirectClient *client, const char *text, Name **ret) {
        Name *name;
        int r;

        name = names_find(&client->names, text);
        if (!name) {
                name = names_add(&client->names, text);
                if (!name)
                        return -ENOMEM;
                r = client_ask_name(client, text);
                if (r < 0) {
                        names_remove(&client->names, name);
                        return r;
                }
        }
        *ret = name;
        return 0;
}

int direct_send_name(DirectClient *client, const char *name, uint16_t kind, const void *data, size_t size) {
        return direct_send_name_async(client, name, kind, data, size, NULL, NULL);
}

int direct_send_name_async(DirectClient *client, const char *name, uint16_t kind, const void *data, size_t size,
                           DirectSendHandler handler, void *userdata) {
        Envelope envelope = { .kind = kind, .flags = WIRE_RELIABLE };
        _cleanup_free_ Sent *sent = NULL;
        Name *known;
        int r;

        if (!client || !name || !wire_name_is_valid(name, strlen(name)) || (!data && size > 0))
                return -EINVAL;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        r = sent_new(handler, userdata, 0, &sent);
        if (r < 0)
                return r;
        r = client_find_name(client, name, &known);
        if (r < 0)
                return r;
        if (known->id == 0)
                r = names_wait(&client->names, known, &envelope, data, size, sent);
        else {
                envelope.target = known->id;
                r = sender_message(&client->sender, &envelope, data, size, sent);
                if (r >= 0)
                        client_output(client);
        }
        if (r >= 0)
                sent = NULL;
        client_settle(client);
        return r;
}

/* A small regular file is a message like any other. Returns 1 if it was one and is sent. */
static int client_send_small_file(DirectClient *client, const Envelope *envelope, int fd, uint64_t size,
                                  DirectSendHandler handler, void *userdata) {
        uint8_t data[TRANSMIT_SMALL_FILE];
        struct stat st;
        ssize_t n;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (size == DIRECT_SIZE_UNKNOWN)
                size = (uint64_t) st.st_size;
        if (!S_ISREG(st.st_mode) || st.st_size == 0 || size > sizeof(data))
                return 0;
        n = pread(fd, data, size, 0);
        if (n < 0)
                return -errno;
        if ((uint64_t) n < size)
                return 0; /* will fail where the handler can be told */
        n = client_send(client, envelope, data, size, &(DirectSendOptions) { .handler = handler, .userdata = userdata });
        return n < 0 ? (int) n : 1;
}

int direct_send_fd(DirectClient *client, uint64_t target, uint16_t kind, int fd, uint64_t size, DirectSendHandler handler,
                   void *userdata) {
        Envelope envelope = { .target = target, .kind = kind, .flags = WIRE_RELIABLE };
        _cleanup_free_ Sent *sent = NULL;
        _cleanup_close_ int copy = -1;
        int r;

        if (!client || fd < 0 || (!target_is_valid(target) && target != WIRE_TARGET_BROADCAST))
                return -EINVAL;
        r = client_check_session(client);
        if (r < 0)
                return r;
        r = client_send_small_file(client, &envelope, fd, size, handler, userdata);
        if (r != 0)
                return r < 0 ? r : 0;
        r = sent_new(handler, userdata, 0, &sent);
        if (r < 0)
                return r;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
                return -errno;
        r = sender_fd(&client->sender, &envelope, copy, size, sent);
        if (r < 0)
                return r;
        copy = -1;
        sent = NULL;
        client_output(client);
        client_settle(client);
        return 0;
}

int direct_stream_begin(DirectClient *client, uint64_t target, uint16_t kind, uint64_t total, uint32_t *ret_stream) {
        int r;

        if (!client || !ret_stream || (!target_is_valid(target) && target != WIRE_TARGET_BROADCAST))
                return -EINVAL;
        r = client_check_session(client);
        if (r < 0)
                return r;
        r = sender_stream_begin(&client->sender, &(Envelope) { .target = target, .kind = kind, .flags = WIRE_RELIABLE }, total,
                                ret_stream);
        client_settle(client);
        return r;
}

int direct_stream_write(DirectClient *client, uint32_t stream, const void *data, size_t size) {
        int r;

        if (!client || (!data && size > 0))
                return -EINVAL;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        r = sender_stream_write(&client->sender, stream, data, size);
        if (r < 0)
                return r == -ENOENT ? -EPIPE : r;
        client_output(client);
        client_settle(client);
        return 0;
}

int direct_stream_end(DirectClient *client, uint32_t stream) {
        return direct_stream_end_async(client, stream, NULL, NULL);
}

int direct_stream_end_async(DirectClient *client, uint32_t stream, DirectSendHandler handler, void *userdata) {
        _cleanup_free_ Sent *sent = NULL;
        int r;

        if (!client)
                return -EINVAL;
        r = client_check_session(client);
        if (r < 0)
                return r;
        r = sent_new(handler, userdata, 0, &sent);
        if (r < 0)
                return r;
        r = sender_stream_end(&client->sender, stream, sent);
        if (r < 0)
                return r == -ENOENT ? -EPIPE : r;
        sent = NULL;
        client_output(client);
        client_settle(client);
        return 0;
}

uint64_t direct_get_queued(DirectClient *client) {
        return client ? client_get_queued(client) : 0;
}

uint64_t direct_get_sent(DirectClient *client) {
        return client ? client->link.n_written : 0;
}
