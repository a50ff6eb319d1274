/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* hiredis with its calls that wait, pipelined as its README says: commands are appended, and written when there is enough for a
 * write. CLIENT REPLY OFF, because else each PUBLISH is answered, which is a message more. The reader keeps its buffer (maxbuf),
 * which that README recommends for large payloads. */

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench/library-program.h"

/* With 64 KiB, hiredis gives its buffer back to the kernel after each write, which costs thrice as much. */
enum { WRITE_BYTES = 256 * 1024 };

static const char channel[] = "bench.1";

static redisContext *context;
static size_t n_appended;

static const char *get_version(void) {
        static char version[32];

        snprintf(version, sizeof(version), "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
        return version;
}

static int check(int status) {
        if (status == REDIS_OK)
                return 0;
        fprintf(stderr, "library-redis: %s\n", context ? context->errstr : "no memory");
        return -EIO;
}

static int open_connection(unsigned port) {
        context = redisConnect("127.0.0.1", (int) port);
        return check(context && context->err == 0 ? REDIS_OK : REDIS_ERR);
}

static int flush(void) {
        int done = 0, r = 0;

        while (r >= 0 && !done)
                r = check(redisBufferWrite(context, &done));
        n_appended = 0;
        return r;
}

static int open_sender(const Place *place) {
        int r = open_connection(place->port);

        if (r >= 0)
                r = check(redisAppendCommand(context, "CLIENT REPLY OFF"));
        return r < 0 ? r : flush();
}

static int open_receiver(const Place *place) {
        redisReply *reply = NULL;
        int r = open_connection(place->receive_port);

        if (r >= 0) {
                context->reader->maxbuf = 0;
                reply = redisCommand(context, "SUBSCRIBE %s", channel);
                r = check(reply ? REDIS_OK : REDIS_ERR);
        }
        freeReplyObject(reply);
        return r;
}

static int send_message(const void *data, size_t size) {
        const char *words[] = { "PUBLISH", channel, data };
        const size_t sizes[] = { strlen("PUBLISH"), sizeof(channel) - 1, size };
        int r;

        r = check(redisAppendCommandArgv(context, 3, words, sizes));
        n_appended += size;
        return r < 0 || n_appended < WRITE_BYTES ? r : flush();
}

/* A time that is over ends its connection, so nothing can be lost unseen. */
static int receive(unsigned timeout_ms) {
        static bool has_timeout;
        redisReply *reply;
        int r;

        if (!has_timeout) {
                has_timeout = true;
                redisSetTimeout(context, (struct timeval) { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 });
        }
        r = check(redisGetReply(context, (void **) &reply));
        if (r < 0)
                return r;
        if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[2]->type == REDIS_REPLY_STRING)
                program_take(reply->element[2]->str, (size_t) reply->element[2]->len);
        freeReplyObject(reply);
        return 0;
}

int main(int argc, char **argv) {
        static const Library library = {
                .get_version = get_version,
                .window = 20000, /* Redis ends the connection at 32 MiB */
                .open_receiver = open_receiver,
                .open_sender = open_sender,
                .send = send_message,
                .flush = flush,
                .receive = receive,
        };

        return program_main(argc, argv, &library);
}
