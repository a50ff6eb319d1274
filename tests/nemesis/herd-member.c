/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Uses the library as programs do, but for connect(2), which is counted on its way. Each client watches the two next ones of its
 * process, and the first of a process watches everyone. Nobody ever leaves, so nobody may be told that somebody has; and each has
 * one message of each round, from the one before it. */

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <directclient.h>

#include "herd-member.h"

enum { N_NEIGHBOURS = 2 };

typedef struct Client {
        const HerdMember *member;
        DirectClient *handle;
        uint32_t number;
        uint64_t id;
        uint64_t n_received;
        char name[DIRECT_NAME_MAX + 1];
} Client;

static HerdCounters *the_counters;

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size) {
        int r = __real_connect(fd, address, size);

        atomic_fetch_add(&the_counters->n_connects, 1);
        if (r < 0 && errno == EAGAIN)
                atomic_fetch_add(&the_counters->n_full, 1);
        return r;
}

void herd_member_count(HerdCounters *counters) {
        the_counters = counters;
}

uint64_t herd_now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static void note(const Client *client, HerdNoteType type, uint64_t value) {
        HerdNote n = { .type = type, .client = client->number, .usec = herd_now(), .value = value };

        if (write(client->member->notes, &n, sizeof(n)) != sizeof(n))
                exit(EXIT_FAILURE); /* the driver has ended */
}

static void wrong(const Client *client, const char *what, const char *detail) {
        fprintf(stderr, "%s: %s %s\n", client->name, what, detail);
        note(client, HERD_WRONG, 0);
}

static void check(const Client *client, const char *what, int r) {
        if (r < 0)
                wrong(client, what, strerror(-r));
}

static void on_connected(Client *client, const DirectEvent *event) {
        if (client->id != 0 && (event->id != client->id || !event->resumed))
                wrong(client, "came back as another", event->name);
        if (strcmp(direct_get_name(client->handle), client->name) != 0)
                wrong(client, "came back by the name of", direct_get_name(client->handle));
        client->id = event->id;
        note(client, HERD_CONNECTED, event->id);
}

static void on_event(DirectClient *handle, const DirectEvent *event, void *userdata) {
        Client *client = userdata;

        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                on_connected(client, event);
                break;
        case DIRECT_EVENT_LEFT:
                wrong(client, "was told of the end of", event->name);
                break;
        case DIRECT_EVENT_FAILED:
        case DIRECT_EVENT_KICKED:
                wrong(client, "was ended:", event->text);
                break;
        }
}

static void on_sent(DirectClient *handle, int result, void *userdata) {
        const Client *client = direct_get_userdata(handle);

        if (result < 0)
                wrong(client, "could not send:", strerror(-result));
        else
                note(client, HERD_DELIVERED, (uintptr_t) userdata);
}

static void on_message(DirectClient *handle, DirectMessage *message, void *userdata) {
        Client *client = userdata;
        char text[64];

        client->n_received++;
        if (direct_message_get_kind(message) != (uint16_t) client->n_received) {
                snprintf(text, sizeof(text), "%u, not %" PRIu64, direct_message_get_kind(message), client->n_received);
                wrong(client, "has received", text);
        }
        direct_message_free(message);
}

static void client_start(Client *client, const HerdMember *member, uint32_t number, int epoll_fd) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

        *client = (Client) { .member = member, .number = number };
        snprintf(client->name, sizeof(client->name), "herd-%u", number);
        if (direct_client_new(&client->handle) < 0)
                errx(EXIT_FAILURE, "no memory");
        direct_set_userdata(client->handle, client);
        check(client, "name", direct_set_name(client->handle, client->name));
        check(client, "handler", direct_set_event_handler(client->handle, on_event, client));
        check(client, "handler", direct_set_message_handler(client->handle, on_message, client));
        check(client, "connect", direct_connect_start(client->handle, member->address));
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, direct_get_fd(client->handle), &event) < 0)
                err(EXIT_FAILURE, "epoll_ctl");
}

/* The first round: by now all of the herd have been connected. */
static void watch_neighbours(Client *clients, uint32_t n) {
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = 1; k <= N_NEIGHBOURS; k++)
                        check(&clients[i], "watch", direct_watch(clients[i].handle, clients[(i + k) % n].id, 1));
        check(&clients[0], "watch", direct_watch(clients[0].handle, 0, 1));
}

static void send_all(Client *clients, uint32_t n, uint64_t round) {
        for (uint32_t i = 0; i < n; i++)
                check(&clients[i], "send", direct_send_async(clients[i].handle, clients[(i + 1) % n].id, (uint16_t) round,
                                                             clients[i].name, strlen(clients[i].name), on_sent,
                                                             (void *) (uintptr_t) round));
}

void herd_member_run(const HerdMember *member) {
        struct epoll_event event = { .events = EPOLLIN };
        uint64_t round = 0;
        Client *clients;
        int epoll_fd;

        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        clients = calloc(member->n_clients, sizeof(*clients));
        if (epoll_fd < 0 || !clients || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, member->commands, &event) < 0)
                err(EXIT_FAILURE, "start");
        for (uint32_t i = 0; i < member->n_clients; i++)
                client_start(&clients[i], member, member->first + i, epoll_fd);
        for (;;) {
                Client *client;
                char byte;

                if (epoll_wait(epoll_fd, &event, 1, -1) < 0) {
                        if (errno != EINTR)
                                err(EXIT_FAILURE, "epoll_wait");
                        continue;
                }
                client = event.data.ptr;
                if (client)
                        check(client, "process", direct_process(client->handle)); /* if there is more, epoll says so again */
                else if (read(member->commands, &byte, 1) <= 0)
                        break;
                else {
                        if (++round == 1)
                                watch_neighbours(clients, member->n_clients);
                        send_all(clients, member->n_clients, round);
                }
        }
        for (uint32_t i = 0; i < member->n_clients; i++)
                clients[i].handle = direct_client_free(clients[i].handle);
        free(clients);
        close(epoll_fd);
}
