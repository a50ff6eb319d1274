/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service that may be at several addresses, of which some swallow packets and some refuse; and one that accepts and says
 * nothing. On a time of its own, which does not pass by itself. */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"
#include "tests/unit/temp-directory.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;
static FakeEvents told;
static AddressList list;
static uint64_t now, seed;

/* A listener whose queue is full, so that the kernel answers no SYN, and who fills it */
static struct {
        int fd;
        int fillers[2];
        Address address;
} hole;

/* In place of client/system.c and client/address.c */
uint64_t usec_now(void) {
        return now;
}

uint64_t tick_now(void) {
        return now;
}

uint64_t random_seed(void) {
        return seed++;
}

int address_list_resolve(const char *text, AddressList *ret) {
        *ret = list;
        return 0;
}

static Address address_of(int fd) {
        Address address = { .size = sizeof(address.storage) };

        ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &address.storage, &address.size), 0);
        return address;
}

static int bind_loopback(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_int_eq(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        return fd;
}

static void hole_init(void) {
        struct pollfd pollfd;

        hole.fd = bind_loopback();
        hole.address = address_of(hole.fd);
        ck_assert_int_eq(listen(hole.fd, 0), 0);
        for (size_t i = 0; i < N_ELEMENTS(hole.fillers); i++) {
                hole.fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                (void) connect(hole.fillers[i], (struct sockaddr *) &hole.address.storage, hole.address.size);
        }
        pollfd = (struct pollfd) { .fd = hole.fillers[0], .events = POLLOUT };
        ck_assert_int_eq(poll(&pollfd, 1, 20000), 1);
}

static void setup(void) {
        struct timespec ts;

        /* Later than the real time of the whole test, by which the handle's timer goes: that never fires */
        clock_gettime(CLOCK_MONOTONIC, &ts);
        now = (uint64_t) ts.tv_sec * USEC_PER_SEC + 1000 * USEC_PER_SEC;
        fake_init(&fake);
        hole_init();
        list = (AddressList) {};
        told = (FakeEvents) {};
        ck_assert_int_eq(direct_client_new(&client), 0);
        ck_assert_int_eq(direct_set_event_handler(client, fake_on_event, &told), 0);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
        close(hole.fd);
        for (size_t i = 0; i < N_ELEMENTS(hole.fillers); i++)
                close(hole.fillers[i]);
}

static void add(Address address) {
        list.addresses[list.n_addresses++] = address;
}

/* An address where nobody listens */
static Address refusing(void) {
        int fd = bind_loopback();
        Address address = address_of(fd);

        close(fd);
        return address;
}

/* Whatever it waits for next happens by the passing of time. Returns how long it took. */
static uint64_t expire(void) {
        uint64_t usec = client->session.deadline - now;

        now = client->session.deadline;
        ck_assert_int_ge(direct_process(client), 0);
        return usec;
}

static void connect_to_fake(void) {
        FakeEvents before = told;

        add(address_of(fake.listen_fd));
        fake_connect(&fake, client);
        told = before;
        told.n = 0;
}

static void lose_link(void) {
        fake_close(&fake);
        while (client->session.state == SESSION_UP) {
                struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

                ck_assert_int_gt(poll(&pollfd, 1, 20000), 0);
                ck_assert_int_ge(direct_process(client), 0);
        }
        ck_assert_int_eq(client->session.state, SESSION_PAUSING);
}

/* One that swallows packets has its share of the time, and the next one its turn. */
START_TEST(test_first_is_silent) {
        add(hole.address);
        add(address_of(fake.listen_fd));
        ck_assert_int_eq(direct_connect_start(client, ""), 0);
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert_int_eq(client->session.state, SESSION_CONNECTING);
        ck_assert_uint_le(expire(), 2 * USEC_PER_SEC);
        fake_accept(&fake);
        fake_expect(&fake, client, WIRE_HELLO, &frame);
        fake_send_welcome(&fake, 1, "me");
        fake_settle(client);
        ck_assert_int_eq(direct_is_connected(client), 1);

        /* It goes first from then on. */
        lose_link();
        expire();
        fake_accept(&fake);
        fake_expect(&fake, client, WIRE_HELLO, &frame);
}
END_TEST

/* The whole is not longer than with one, and the last has what is left. */
START_TEST(test_all_are_silent) {
        for (size_t n = 1; n <= ADDRESS_LIST_MAX; n++) {
                uint64_t start = now;

                list.n_addresses = 0;
                for (size_t i = 0; i < n; i++)
                        add(hole.address);
                told.n = 0;
                ck_assert_int_eq(direct_connect_start(client, ""), 0);
                for (size_t i = 0; i < n; i++) {
                        ck_assert_int_eq(client->session.state, SESSION_CONNECTING);
                        expire();
                }
                ck_assert_int_eq(client->session.state, SESSION_IDLE);
                ck_assert_uint_eq(now - start, 30 * USEC_PER_SEC);
                ck_assert_uint_eq(told.n, 1);
                ck_assert_int_eq(told.events[0].type, DIRECT_EVENT_FAILED);
                ck_assert_int_eq(told.events[0].error, -ETIMEDOUT);
        }
}
END_TEST

START_TEST(test_all_have_become_silent) {
        for (size_t n = 1; n <= ADDRESS_LIST_MAX; n++) {
                uint64_t start;

                list.n_addresses = 0;
                connect_to_fake();
                lose_link();
                client->link.addresses.n_addresses = n;
                for (size_t i = 0; i < n; i++)
                        client->link.addresses.addresses[i] = hole.address;
                expire();
                start = now;
                for (size_t i = 0; i < n; i++) {
                        ck_assert_int_eq(client->session.state, SESSION_CONNECTING);
                        expire();
                }
                ck_assert_int_eq(client->session.state, SESSION_PAUSING);
                ck_assert_uint_le(now - start, 10 * USEC_PER_SEC);
                ck_assert_int_eq(direct_disconnect(client), 0);
        }
}
END_TEST

/* One that refuses, where the service was, says that its host is there. It is asked again soon, whatever becomes of
 * the others. */
START_TEST(test_other_is_silent) {
        connect_to_fake();
        lose_link();
        client->link.addresses.n_addresses = 2;
        client->link.addresses.addresses[0] = refusing();
        client->link.addresses.addresses[1] = hole.address;
        for (int i = 0; i < 20; i++) {
                uint64_t start;

                ck_assert_int_eq(client->session.state, SESSION_PAUSING);
                ck_assert_uint_le(expire(), USEC_PER_SEC);
                for (start = now; client->session.state == SESSION_CONNECTING;)
                        expire();
                ck_assert_uint_le(now - start, 4 * USEC_PER_SEC);
        }
}
END_TEST

/* Whoever comes late finds what has happened meanwhile. */
START_TEST(test_slow_program) {
        struct pollfd pollfd;

        connect_to_fake();
        lose_link();
        now += 60 * USEC_PER_SEC;
        direct_process(client);
        fake_accept(&fake);
        now += 60 * USEC_PER_SEC;
        fake_expect(&fake, client, WIRE_HELLO, &frame);
        fake_send_welcome(&fake, 1, "me");
        pollfd = (struct pollfd) { .fd = client->link.fd, .events = POLLIN };
        ck_assert_int_eq(poll(&pollfd, 1, 20000), 1);
        now += 60 * USEC_PER_SEC;
        direct_process(client);
        ck_assert_int_eq(direct_is_connected(client), 1);
}
END_TEST

/* A service that accepts and does not answer, because it is stopped or its host is overloaded: each attempt waits for it, so it
 * is soon found to be back, and the pauses between them are short. */
START_TEST(test_hung_service) {
        connect_to_fake();
        lose_link();
        for (int i = 0; i < 10; i++) {
                ck_assert_uint_le(expire(), USEC_PER_SEC);
                fake_accept(&fake);
                fake_expect(&fake, client, WIRE_HELLO, &frame);
                ck_assert_uint_eq(expire(), 10 * USEC_PER_SEC);
                ck_assert_int_eq(client->session.state, SESSION_PAUSING);
        }
        ck_assert_uint_eq(told.n, 1); /* DISCONNECTED */
}
END_TEST

/* Its queue is full: it is asked again every 20 ms, but not for ever. */
START_TEST(test_full_queue) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        Address local = { .size = sizeof(sun) };
        int fd, filler;
        uint64_t start;

        temp_directory_make();
        strcpy(sun.sun_path, temp_path("s"));
        memcpy(&local.storage, &sun, sizeof(sun));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
        ck_assert_int_eq(listen(fd, 0), 0);
        filler = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(filler, (struct sockaddr *) &sun, sizeof(sun)), 0);

        connect_to_fake();
        lose_link();
        client->link.addresses.addresses[0] = local;
        expire();
        for (int i = 0; i < 10; i++) {
                for (start = now; now - start < 10 * USEC_PER_SEC;)
                        ck_assert_uint_eq(expire(), 20 * USEC_PER_MSEC);
                ck_assert_uint_ne(client->session.deadline - now, 20 * USEC_PER_MSEC);
                ck_assert_uint_le(expire(), USEC_PER_SEC);
        }
        close(filler);
        close(fd);
        temp_directory_remove();
}
END_TEST

TEST_MAIN_FIXTURE("client-addresses", setup, teardown, test_first_is_silent, test_all_are_silent, test_all_have_become_silent,
                  test_other_is_silent, test_slow_program, test_hung_service, test_full_queue)
