/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program that uses the library as programs do, while others kill, stop and cut off whatever they like, and that notes what it
 * has sent, what came of it, and what it has received. It knows directclient.h only; what goes over the link tap.c sees. It ends
 * in order when its stdin ends, so it never outlives the driver. */

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define CONNECT_TRIES 600 /* a tenth of a second apart: whoever starts this while the service is down gets it up again by then */
#define FLUSH_USEC (60 * UINT64_C(1000000))
#define SEND_BUFFER (512 * 1024) /* small, so that -EAGAIN and WRITABLE are a part of the test */

static const Mode *const modes[] = { &exchange_mode, &file_send_mode, &file_receive_mode };

/* For the driver, a line each */
static void say(const char *text, uint64_t number) {
        printf("%s %llu\n", text, (unsigned long long)number);
        fflush(stdout);
}

void program_finish(Program *program) {
        record_log_add(&program->log, (Record){ .type = RECORD_FINISHED, .own = program->id });
        record_log_write(&program->log);
        say("finished", program->n_messages);
}

void program_fail(Program *program, const char *what, int error) {
        record_log_write(&program->log);
        fprintf(stderr, "%s: %s: %s (%s)\n", program->name, what, strerror(-error), direct_get_error(program->client));
        exit(EXIT_FAILURE);
}

static void on_list(DirectClient *client, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        Program *program = userdata;

        /* A failure comes with the end of a link, and the next one brings the next list */
        if (result < 0 || !program->mode->joined)
                return;
        for (size_t i = 0; i < n_peers; i++)
                program->mode->joined(program, peers[i].name, peers[i].id);
}

/* Who came while the link was down, no event tells. */
static void on_connected(Program *program, int resumed) {
        uint64_t before = program->id, id = direct_get_id(program->client);
        int is_new = before && before != id;

        if (is_new)
                tap_end_session();
        program->id = id;
        record_log_add(&program->log,
                       (Record){ .type = RECORD_CONNECTED, .flags = resumed ? RECORD_RESUMED : 0, .own = program->id });
        if (is_new && program->mode->session)
                program->mode->session(program);
        record_log_write(&program->log);
        say("connected", program->id);
        if (program->mode->writable)
                program->mode->writable(program);
        (void)direct_list_start(program->client, DIRECT_FOREVER, on_list, program);
}

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Program *program = userdata;

        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                on_connected(program, event->resumed);
                break;
        case DIRECT_EVENT_DISCONNECTED:
                record_log_add(&program->log, (Record){ .type = RECORD_DISCONNECTED, .reason = (uint16_t)event->reason,
                                                        .own = program->id });
                say("disconnected", program->id);
                break;
        case DIRECT_EVENT_KICKED:
        case DIRECT_EVENT_FAILED:
                program_fail(program, event->text, event->error);
        case DIRECT_EVENT_WRITABLE:
                if (program->mode->writable)
                        program->mode->writable(program);
                break;
        case DIRECT_EVENT_JOINED:
                if (program->mode->joined)
                        program->mode->joined(program, event->name, event->id);
                break;
        case DIRECT_EVENT_LEFT:
                record_log_add(&program->log, (Record){ .type = RECORD_LEFT, .reason = (uint16_t)event->reason,
                                                        .own = program->id, .peer = event->id });
                if (program->mode->left)
                        program->mode->left(program, event->id);
                break;
        }
}

/* The receipt is with the kernel before the library gets the control back: it may have acknowledged this message, but no
 * other. */
static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Program *program = userdata;

        program->mode->message(program, message);
        record_log_write(&program->log);
        direct_message_free(message);
}

static void check(Program *program, const char *what, int r) {
        if (r < 0)
                program_fail(program, what, r);
}

/* The service may be down just now, and may not have noticed yet that the last of this name is dead. */
static void connect_patiently(Program *program) {
        int r = 0;

        for (int i = 0; i < CONNECT_TRIES; i++) {
                r = direct_connect(program->client, program->server);
                if (r >= 0 || r == -EPERM || r == -EPROTO || r == -EINVAL)
                        break;
                (void)nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
        }
        check(program, "connect", r);
}

/* What the driver says: how much it may send or take by now, a line each time. Returns 0 at the end of it. */
static int hear(Program *program) {
        static uint64_t number;
        char data[256];
        ssize_t n;

        n = read(STDIN_FILENO, data, sizeof(data));
        for (ssize_t i = 0; i < n; i++)
                if (data[i] != '\n')
                        number = number * 10 + (uint64_t)(data[i] - '0');
                else {
                        program->n_messages = number;
                        number = 0;
                        program->mode->more(program);
                }
        return n > 0 || (n < 0 && errno == EINTR);
}

static void run(Program *program) {
        struct pollfd fds[] = {
                { .fd = direct_get_fd(program->client), .events = POLLIN },
                { .fd = STDIN_FILENO, .events = POLLIN },
        };

        for (;;) {
                int more, wants;

                record_log_write(&program->log);
                more = direct_process(program->client);
                check(program, "process", more);
                wants = program->mode->turn ? program->mode->turn(program) : 0;
                record_log_write(&program->log);

                if (poll(fds, 2, more || wants ? 0 : -1) < 0 && errno != EINTR)
                        program_fail(program, "poll", -errno);
                if (fds[1].revents && !hear(program))
                        return;
        }
}

static void end(Program *program) {
        uint64_t sent;
        int r;

        r = direct_flush(program->client, FLUSH_USEC);
        if (r == -ETIMEDOUT)
                fprintf(stderr, "%s: flush: not all messages have an outcome\n", program->name);
        do {
                record_log_write(&program->log);
                r = direct_process(program->client);
        } while (r > 0);
        tap_note();
        sent = direct_get_sent(program->client);
        program->client = direct_client_free(program->client);
        record_log_add(&program->log, (Record){ .type = RECORD_ENDED, .own = program->id, .sequence = sent });
        record_log_write(&program->log);
}

static const struct option options[] = {
        { "server", required_argument, NULL, 's' },   { "name", required_argument, NULL, 'n' },
        { "log", required_argument, NULL, 'l' },      { "prefix", required_argument, NULL, 'p' },
        { "clients", required_argument, NULL, 'c' },  { "messages", required_argument, NULL, 'm' },
        { "seed", required_argument, NULL, 'r' },     { "target", required_argument, NULL, 't' },
        { "file", required_argument, NULL, 'f' },     {},
};

static const Mode *parse(Program *program, int argc, char **argv) {
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        program->server = optarg;
                        break;
                case 'n':
                        program->name = optarg;
                        break;
                case 'l':
                        program->log_path = optarg;
                        break;
                case 'p':
                        program->prefix = optarg;
                        break;
                case 'c':
                        program->n_clients = strtoull(optarg, NULL, 10);
                        break;
                case 'm':
                        program->n_messages = strtoull(optarg, NULL, 10);
                        break;
                case 'r':
                        program->seed = strtoull(optarg, NULL, 10);
                        break;
                case 't':
                        program->target = optarg;
                        break;
                case 'f':
                        program->path = optarg;
                        break;
                default:
                        return NULL;
                }
        for (size_t i = 0; optind + 1 == argc && i < sizeof(modes) / sizeof(modes[0]); i++)
                if (strcmp(argv[optind], modes[i]->name) == 0)
                        return modes[i];
        return NULL;
}

int main(int argc, char **argv) {
        static Program program;

        program.mode = parse(&program, argc, argv);
        if (!program.mode || !program.name || !program.log_path || !program.server) {
                fputs("nemesis-client exchange|file-send|file-receive --server=ADDRESS --name=NAME --log=FILE\n"
                      "  exchange: --prefix=NAMES --clients=N --messages=N --seed=N\n"
                      "  file-send: --target=NAME --file=PATH\n"
                      "  file-receive: --file=PATH --messages=BYTES\n",
                      stderr);
                return EXIT_FAILURE;
        }
        record_log_open(&program.log, program.log_path);
        record_log_add(&program.log, (Record){ .type = RECORD_STARTED, .sequence = (uint64_t)getpid() });
        record_log_write(&program.log);
        tap_begin(&program);

        check(&program, "new", direct_client_new(&program.client));
        check(&program, "name", direct_set_name(program.client, program.name));
        check(&program, "handler", direct_set_event_handler(program.client, on_event, &program));
        if (program.mode->message)
                check(&program, "handler", direct_set_message_handler(program.client, on_message, &program));
        /* So that files come in parts, and messages of the exchange that are larger than a frame in one piece */
        check(&program, "size", direct_set_max_message(program.client, 1 << 20));
        check(&program, "size", direct_set_send_buffer(program.client, SEND_BUFFER));
        connect_patiently(&program);
        check(&program, "watch", direct_watch(program.client, 0, 1));
        program.mode->start(&program);
        run(&program);
        end(&program);
        return EXIT_SUCCESS;
}
