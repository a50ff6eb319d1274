/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One turn of the handle's loop, and what its poller waits for.
 *
 * What is to be waited for is computed from the state of the objects in client_arm(), and nowhere else. The timer also stands
 * for work that needs no waiting: it is set to now while something lies in memory that direct_process() should see. */

#include <errno.h>
#include <sys/epoll.h>

#include "client/client.h"

/* The reads, of LINK_READ_SIZE each, after a link has failed: more than a kernel's buffer holds by default (tcp_rmem). What
 * comes on and on is no last word. */
enum { LAST_READS_MAX = 64 };

static bool session_has_link(const Session *s) {
        return s->state == SESSION_GREETING || s->state == SESSION_UP;
}

/* True if there is room for what would be read. While a blocking function waits for its answer, what comes before the answer has
 * to be kept: the bound is then larger by one message of the largest size. */
bool client_wants_input(const DirectClient *client) {
        const Inbox *inbox = &client->inbox;

        if (client->is_starved || client->sender.control.n_bytes > SENDER_CONTROL_MAX)
                return false;
        if (client->is_waiting)
                return inbox->weight <= usec_add(INBOX_WEIGHT_MAX, client->assembly.max_message);
        return !inbox->full;
}

/* The link is at its end. What the service said last, such as why, may still lie in the socket and goes first. */
static void client_link_failed(DirectClient *client, int error) {
        int r = 1;

        client->link.is_gone = true;
        for (int i = 0; r > 0 && i < LAST_READS_MAX && session_has_link(&client->session); i++) {
                r = link_read(&client->link);
                if (client_read_frames(client, true) < 0)
                        error = -EPROTO;
        }
        if (session_has_link(&client->session))
                session_link_failed(client, error);
}

static void client_broke_protocol(DirectClient *client) {
        sender_goodbye(&client->sender, &client->link, WIRE_REASON_PROTOCOL);
        session_link_failed(client, -EPROTO);
}

/* Returns true if there may be more to read. */
static bool client_read(DirectClient *client) {
        int r;

        r = link_read(&client->link);
        if (r < 0) {
                session_link_failed(client, r);
                return false;
        }
        if (client_read_frames(client, false) < 0) {
                client_broke_protocol(client);
                return false;
        }
        return r > 0;
}

/* Not before there is room for all that was refused: else who is told tries in vain, and is told again, without an end. And not
 * for every little bit of room. */
static void client_tell_writable(DirectClient *client) {
        if (!client->was_refused || client_get_queued(client) > client->send_buffer / 2 ||
            !client_has_room(client, client->refused_size))
                return;
        client->was_refused = client_push_event(client, &(DirectEvent) { .type = DIRECT_EVENT_WRITABLE }) < 0;
        if (client->was_refused)
                client_put_off(client);
}

/* Returns true if there is more to write and the socket may take it. */
bool client_write(DirectClient *client) {
        int r;

        if (!session_has_link(&client->session))
                return false;
        if (client->session.state == SESSION_UP && intake_acknowledge(&client->intake) < 0)
                client_put_off(client);
        if (!sender_has_output(&client->sender)) {
                client->output_since = USEC_NEVER;
                client->sender.n_fresh = 0; /* it waits for credit: no use in trying again with each message that joins it */
                return false;
        }
        r = sender_write(&client->sender, &client->link);
        if (r < 0 && r != -EAGAIN) {
                client_link_failed(client, r);
                return false;
        }
        if (r == 0)
                client->output_since = USEC_NEVER;
        return r > 0;
}

/* What was put off. On a new link there is nothing of that: all is said, and asked, anew. */
static void client_retry(DirectClient *client) {
        bool asks_watches = client->asks_watches;

        client->asks_watches = false;
        if (asks_watches)
                watches_renew(&client->watches);
        if (intake_retry(&client->intake) < 0)
                client_put_off(client);
}

static void client_expire(DirectClient *client, uint64_t now) {
        questions_expire(&client->questions, now);
        sender_expire(&client->sender, now);
        if (client->retry_at <= now) {
                client->retry_at = USEC_NEVER;
                client->is_starved = false;
                if (client->session.state == SESSION_UP)
                        client_retry(client);
        }
        if (client->link.fd >= 0 && link_check(&client->link, now) < 0) {
                client->link.is_given_up = true;
                client_link_failed(client, -ETIMEDOUT);
        }
}

int client_turn(DirectClient *client, uint64_t deadline) {
        PollerEvents polled;
        uint32_t events;
        bool more = false;
        uint64_t now;
        int r;

        r = poller_wait(&client->poller, deadline, &client->link, &polled);
        if (r < 0)
                return r;
        events = polled.socket;
        for (size_t i = 0; i < polled.n_pipes; i++)
                sender_pipe_ready(&client->sender, polled.pipes[i]);
        now = usec_now();
        client_expire(client, now);
        if (client->session.state == SESSION_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
                session_socket_ready(client);
        else if (session_has_link(&client->session)) {
                if (client_read_frames(client, false) < 0)
                        client_broke_protocol(client);
                else if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && client_wants_input(client))
                        more |= client_read(client);
        }
        /* Last, so that what has come in time counts for a program that comes late */
        if (client->session.deadline <= now)
                session_expire(client);
        /* Acknowledgements alone wait for what the program has to say */
        if (sender_has_output(&client->sender) && (!client->link.is_blocked || (events & EPOLLOUT)))
                more |= client_write(client);
        client_tell_writable(client); /* here, so that it is told in this call of direct_process() */
        return more;
}

bool client_has_input(const DirectClient *client) {
        return session_has_link(&client->session) && client_wants_input(client) && client_has_frame(client);
}

/* True if the program has reason to call direct_process() without anything coming in. */
static bool client_is_pending(const DirectClient *client) {
        const Inbox *inbox = &client->inbox;

        return inbox_is_waiting(inbox, client->message_handler) || (inbox->unseen && inbox->messages.first) ||
               client_has_input(client) ||
               (intake_is_due(&client->intake) && client->session.state == SESSION_UP && !client->link.is_blocked &&
                client->retry_at == USEC_NEVER);
}

static uint32_t client_get_mask(const DirectClient *client) {
        if (client->session.state == SESSION_CONNECTING)
                return EPOLLOUT;
        if (!session_has_link(&client->session))
                return 0;
        return (client_wants_input(client) ? EPOLLIN : 0) | (sender_has_output(&client->sender) ? EPOLLOUT : 0);
}

static uint64_t client_get_deadline(const DirectClient *client) {
        uint64_t deadline;

        deadline = usec_min(questions_get_deadline(&client->questions), client->session.deadline);
        deadline = usec_min(deadline, usec_min(sender_get_deadline(&client->sender), client->retry_at));
        return usec_min(deadline, client->link.stall_deadline);
}

void client_arm(DirectClient *client, bool with_pending) {
        if (link_watch(&client->link, client_get_mask(client)) < 0)
                client_link_failed(client, -EIO);
        client_tell_writable(client); /* whatever has made room */
        poller_set_timer(&client->poller, with_pending && client_is_pending(client) ? 0 : client_get_deadline(client));
}

/* What a program says between two turns of its loop: the first of it goes out at once, since to have the descriptor watched for
 * room and to be called back costs twice as much as the write. What else it says waits for the turn, so that a batch is one
 * write. */
static void client_write_first(DirectClient *client) {
        if (!client->has_turned || !sender_has_output(&client->sender) || client->link.is_blocked ||
            client->session.state != SESSION_UP)
                return;
        client->has_turned = false;
        (void) client_write(client);
}

void client_settle(DirectClient *client) {
        if (client->n_inside > 0 || !client->is_polled)
                return;
        client_write_first(client);
        client_arm(client, true);
}
