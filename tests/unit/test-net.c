/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Addresses between text and socket, and listeners. What is served through them is tested with the whole service, in
 * tests/integration. */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "service/net/listener.h"
#include "service/net/net.h"
#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"
#include "tests/unit/temp-directory.h"

static void setup(void) {
        temp_directory_make();
}

static void teardown(void) {
        temp_directory_remove();
}

/* Its first address, as text */
static const char *parse_and_format(const char *text) {
        static char formatted[ADDRESS_TEXT_MAX];
        const char *why = NULL;
        Address *addresses;
        size_t n;
        int r;

        r = address_parse(text, &addresses, &n, &why);
        ck_assert_msg(r == 0, "%s: %s", text, why);
        ck_assert_uint_ge(n, 1);
        address_format(&addresses[0], formatted);
        free(addresses);
        return formatted;
}

START_TEST(good_addresses) {
        static const char *const same[] = {
                "127.0.0.1:20000", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:20000", "[::]:1", "[fe80::1234]:99",
                "unix:/run/x.sock", "unix:/",
        };
        char path[sizeof(((struct sockaddr_un *) NULL)->sun_path) + 6] = "unix:/";
        struct addrinfo *list;

        for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
                ck_assert_str_eq(parse_and_format(same[i]), same[i]);
        ck_assert_str_eq(parse_and_format("127.0.0.1:00080"), "127.0.0.1:80");
        ck_assert_str_eq(parse_and_format("[0:0::1]:1"), "[::1]:1");
        if (getaddrinfo("localhost", "7", NULL, &list) == 0) { /* a bare container may have no /etc/hosts */
                freeaddrinfo(list);
                ck_assert_ptr_nonnull(strstr(parse_and_format("localhost:7"), ":7"));
        }
        memset(path + 6, 'x', 106);
        ck_assert_str_eq(parse_and_format(path), path); /* 107 bytes of path */
}
END_TEST

START_TEST(bad_addresses) {
        static const struct { const char *text, *why; } cases[] = {
                { "", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { "localhost", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { "20000", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { ":20000", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { "localhost:", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { "[]:1", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { ":", "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH" },
                { "::1", "an IPv6 address goes in brackets, as in [::1]:20000" },
                { "::1:20000", "an IPv6 address goes in brackets, as in [::1]:20000" },
                { "[::1]", "an IPv6 address goes in brackets, as in [::1]:20000" },
                { "a:b:1", "an IPv6 address goes in brackets, as in [::1]:20000" },
                { "localhost:http", "a port is a number from 0 to 65535" },
                { "localhost:65536", "a port is a number from 0 to 65535" },
                { "localhost:100000", "a port is a number from 0 to 65535" },
                { "localhost:99999999999999999999", "a port is a number from 0 to 65535" },
                { "localhost:-1", "a port is a number from 0 to 65535" },
                { "localhost:+1", "a port is a number from 0 to 65535" },
                { "localhost: 1", "a port is a number from 0 to 65535" },
                { "localhost:1 ", "a port is a number from 0 to 65535" },
                { "unix:", "the path of a local socket begins with /" },
                { "unix:run/x", "the path of a local socket begins with /" },
                { "unix:@abstract", "the path of a local socket begins with /" },
        };
        char long_text[400] = "unix:/";
        Address *addresses;
        const char *why;
        size_t n;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                why = "";
                ck_assert_int_eq(address_parse(cases[i].text, &addresses, &n, &why), -EINVAL);
                ck_assert_msg(strcmp(why, cases[i].why) == 0, "%s: %s", cases[i].text, why);
        }
        memset(long_text + 6, 'x', 107);
        ck_assert_int_eq(address_parse(long_text, &addresses, &n, &why), -ENAMETOOLONG);
        ck_assert_str_eq(why, "the path of a local socket has at most 107 bytes");
        memset(long_text, 'x', 300);
        strcpy(long_text + 300, ":1");
        ck_assert_int_eq(address_parse(long_text, &addresses, &n, &why), -ENAMETOOLONG);
        ck_assert_str_eq(why, "the host name is too long");
        ck_assert_int_eq(address_parse("256.1.1.1.invalid:1", &addresses, &n, &why), -EADDRNOTAVAIL);
        ck_assert_ptr_nonnull(why); /* what the resolver says */
}
END_TEST

START_TEST(other_addresses_as_text) {
        Address unnamed = { .size = sizeof(sa_family_t) }, unknown = { .size = sizeof(struct sockaddr) };
        char text[ADDRESS_TEXT_MAX];

        unnamed.storage.ss_family = AF_UNIX;
        address_format(&unnamed, text);
        ck_assert_str_eq(text, "unix:");
        unknown.storage.ss_family = AF_APPLETALK;
        address_format(&unknown, text);
        ck_assert_str_eq(text, "?");
}
END_TEST

/* Listeners */

static int listen_on(const char *text, Listener **ret_listener, const char **ret_why) {
        Address *addresses;
        size_t n;
        int r;

        ck_assert_int_eq(address_parse(text, &addresses, &n, ret_why), 0);
        r = listener_new(&addresses[0], ret_listener, ret_why);
        free(addresses);
        return r;
}

static const char *local(const char *name) {
        static char text[TEMP_PATH_MAX];

        snprintf(text, sizeof(text), "unix:%s", temp_path(name));
        return text;
}

static int connect_to(const char *text) {
        const char *why;
        Address *addresses;
        size_t n;
        int fd;

        ck_assert_int_eq(address_parse(text, &addresses, &n, &why), 0);
        fd = socket(addresses[0].storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(fd, 0);
        if (connect(fd, (struct sockaddr *) &addresses[0].storage, addresses[0].size) < 0) {
                close(fd);
                fd = -errno;
        }
        free(addresses);
        return fd;
}

static void accept_one(Listener *l) {
        Address peer;
        int client, fd;

        while (listener_accept(l, &fd, &peer) == 0)
                close(fd); /* of one who has looked whether this is a live one */
        ck_assert_int_eq(listener_accept(l, &fd, &peer), -EAGAIN);
        client = connect_to(l->text);
        ck_assert_int_ge(client, 0);
        ck_assert_int_eq(listener_accept(l, &fd, &peer), 0);
        ck_assert_int_eq(peer.storage.ss_family == AF_UNIX, l->local);
        ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        close(client);
}

/* What comes over networks has what the host has chosen for those. */
static void check_congestion(const Listener *l, bool is_loopback) {
        char own[16] = "", usual[16] = "";
        socklen_t size = sizeof(own) - 1;
        int fd;

        ck_assert_int_eq(getsockopt(l->fd, IPPROTO_TCP, TCP_CONGESTION, own, &size), 0);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        size = sizeof(usual) - 1;
        ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, usual, &size), 0);
        close(fd);
        ck_assert_str_eq(own, is_loopback ? "reno" : usual);
}

START_TEST(tcp) {
        Listener *l, *second;
        const char *why;

        ck_assert_int_eq(listen_on("127.0.0.1:0", &l, &why), 0);
        ck_assert_int_eq(strncmp(l->text, "127.0.0.1:", 10), 0);
        ck_assert_str_ne(l->text, "127.0.0.1:0"); /* the port that the kernel has chosen */
        ck_assert(!l->local);
        accept_one(l);
        check_congestion(l, true);
        ck_assert_int_eq(listener_new_from_fd(dup(l->fd), &second), 0);
        check_congestion(second, true);
        listener_free(second);
        ck_assert_int_eq(listen_on(l->text, &second, &why), -EADDRINUSE);
        ck_assert_str_eq(why, "it is in use; is another service running?");
        listener_free(l);

        ck_assert_int_eq(listen_on("192.0.2.1:0", &l, &why), -EADDRNOTAVAIL); /* nobody's (RFC 5737) */
        ck_assert_str_eq(why, strerror(EADDRNOTAVAIL));

        ck_assert_int_eq(listen_on("0.0.0.0:0", &l, &why), 0);
        check_congestion(l, false);
        listener_free(l);
}
END_TEST

START_TEST(a_local_socket) {
        Listener *l, *second;
        const char *why;
        struct stat st;

        ck_assert_int_eq(listen_on(local("s"), &l, &why), 0);
        ck_assert_str_eq(l->text, local("s"));
        ck_assert(l->local);
        ck_assert_int_eq(stat(temp_path("s"), &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0666);
        accept_one(l);

        /* A live one is not replaced. */
        ck_assert_int_eq(listen_on(local("s"), &second, &why), -EADDRINUSE);
        ck_assert_str_eq(why, "it is in use; is another service running?");
        accept_one(l);
        listener_free(l);
        ck_assert_int_lt(stat(temp_path("s"), &st), 0);
        ck_assert_int_eq(errno, ENOENT);

        ck_assert_int_eq(listen_on(local("none/s"), &l, &why), -ENOENT);
        ck_assert_str_eq(why, strerror(ENOENT));
}
END_TEST

static void leave_stale(const char *name) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd;

        strcpy(sun.sun_path, temp_path(name));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
        ck_assert_int_eq(listen(fd, 1), 0);
        close(fd);
}

/* What a service that was killed has left is replaced, and removed at the end. */
START_TEST(a_stale_local_socket) {
        const char *why;
        Listener *l;

        leave_stale("s");
        temp_write("s.lock", "");
        ck_assert_int_eq(listen_on(local("s"), &l, &why), 0);
        accept_one(l);
        listener_free(l);
        ck_assert_int_eq(rmdir(temp_directory), 0); /* nothing is in it */
        ck_assert_int_eq(mkdir(temp_directory, 0700), 0);
}
END_TEST

/* Whoever has locked the path may be about to replace what is there. */
START_TEST(a_locked_local_socket) {
        const char *why;
        struct stat st;
        Listener *l;
        int fd;

        leave_stale("s");
        fd = open(temp_write("s.lock", ""), O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(flock(fd, LOCK_EX), 0);
        ck_assert_int_eq(listen_on(local("s"), &l, &why), -EADDRINUSE);
        ck_assert_str_eq(why, "it is in use; is another service running?");
        ck_assert_int_eq(access(temp_path("s"), F_OK), 0);
        ck_assert_int_eq(access(temp_path("s.lock"), F_OK), 0);
        close(fd);

        /* What is no lock is somebody's file, and so is what a link leads to. */
        temp_write("s.lock", "precious");
        ck_assert_int_eq(listen_on(local("s"), &l, &why), -EEXIST);
        ck_assert_str_eq(why, "the file that is to lock it, of the same name with .lock, is something else");
        ck_assert_int_eq(stat(temp_path("s.lock"), &st), 0);
        ck_assert_int_eq(st.st_size, 8);
        ck_assert_int_eq(unlink(temp_path("s.lock")), 0);
        temp_mkdir("s.lock");
        ck_assert_int_eq(listen_on(local("s"), &l, &why), -EEXIST);
        ck_assert_int_eq(rmdir(temp_path("s.lock")), 0);
        ck_assert_int_eq(symlink("elsewhere", temp_path("s.lock")), 0);
        ck_assert_int_eq(listen_on(local("s"), &l, &why), -EEXIST);
        ck_assert_int_lt(access(temp_path("elsewhere"), F_OK), 0);
        ck_assert_int_eq(access(temp_path("s"), F_OK), 0);
}
END_TEST

/* A service that starts, and if it has the path, is the one there that clients reach, and stops. */
static int start_and_stop(void) {
        struct stat before, after;
        const char *why;
        Listener *l;
        int r, client, fd;
        Address peer;

        r = listen_on(local("s"), &l, &why);
        if (r < 0)
                return r == -EADDRINUSE ? 0 : 1;
        if (stat(temp_path("s"), &before) < 0)
                return 2;
        client = connect_to(l->text);
        if (client < 0)
                return 3;
        while (listener_accept(l, &fd, &peer) == 0) {
                struct ucred ucred;
                socklen_t size = sizeof(ucred);

                if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) == 0 && ucred.pid == getpid())
                        client = close(client);
                close(fd);
        }
        if (client != 0)
                return 4; /* somebody else has accepted */
        if (stat(temp_path("s"), &after) < 0 || after.st_ino != before.st_ino)
                return 5;
        listener_free(l);
        return 0;
}

/* Those that start at the same time do not take each other's file for one that nobody listens on any more. */
START_TEST(a_contended_local_socket) {
        enum { N_PROCESSES = 4, N_ROUNDS = 500 };
        pid_t pids[N_PROCESSES];
        int status;

        leave_stale("s");
        for (size_t i = 0; i < N_PROCESSES; i++) {
                pids[i] = fork();
                ck_assert_int_ge(pids[i], 0);
                if (pids[i] > 0)
                        continue;
                for (size_t k = 0; k < N_ROUNDS; k++) {
                        int r = start_and_stop();

                        if (r != 0)
                                _exit(r);
                }
                _exit(0);
        }
        for (size_t i = 0; i < N_PROCESSES; i++) {
                ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
                ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %zu has ended with %#x", i,
                              (unsigned) status);
        }
        ck_assert_int_lt(access(temp_path("s"), F_OK), 0);
        ck_assert_int_lt(access(temp_path("s.lock"), F_OK), 0);
}
END_TEST

/* A live one whose backlog is full is no stale one. */
START_TEST(a_busy_local_socket) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd, client[2];
        const char *why;
        Listener *l;

        strcpy(sun.sun_path, temp_path("s"));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
        ck_assert_int_eq(listen(fd, 0), 0);
        for (size_t i = 0; i < 2; i++) {
                client[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
                (void) connect(client[i], (struct sockaddr *) &sun, sizeof(sun));
        }
        ck_assert_int_eq(listen_on(local("s"), &l, &why), -EADDRINUSE);
        ck_assert_int_eq(access(temp_path("s"), F_OK), 0);
        for (size_t i = 0; i < 2; i++)
                close(client[i]);
        close(fd);
}
END_TEST

/* What is no socket is somebody's file, and so is what a link leads to. */
START_TEST(a_file_is_not_replaced) {
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        const char *path = temp_write("file", "precious"), *why;
        char text[TEMP_PATH_MAX];
        struct stat st;
        Listener *l;
        int fd;

        ck_assert_int_eq(listen_on(local("file"), &l, &why), -EADDRINUSE);
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_int_eq(st.st_size, 8);

        strcpy(sun.sun_path, temp_path("stale"));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
        close(fd);
        ck_assert_int_eq(symlink("stale", temp_path("link")), 0);
        ck_assert_int_eq(listen_on(local("link"), &l, &why), -EADDRINUSE);
        ck_assert_int_gt(readlink(temp_path("link"), text, sizeof(text)), 0);
}
END_TEST

START_TEST(from_a_descriptor) {
        int fd[2], listening;
        const char *why;
        Listener *l, *taken;

        ck_assert_int_eq(listener_new_from_fd(-1, &taken), -EINVAL);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        ck_assert_int_eq(listener_new_from_fd(fd[0], &taken), -EINVAL);
        ck_assert_int_eq(fcntl(fd[0], F_GETFD) < 0, 0); /* not closed */
        close(fd[0]);
        close(fd[1]);
        fd[0] = socket(AF_INET, SOCK_DGRAM, 0);
        ck_assert_int_eq(listener_new_from_fd(fd[0], &taken), -EINVAL);
        close(fd[0]);

        /* The file of a socket that the manager has made is the manager's. */
        ck_assert_int_eq(listen_on(local("s"), &l, &why), 0);
        listening = dup(l->fd);
        ck_assert_int_eq(fcntl(listening, F_SETFL, 0), 0); /* systemd's block */
        ck_assert_int_eq(listener_new_from_fd(listening, &taken), 0);
        ck_assert_str_eq(taken->text, local("s"));
        ck_assert(taken->local);
        ck_assert_ptr_null(taken->lock.path); /* nor does it need a lock */
        accept_one(taken);
        listener_free(taken);
        ck_assert_int_eq(access(temp_path("s"), F_OK), 0);
        listener_free(l);
}
END_TEST

/* Leaves nothing on the stack that happens to be zero. */
static void __attribute__((noinline)) dirty_stack(void) {
        volatile uint8_t garbage[16 * 1024];

        for (size_t i = 0; i < sizeof(garbage); i++)
                garbage[i] = 0xa5;
}

static void out_of_descriptors(void *userdata) {
}

START_TEST(net) {
        FakeNet *fake = fake_net_new(NULL);
        const char *why;
        char expected[ADDRESS_TEXT_MAX];
        Net *n;

        ck_assert_int_eq(net_new(fake->router, FAKE_SEC, out_of_descriptors, NULL, &n), 0);
        ck_assert_ptr_null(net_get_address(n, 0));
        dirty_stack();
        ck_assert_int_eq(net_listen(n, "nonsense", &why), -EINVAL);
        ck_assert_str_eq(why, "an address is HOST:PORT, [IPV6]:PORT or unix:/PATH");
        ck_assert_int_eq(net_listen(n, local("s"), &why), 0);
        ck_assert_int_eq(net_listen(n, "127.0.0.1:0", &why), 0);
        ck_assert_int_eq(net_listen(n, local("s"), &why), -EADDRINUSE);
        ck_assert_int_eq(net_listen_fd(n, 0), -EINVAL);
        ck_assert_str_eq(net_get_address(n, 0), local("s"));
        snprintf(expected, sizeof(expected), "%.10s", net_get_address(n, 1));
        ck_assert_str_eq(expected, "127.0.0.1:");
        ck_assert_ptr_null(net_get_address(n, 2));
        net_stop(n);
        ck_assert_ptr_null(net_get_address(n, 0));
        ck_assert_int_lt(access(temp_path("s"), F_OK), 0);
        net_free(n);
        fake_net_free(fake);
}
END_TEST

TEST_MAIN_FIXTURE("net", setup, teardown, good_addresses, bad_addresses, other_addresses_as_text, tcp, a_local_socket,
                  a_stale_local_socket, a_locked_local_socket, a_contended_local_socket, a_busy_local_socket,
                  a_file_is_not_replaced, from_a_descriptor, net)
