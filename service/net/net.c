/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A turn takes up to EVENTS_MAX ready descriptors. Each is read once, one behind the other into the arena, which all links share;
 * the frames stay there until all that were written to have had their one write. So a turn costs a read for each sender and a
 * write for each target, however many messages there were. Who has sent much at once comes last, after what the others have sent
 * has gone out: so a call beside a file waits for none of it. Sockets that close during a turn are freed after it, since later
 * events of the same turn may still name them. The clock is looked at twice: when there is something to do, and when that is
 * done. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "protocol/spin.h"
#include "service/net/listener.h"
#include "service/net/net.h"

enum {
        EVENTS_MAX = 256,        /* in one turn, so that the control plane is asked again soon */
        TURN_READ_MAX = EVENTS_MAX * LINK_READ_SIZE_USUAL, /* takes some 10 ms, for which the control plane and timers wait */
        ACCEPTS_MAX = 64,        /* of one listener in one turn */
        ARENA_SIZE = 2 * 1024 * 1024, /* less is more writes where many send to many, more is no gain */
        ACCEPT_RETRY_USEC = 1000 * 1000,
        DEADLINE_ACCURACY_USEC = 10 * 1000, /* what is due in one such slice of time is done at its end, by one wake-up */
        DESCRIPTORS_RESERVED = 32, /* for the bus, the journal, files, and what libraries open */
};

TAILQ_HEAD(ListenerQueue, Listener);
TAILQ_HEAD(SocketQueue, Socket);

struct Net {
        Router *router;
        NetHandler out_of_descriptors;
        void *userdata;
        int epoll_fd;
        Spin spin;
        uint64_t now_nsec;   /* when the clock was looked at last */
        uint64_t awake_usec; /* when the last wait was over */
        uint64_t kernel_timeout_usec;
        struct ListenerQueue listeners;
        struct SocketQueue sockets;
        struct SocketQueue closed; /* to be freed at the end of the turn */
        size_t n_sockets;
        size_t n_sockets_max;
        uint64_t accept_again_usec; /* accepting pauses until then; 0: it does not */
        uint8_t *arena;
        size_t n_arena;
        size_t share; /* of TURN_READ_MAX, for each link of this turn */
};

static uint64_t now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

uint64_t net_now(void) {
        return now_nsec() / 1000;
}

static size_t find_sockets_max(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return SIZE_MAX;
        return limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? limit.rlim_cur - DESCRIPTORS_RESERVED : limit.rlim_cur / 2;
}

static void cleanup_net(Net **n) {
        net_free(*n);
}

int net_new(Router *router, uint64_t kernel_timeout_usec, NetHandler out_of_descriptors, void *userdata, Net **ret_net) {
        __attribute__((cleanup(cleanup_net))) Net *n = NULL;

        n = calloc(1, sizeof(*n));
        if (!n)
                return -ENOMEM;
        n->router = router;
        n->out_of_descriptors = out_of_descriptors;
        n->userdata = userdata;
        n->kernel_timeout_usec = kernel_timeout_usec;
        n->n_sockets_max = find_sockets_max();
        n->now_nsec = now_nsec();
        n->awake_usec = n->now_nsec / 1000;
        TAILQ_INIT(&n->listeners);
        TAILQ_INIT(&n->sockets);
        TAILQ_INIT(&n->closed);
        n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (n->epoll_fd < 0)
                return -errno;
        n->arena = malloc(ARENA_SIZE);
        if (!n->arena)
                return -ENOMEM;
        *ret_net = n;
        n = NULL;
        return 0;
}

static void stop_listening(Net *n) {
        Listener *l;

        while ((l = TAILQ_FIRST(&n->listeners))) {
                TAILQ_REMOVE(&n->listeners, l, entry);
                /* Closing does not do that for a socket that the manager holds as well: it would go on to tell of newcomers. */
                if (l->in_epoll)
                        epoll_ctl(n->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
                listener_free(l);
        }
}

Net *net_free(Net *n) {
        Socket *s;

        if (!n)
                return NULL;
        stop_listening(n);
        while ((s = TAILQ_FIRST(&n->sockets))) {
                TAILQ_REMOVE(&n->sockets, s, entry);
                link_kill(s->link); /* it may live on in another service */
                socket_free(s);
        }
        if (n->epoll_fd >= 0)
                close(n->epoll_fd);
        free(n->arena);
        free(n);
        return NULL;
}

/* Listening */

static void update_listener(Net *n, Listener *l) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = l };
        bool wanted = n->accept_again_usec == 0;

        if (l->in_epoll == wanted)
                return;
        if (epoll_ctl(n->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, &event) >= 0)
                l->in_epoll = wanted;
}

static void update_listeners(Net *n) {
        Listener *l;

        TAILQ_FOREACH(l, &n->listeners, entry)
                update_listener(n, l);
}

static void add_listener(Net *n, Listener *l) {
        if (!l->local)
                socket_set_tcp_options(l->fd, n->kernel_timeout_usec);
        TAILQ_INSERT_TAIL(&n->listeners, l, entry);
        update_listener(n, l);
}

int net_listen(Net *n, const char *text, const char **ret_why) {
        Address *addresses = NULL;
        size_t n_addresses = 0;
        int r;

        r = address_parse(text, &addresses, &n_addresses, ret_why);
        for (size_t i = 0; r >= 0 && i < n_addresses; i++) {
                Listener *l;

                r = listener_new(&addresses[i], &l, ret_why);
                if (r >= 0)
                        add_listener(n, l);
        }
        free(addresses);
        return r;
}

int net_listen_fd(Net *n, int fd) {
        Listener *l;
        int r;

        r = listener_new_from_fd(fd, &l);
        if (r < 0)
                return r;
        add_listener(n, l);
        return 0;
}

const char *net_get_address(Net *n, size_t index) {
        Listener *l;

        TAILQ_FOREACH(l, &n->listeners, entry)
                if (index-- == 0)
                        return l->text;
        return NULL;
}

void net_stop(Net *n) {
        Socket *s;

        stop_listening(n);
        TAILQ_FOREACH(s, &n->sockets, entry)
                if (s->link->state == LINK_OPENING || s->link->state == LINK_WAITING)
                        link_kill(s->link);
}

void net_set_kernel_timeout(Net *n, uint64_t usec) {
        Listener *l;

        n->kernel_timeout_usec = usec;
        TAILQ_FOREACH(l, &n->listeners, entry)
                if (!l->local)
                        socket_set_tcp_options(l->fd, usec);
}

/* Without descriptors a listener stays readable: it leaves the epoll set until a link has closed, or for a second. */
static void pause_accepting(Net *n) {
        if (n->accept_again_usec == 0)
                n->out_of_descriptors(n->userdata);
        n->accept_again_usec = n->router->now + ACCEPT_RETRY_USEC;
        update_listeners(n);
}

static void accept_again(Net *n) {
        if (n->accept_again_usec == 0)
                return;
        n->accept_again_usec = 0;
        update_listeners(n);
}

static void accept_links(Net *n, Listener *l) {
        for (size_t i = 0; i < ACCEPTS_MAX; i++) {
                Socket *s;
                Address peer;
                int fd, r;

                r = n->n_sockets < n->n_sockets_max ? listener_accept(l, &fd, &peer) : -EMFILE;
                if (r == -EAGAIN)
                        return;
                if (r < 0) {
                        pause_accepting(n);
                        return;
                }
                if (socket_new(fd, &peer, n->router, &s) < 0)
                        continue; /* without memory it is closed, and comes again */
                TAILQ_INSERT_TAIL(&n->sockets, s, entry);
                n->n_sockets++;
                socket_update(s, n->epoll_fd);
        }
}

/* Handing over */

int net_get_links(Net *n, NetLinks *ret_links) {
        NetLinks links = NET_LINKS_NULL;
        Socket *s;

        links.links = calloc(n->n_sockets + 1, sizeof(*links.links));
        links.fds = calloc(n->n_sockets + 1, sizeof(*links.fds));
        links.marks = calloc(n->n_sockets + 1, sizeof(*links.marks));
        if (!links.links || !links.fds || !links.marks) {
                net_links_deinit(&links);
                return -ENOMEM;
        }
        TAILQ_FOREACH(s, &n->sockets, entry) {
                links.links[links.n] = s->link;
                links.fds[links.n] = s->fd;
                links.marks[links.n++] = s->was_reset ? NET_MARK_RESET : 0;
        }
        *ret_links = links;
        return 0;
}

void net_links_deinit(NetLinks *links) {
        free(links->links);
        free(links->fds);
        free(links->marks);
        *links = NET_LINKS_NULL;
}

int net_passed_init(NetPassed *passed, const int *fds, const uint8_t *marks, size_t n) {
        int r = 0;

        *passed = (NetPassed) { .links = calloc(n + 1, sizeof(*passed->links)) };
        if (!passed->links)
                r = -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                Socket *s;

                if (r < 0) {
                        close(fds[i]);
                        continue;
                }
                r = socket_new_passed(fds[i], marks[i] & NET_MARK_RESET, &s);
                if (r >= 0)
                        passed->links[passed->n++] = (HandoverLink) {
                                .userdata = s, .address = s->address, .principal = s->principal };
        }
        if (r < 0)
                net_passed_deinit(passed);
        return r;
}

void net_passed_deinit(NetPassed *passed) {
        for (size_t i = 0; i < passed->n; i++) {
                if (passed->links[i].ret_link)
                        link_kill(passed->links[i].ret_link);
                link_free(passed->links[i].ret_link);
                socket_free(passed->links[i].userdata);
        }
        free(passed->links);
        *passed = NET_PASSED_NULL;
}

void net_adopt(Net *n, NetPassed *passed) {
        for (size_t i = 0; i < passed->n; i++) {
                Socket *s = passed->links[i].userdata;

                s->link = passed->links[i].ret_link;
                if (!s->link) {
                        socket_free(s);
                        continue;
                }
                TAILQ_INSERT_TAIL(&n->sockets, s, entry);
                n->n_sockets++;
        }
        passed->n = 0;
}

/* Links */

static void close_socket(Net *n, Socket *s) {
        s->link = link_free(s->link);
        close(s->fd);
        s->fd = -1;
        TAILQ_REMOVE(&n->sockets, s, entry);
        TAILQ_INSERT_TAIL(&n->closed, s, entry);
        n->n_sockets--;
        accept_again(n);
}

static void flush(Net *n, uint64_t begin_nsec) {
        Link *l;

        while ((l = router_pop_dirty(n->router))) {
                Socket *s = l->userdata;

                socket_flush(s);
                if (l->state != LINK_DEAD)
                        socket_update(s, n->epoll_fd);
                if (l->state == LINK_DEAD)
                        close_socket(n, s);
        }
        n->now_nsec = now_nsec();
        router_end_turn(n->router, n->now_nsec - begin_nsec);
        n->n_arena = 0;
}

static void read_socket(Net *n, Socket *s, uint64_t begin_nsec) {
        size_t room;

        if (ARENA_SIZE - n->n_arena < SOCKET_BUFFER_SIZE)
                flush(n, begin_nsec);
        room = ARENA_SIZE - n->n_arena;
        if (room > WIRE_FRAME_MAX + n->share)
                room = WIRE_FRAME_MAX + n->share;
        if (s->link)
                n->n_arena += socket_read(s, n->arena + n->n_arena, room);
}

static void dispatch(Net *n, const struct epoll_event *event, uint64_t begin_nsec) {
        Socket *s = event->data.ptr;

        if (s->kind == EVENT_LISTENER) {
                accept_links(n, event->data.ptr);
                return;
        }
        if (!s->link)
                return; /* closed earlier in this turn */
        if (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
                s->write_blocked = false;
                link_set_dirty(s->link);
        }
        if (link_wants_input(s->link)) {
                if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                        read_socket(n, s, begin_nsec);
        } else if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
                s->hung = true;
                link_set_dirty(s->link);
                link_hang_up(s->link);
        }
}

/* Waiting */

/* For how long nothing is due, as epoll_wait() takes it: in ms, -1 is for ever. */
static int find_timeout(const Net *n) {
        uint64_t deadline = router_get_deadline(n->router), now = n->now_nsec / 1000, msec;

        if (n->accept_again_usec != 0 && n->accept_again_usec < deadline)
                deadline = n->accept_again_usec;
        if (deadline == TIMERS_NEVER)
                return -1;
        if (deadline <= now)
                return 0;
        deadline += DEADLINE_ACCURACY_USEC - 1 - (deadline - 1) % DEADLINE_ACCURACY_USEC;
        msec = (deadline - now + 999) / 1000;
        return msec < INT_MAX ? (int) msec : INT_MAX;
}

static int look(Net *n, struct epoll_event events[static EVENTS_MAX], int timeout_msec) {
        int n_events = epoll_wait(n->epoll_fd, events, EVENTS_MAX, timeout_msec);

        n->now_nsec = now_nsec();
        return n_events;
}

/* Something is ready, and not only the control plane's descriptor. */
static bool is_traffic(const struct epoll_event *events, int n_events) {
        return n_events > 1 || (n_events == 1 && events[0].data.ptr);
}

/* Waits until there is something to do, by polling first if that promises something: timers are late by no more than that. */
static int wait_for_events(Net *n, struct epoll_event events[static EVENTS_MAX]) {
        uint64_t begin = n->now_nsec, polled = 0;
        int timeout = find_timeout(n), n_events = 0;

        n->router->load.counters.busy_usec += begin / 1000 - n->awake_usec;
        if (timeout != 0)
                polled = spin_begin(&n->spin);
        if (polled > 0 && (n_events = look(n, events, 0)) != 0)
                polled = 0; /* it was not what has found that */
        while (n_events == 0 && n->now_nsec - begin < polled)
                n_events = look(n, events, 0);
        if (n_events == 0)
                n_events = look(n, events, timeout);
        if (timeout != 0)
                spin_end(&n->spin, polled, n->now_nsec - begin, is_traffic(events, n_events));
        n->awake_usec = n->now_nsec / 1000;
        return n_events;
}

static bool is_bulk(const struct epoll_event *event) {
        const Socket *s = event->data.ptr;

        return s->kind == EVENT_SOCKET && s->link && link_is_bulk(s->link);
}

/* Returns whether the control plane has something to do. */
static bool dispatch_all(Net *n, struct epoll_event events[static EVENTS_MAX], int n_events, uint64_t begin_nsec) {
        bool control = false;
        int n_bulk = 0;

        for (int i = 0; i < n_events; i++)
                if (!events[i].data.ptr)
                        control = true;
                else if (is_bulk(&events[i]))
                        events[n_bulk++] = events[i];
                else
                        dispatch(n, &events[i], begin_nsec);
        if (n_bulk > 0 && n->n_arena > 0)
                flush(n, begin_nsec);
        for (int i = 0; i < n_bulk; i++)
                dispatch(n, &events[i], begin_nsec);
        return control;
}

bool net_turn(Net *n, bool may_sleep) {
        struct epoll_event events[EVENTS_MAX];
        uint64_t begin;
        bool control;
        Socket *s;
        int n_events;

        n_events = may_sleep ? wait_for_events(n, events) : look(n, events, 0);
        begin = n->now_nsec;
        router_set_now(n->router, begin / 1000);
        n->share = TURN_READ_MAX / (n_events > 0 ? (size_t) n_events : 1);
        control = dispatch_all(n, events, n_events, begin);
        if (n->accept_again_usec != 0 && n->router->now >= n->accept_again_usec)
                accept_again(n);
        router_tick(n->router);
        flush(n, begin);
        while ((s = TAILQ_FIRST(&n->closed))) {
                TAILQ_REMOVE(&n->closed, s, entry);
                socket_free(s);
        }
        return control || n_events == EVENTS_MAX; /* there may have been no room to say so */
}

int net_set_control(Net *n, int fd) {
        struct epoll_event event = { .events = EPOLLIN }; /* its pointer is NULL, which no link's is */

        return epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void net_set_spin(Net *n, uint64_t usec) {
        spin_set(&n->spin, usec);
}
