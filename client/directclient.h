/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef DIRECTCLIENT_H
#define DIRECTCLIENT_H

/* libdirectclient: send messages of any size to other programs through a DirectServer service.
 *
 * One DirectClient is one client of the service: it has a name and an id. A handle belongs to one thread at a time; the library
 * makes no thread, touches no signal, never aborts, and writes nothing to the terminal or a log.
 *
 * Results: 0 or a positive number on success, a negative errno on failure; outputs come last, are named ret_…, and stay untouched
 * on failure. All times are in microseconds; DIRECT_FOREVER waits without an end. Functions without a timeout never block, but
 * for direct_connect(). Functions that block run the event loop of the handle inside; handlers are not called meanwhile, but what
 * they would have been told is kept for the next direct_process(). Called from inside a handler, functions that block return
 * -EDEADLK.
 *
 * Delivery: each message to one client is kept here until the program that it is for has taken it, however often links break or
 * the service is killed meanwhile, and has one outcome: delivered, or failed with a reason. libdirectclient(7) has the contract.
 *
 * Errors that any function may return: -EINVAL (a bad argument, or NULL for a handle), -ENOMEM. Errors of all that need the
 * service: -ENOTCONN (never connected, or connection given up), -ECONNRESET (the session ended while the function waited). Errors
 * of all that block: -EDEADLK (called from inside a handler), -EINTR (a signal handler ran, or the program was stopped and
 * continued), -ENOBUFS (while it waited, more came in than is kept for direct_receive() and direct_process(): 4 MiB and one
 * message of the largest size). */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default) /* the library itself is compiled with hidden visibility */
#endif

typedef struct DirectClient DirectClient;
typedef struct DirectMessage DirectMessage;

#define DIRECT_FOREVER UINT64_MAX
#define DIRECT_SIZE_UNKNOWN UINT64_MAX
#define DIRECT_EVERYONE UINT64_MAX /* as the target of direct_send_fd() and direct_stream_begin(): every other client */
#define DIRECT_NAME_MAX 63 /* bytes in a name: A-Z a-z 0-9 . _ - */

/* How alive a client is. Busy is not dead: the host answers, the program has been silent for too long. */
enum {
        DIRECT_STATE_UNKNOWN = 0,
        DIRECT_STATE_ALIVE = 1,
        DIRECT_STATE_BUSY = 2,
        DIRECT_STATE_AWAY = 3, /* its link is lost, its session is kept for a while */
        DIRECT_STATE_GONE = 4
};

/* Why a client left, or a link ended */
enum {
        DIRECT_REASON_NONE = 0,
        DIRECT_REASON_LEAVING = 1,
        DIRECT_REASON_STOPPING = 2, /* the service stops */
        DIRECT_REASON_KICKED = 3,
        DIRECT_REASON_REPLACED = 4,
        DIRECT_REASON_PROTOCOL = 5,
        DIRECT_REASON_RESTARTING = 6,
        DIRECT_REASON_TOO_SLOW = 7,
        DIRECT_REASON_UNRESPONSIVE = 8,
        DIRECT_REASON_DIED = 9,
        DIRECT_REASON_LINK_LOST = 10
};

/* "alive", "busy", …; "kicked", "died", …: words for people, never NULL. */
const char *direct_state_name(int state);
const char *direct_reason_name(int reason);

/* ---- The handle ---- */

/* Makes a handle, not connected. */
int direct_client_new(DirectClient **ret_client);

/* Ends it: says GOODBYE if connected, closes, frees. What was not sent yet is dropped (direct_flush() first). Takes NULL;
 * returns NULL. Messages that were received stay valid. Whoever was promised an answer gets -ECANCELED before it returns. May be
 * called from a handler: the rest is done when that has returned, and the direct_process() that called it returns -ECANCELED. */
DirectClient *direct_client_free(DirectClient *client);

/* Before direct_connect(): the name (default: $DIRECTSERVER_NAME; else the service gives one). -EINVAL: not a valid name;
 * -EISCONN: too late. */
int direct_set_name(DirectClient *client, const char *name);

/* Before direct_connect(): what people see of this program (default: the program's name, pid and host). */
int direct_set_program(DirectClient *client, const char *program);

/* The largest message that is put together in memory (default 64 MiB); larger ones arrive as a stream of parts. At least 65536.
 * When 16 of this size are being put together at the same time, further ones arrive as streams of parts too. */
int direct_set_max_message(DirectClient *client, uint64_t bytes);

/* How many bytes the library holds, sent and not delivered yet or still to be sent, before direct_send() says -EAGAIN (default
 * 4 MiB). One message is always taken when nothing is held. */
int direct_set_send_buffer(DirectClient *client, uint64_t bytes);

/* How long direct_send() and its kin may wait for room in the send buffer (default 0: never, they return -EAGAIN at once).
 * -ETIMEDOUT if there was none in time. In a handler they do not wait. */
int direct_set_send_timeout(DirectClient *client, uint64_t usec);

/* How long functions that block look again and again before they sleep, while what they wait for comes that soon (default 0:
 * they sleep at once; at most 1000). Saves the time that it takes to be woken, at the cost of a processor while messages go to
 * and fro; after a longer wait they sleep at once, until waits are short again. A signal handler that runs while they look does
 * not end them. Of no effect on direct_process(), and so on a loop of your own. -EINVAL: more than 1000. */
int direct_set_spin(DirectClient *client, uint64_t usec);

/* Connect again by itself after a lost link (default 1: yes), to the addresses that the host name had at direct_connect(). The
 * session goes on: what was under way is sent again, and what is sent meanwhile waits. Only unreliable messages are lost. If the
 * session can't be resumed, because the link was down for longer than the service keeps it, all that was under way fails with
 * -ECONNRESET, and DIRECT_EVENT_CONNECTED has resumed 0. */
int direct_set_reconnect(DirectClient *client, int on);

/* Your own pointer, kept with the handle. */
int direct_set_userdata(DirectClient *client, void *userdata);
void *direct_get_userdata(DirectClient *client);

/* Connects, and waits until the service has accepted, at most 30 s (blocks; resolving a host name is getaddrinfo(), which blocks
 * as long as the resolver does). `address` is "HOST:PORT", "[IPV6]:PORT", "HOST" (port 20000), "unix:/PATH", or NULL:
 * $DIRECTSERVER, else the local socket ($XDG_RUNTIME_DIR/directserver.sock, then /run/directserver/directserver.sock), else
 * 127.0.0.1:20000. -ECONNREFUSED and other errors of connect(2): no service there; -ETIMEDOUT; -EADDRINUSE: the name is taken;
 * -EPERM: not authorised; -EPROTONOSUPPORT: no common version; -EUSERS: the service is full; -EPROTO: not a DirectServer;
 * -EISCONN: is connected. direct_get_error() has the words. */
int direct_connect(DirectClient *client, const char *address);

/* The same without waiting: the outcome comes as DIRECT_EVENT_CONNECTED or DIRECT_EVENT_FAILED. Resolving a host name still
 * blocks; a numeric address does not. */
int direct_connect_start(DirectClient *client, const char *address);

/* Says GOODBYE and closes; no reconnection. What is queued is dropped (direct_flush() first). The handle can connect again. */
int direct_disconnect(DirectClient *client);

/* 1 if the service has accepted and the link is up, else 0. */
int direct_is_connected(DirectClient *client);

/* The own id (0 before the first connection) and name. The name is valid until the handle is freed or reconnects as another. */
uint64_t direct_get_id(DirectClient *client);
const char *direct_get_name(DirectClient *client);

/* What went wrong last, in words for people; "" if nothing did. Valid until the next call. */
const char *direct_get_error(DirectClient *client);

/* ---- The event loop ---- */

/* A descriptor to poll for reading in your own loop; when it is readable, call direct_process() until it returns 0. It is the
 * same for the life of the handle, level-triggered, and covers timers and reconnection too. */
int direct_get_fd(DirectClient *client);

/* Reads, writes and calls handlers as far as that goes without blocking, with a bound on the work of one call. Returns 1 if
 * there may be more to do, 0 if not; -ECANCELED if a handler freed the handle. A program without a message handler takes all
 * that there is with direct_receive() afterwards: messages that merely wait do not make the descriptor readable. */
int direct_process(DirectClient *client);

/* Waits until there is something to process, at most `usec`. Returns 1 if there is, 0 if not. Blocks. */
int direct_wait(DirectClient *client, uint64_t usec);

/* Waits until each message has its outcome, direct_send_fd() and streams that were ended included, and the service has taken all
 * that has none: a program that ends now loses nothing. What comes of each message, its handler says. -ETIMEDOUT. Blocks. */
int direct_flush(DirectClient *client, uint64_t timeout_usec);

/* ---- Events ---- */

enum {
        DIRECT_EVENT_CONNECTED = 1,    /* accepted: at first, and after each reconnection (resumed 1: id and session were kept) */
        DIRECT_EVENT_DISCONNECTED = 2, /* the link is lost or the service said GOODBYE: reason, text. Reconnects if that is on */
        DIRECT_EVENT_KICKED = 3,       /* an administrator ended this client: text is the reason given. Does not reconnect */
        DIRECT_EVENT_FAILED = 4,       /* connection given up: error (negative errno), text */
        DIRECT_EVENT_WRITABLE = 5,     /* after -EAGAIN: there is room for what was refused, and for half of the send buffer */
        DIRECT_EVENT_JOINED = 6,       /* of watched clients: id, name */
        DIRECT_EVENT_LEFT = 7,         /* id, name, reason */
        DIRECT_EVENT_AWAY = 8,
        DIRECT_EVENT_BACK = 9,
        DIRECT_EVENT_BUSY = 10,
        DIRECT_EVENT_ALIVE = 11,
        DIRECT_EVENT_UNDELIVERED = 12, /* `count` messages to `id` (or `name`) that had no handler have failed: error as for a
                                          DirectSendHandler. Not for calls and replies */
        DIRECT_EVENT_LOST = 13         /* `count` broadcasts of `id` were missed and can't be had any more */
};

/* Fields that an event does not use are 0 or "". Texts are valid during the handler only. The struct may grow at its end. */
typedef struct DirectEvent {
        int type;
        int reason; /* DIRECT_REASON_… */
        int error;  /* negative errno */
        int resumed;
        uint64_t id;
        uint64_t epoch;
        const char *name;
        const char *text;
        uint64_t count;
} DirectEvent;

/* Events that come while there is no handler are not kept. */
typedef void (*DirectEventHandler)(DirectClient *client, const DirectEvent *event, void *userdata);
int direct_set_event_handler(DirectClient *client, DirectEventHandler handler, void *userdata);

/* ---- Sending ---- */

/* Called once for each message that was given a handler. 0: it is delivered, the program that it is for has taken it:
 * direct_receive() returns it or its message handler is called. Or a negative errno, and it will not be sent again; whether
 * it has arrived is not known unless said so: -ENXIO the client is gone, or never was (then nothing has arrived); -EACCES refused
 * by policy; -ETIME it was not sent in the time that it had to live (it has not arrived); -ECANCELED the handle was freed or
 * disconnected; -ECONNRESET the session ended; -EIO the descriptor of direct_send_fd() failed, or the stream was ended too early.
 * Unreliable messages: 0, handed to the kernel; -ECONNRESET, the link was lost before. */
typedef void (*DirectSendHandler)(DirectClient *client, int result, void *userdata);

/* Order: messages to one target that fit one frame (65536 bytes) arrive in the order in which they were sent, and so do the
 * parts of one larger message. Smaller messages pass larger ones, and larger ones each other, so that none waits for long. */

/* Sends `size` bytes to the client with the id `target`; `kind` is the application's own number for what kind of message it is.
 * The data is copied, and written in the next turn of the loop, or when there is enough for a write; what a loop of your own
 * sends first after its turn, at once. -EAGAIN: the send buffer is full, DIRECT_EVENT_WRITABLE will tell (or see
 * direct_set_send_timeout()); -ENOTCONN: not connected now; -EACCES: policy has refused messages to it before. */
int direct_send(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size);
int direct_send_async(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size,
                      DirectSendHandler handler, void *userdata);

enum {
        DIRECT_SEND_UNRELIABLE = 1 /* sent once, without acknowledgement: lost with a link, or with a target that is away or gone
                                      (DIRECT_EVENT_UNDELIVERED: -ENXIO, -EHOSTDOWN). Fits one frame */
};

/* All zero is how direct_send() sends. The struct may grow at its end. */
typedef struct DirectSendOptions {
        unsigned flags;
        uint64_t time_to_live_usec; /* fails with -ETIME when it has not gone out by then, because the target is away or slow;
                                       once it has, it is not called back. 0: no limit */
        DirectSendHandler handler;
        void *userdata;
} DirectSendOptions;

/* The same with options; `options_size` is sizeof(DirectSendOptions). -EMSGSIZE: an unreliable message of more than 65536 bytes;
 * -EINVAL: a flag that is not known, or a time to live for an unreliable message. */
int direct_send_with(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size,
                     const DirectSendOptions *options, size_t options_size);

/* The same to a name. The first message to a name asks the service for its id (messages queue behind the question, in order); the
 * answer is kept until that client leaves. Nobody of that name: the handler, or DIRECT_EVENT_UNDELIVERED, says -ENXIO. */
int direct_send_name(DirectClient *client, const char *name, uint16_t kind, const void *data, size_t size);
int direct_send_name_async(DirectClient *client, const char *name, uint16_t kind, const void *data, size_t size,
                           DirectSendHandler handler, void *userdata);

/* Sends to every other client that is there. A receiver that misses some, because its link was lost or it was too slow, asks for
 * them; the last 4 MiB of a client's broadcasts are kept for that. What can't be had any more it is told (DIRECT_EVENT_LOST). */
int direct_broadcast(DirectClient *client, uint16_t kind, const void *data, size_t size);

/* Sends `size` bytes (DIRECT_SIZE_UNKNOWN: to the end of the file) of `fd`, from its offset on for pipes, from 0 for regular
 * files. A file is read as it goes out, and read again where it must be sent again, so it takes no memory and must not change
 * meanwhile; of a pipe, what is not delivered yet is kept (1 MiB at most). A copy of the descriptor is held, yours may be closed.
 * A pipe is waited for without holding up anything else. Other messages pass it. handler may be NULL.
 *
 * `target` may be DIRECT_EVERYONE: a broadcast, kept as those of direct_broadcast() are. Nobody acknowledges it, so that the
 * handler is told 0 when all of it has been read and is on its way.
 *
 * A file of up to 4096 bytes is read at once, and is a message like any other: -EAGAIN (-ETIMEDOUT with
 * direct_set_send_timeout()) if the send buffer is full. Nothing else needs room in that. -EISDIR: a directory; -EBADF and what
 * else fstat(2), pread(2) and fcntl(2) say; -ENOTCONN. */
int direct_send_fd(DirectClient *client, uint64_t target, uint16_t kind, int fd, uint64_t size, DirectSendHandler handler,
                   void *userdata);

/* A large message in pieces that the program makes as it goes: begin (total may be DIRECT_SIZE_UNKNOWN), then write, then end.
 * Writing returns -EAGAIN as direct_send() does; -EMSGSIZE: more than the total; -EPIPE: not open any more, because the target
 * is gone or the session ended. Ending it before the total is reached tells the receiver that it failed. The handler says what
 * became of the whole. `target` may be DIRECT_EVERYONE, as for direct_send_fd(). */
int direct_stream_begin(DirectClient *client, uint64_t target, uint16_t kind, uint64_t total, uint32_t *ret_stream);
int direct_stream_write(DirectClient *client, uint32_t stream, const void *data, size_t size);
int direct_stream_end(DirectClient *client, uint32_t stream);
int direct_stream_end_async(DirectClient *client, uint32_t stream, DirectSendHandler handler, void *userdata);

/* Bytes taken and not delivered yet (without those of files, which are not held). */
uint64_t direct_get_queued(DirectClient *client);

/* Bytes handed to the kernel since the handle was made, all that belongs to the protocol included: to see how far a large
 * message is. */
uint64_t direct_get_sent(DirectClient *client);

/* ---- Receiving ---- */

/* With a handler, direct_process() hands each message to it (the handler owns it: direct_message_free()); without, messages wait
 * for direct_receive(). What a program does not take its senders keep: each may have some 128 to 512 KiB under way. */
typedef void (*DirectMessageHandler)(DirectClient *client, DirectMessage *message, void *userdata);
int direct_set_message_handler(DirectClient *client, DirectMessageHandler handler, void *userdata);

/* Takes the next message. -EAGAIN: none, with a timeout of 0; -ETIMEDOUT: none in time. Waits through a reconnection. Blocks if
 * there is a timeout. */
int direct_receive(DirectClient *client, uint64_t timeout_usec, DirectMessage **ret_message);

DirectMessage *direct_message_free(DirectMessage *message); /* takes NULL, returns NULL */

uint64_t direct_message_get_source(const DirectMessage *message);
uint16_t direct_message_get_kind(const DirectMessage *message);
const void *direct_message_get_data(const DirectMessage *message); /* valid until the message is freed; never NULL */
size_t direct_message_get_size(const DirectMessage *message);
int direct_message_is_broadcast(const DirectMessage *message);
int direct_message_is_request(const DirectMessage *message);

/* A message larger than max_message, or of unknown size, arrives as parts: messages of the same source and stream, in order,
 * each with the offset of its data. A whole message has stream 0, offset 0, total == size and is last. A stream whose sender has
 * gone ends with a part that is last and failed. */
uint32_t direct_message_get_stream(const DirectMessage *message);
uint64_t direct_message_get_offset(const DirectMessage *message);
uint64_t direct_message_get_total(const DirectMessage *message); /* DIRECT_SIZE_UNKNOWN until the last, if nobody said */
int direct_message_is_last(const DirectMessage *message);
int direct_message_is_failed(const DirectMessage *message);

/* ---- Calls: a message that wants a reply ---- */

/* Sends a request and waits for the reply. -ETIMEDOUT (an away target is waited for); -ENXIO: no such client; -EPIPE: it died or
 * left before it replied (at once, not at the timeout); -EREMOTEIO: it replied with an error, direct_get_error() has the words;
 * -EMSGSIZE: the reply is larger than max_message. Messages that come meanwhile are kept for direct_receive(). Blocks. */
int direct_call(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, uint64_t timeout_usec,
                DirectMessage **ret_reply);

/* The same without waiting. The handler is called once: with result 0 and the reply (which it owns), or a negative errno and
 * NULL. */
typedef void (*DirectCallHandler)(DirectClient *client, int result, DirectMessage *reply, void *userdata);
int direct_call_start(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, uint64_t timeout_usec,
                      DirectCallHandler handler, void *userdata);

/* Replies to a request, once. -EALREADY: was replied to; -EINVAL: not a request. `error` is a positive errno for the caller's
 * program; text (may be NULL) is for people. */
int direct_reply(DirectClient *client, DirectMessage *request, const void *data, size_t size);
int direct_reply_error(DirectClient *client, DirectMessage *request, int error, const char *text);

/* ---- Questions to the service ---- */

typedef struct DirectAlive {
        uint64_t id;
        int state;
        uint64_t silence_usec;        /* since anything was heard of the program */
        uint64_t kernel_silence_usec; /* since its host's kernel acknowledged anything; 0 on the local socket */
        uint64_t rtt_usec;
        char name[DIRECT_NAME_MAX + 1];
} DirectAlive;

/* How alive is `name`? A name that nobody has: success, state DIRECT_STATE_UNKNOWN. Blocks. */
int direct_alive(DirectClient *client, const char *name, uint64_t timeout_usec, DirectAlive *ret_alive);
int direct_alive_id(DirectClient *client, uint64_t id, uint64_t timeout_usec, DirectAlive *ret_alive);
typedef void (*DirectAliveHandler)(DirectClient *client, int result, const DirectAlive *alive, void *userdata);
int direct_alive_start(DirectClient *client, const char *name, uint64_t timeout_usec, DirectAliveHandler handler, void *userdata);

/* The id of `name`. -ENXIO: nobody has it. Blocks. */
int direct_resolve(DirectClient *client, const char *name, uint64_t timeout_usec, uint64_t *ret_id);
typedef void (*DirectResolveHandler)(DirectClient *client, int result, uint64_t id, void *userdata);
int direct_resolve_start(DirectClient *client, const char *name, uint64_t timeout_usec, DirectResolveHandler handler,
                         void *userdata);

typedef struct DirectPeer {
        uint64_t id;
        int state;
        char name[DIRECT_NAME_MAX + 1];
} DirectPeer;

/* All clients, by id, the own one included. Free the list with direct_list_free(). Blocks. */
int direct_list(DirectClient *client, uint64_t timeout_usec, DirectPeer **ret_peers, size_t *ret_n_peers);
DirectPeer *direct_list_free(DirectPeer *peers);
typedef void (*DirectListHandler)(DirectClient *client, int result, const DirectPeer *peers, size_t n_peers, void *userdata);
int direct_list_start(DirectClient *client, uint64_t timeout_usec, DirectListHandler handler, void *userdata);

/* Wants (on 1) or no longer wants (on 0) events of the client `id`, or of everyone (0). Returns at once; if that client is gone
 * already, DIRECT_EVENT_LEFT says so. Watches are kept across reconnections: for a client that is watched by its id, what
 * happened meanwhile is made up for. Who watches everyone compares the epochs: it grows by one with each client that joins or
 * leaves, and a gap between the event before and DIRECT_EVENT_CONNECTED means that it is time for direct_list(). */
int direct_watch(DirectClient *client, uint64_t id, int on);

/* The load of the service. `size` is sizeof(DirectLoad): the struct may grow at its end, and fields that the service does not
 * know are 0. Rates are per second over the last 1, 10 and 60 s; routing times in nanoseconds. Blocks. */
typedef struct DirectLoad {
        uint64_t uptime_usec;
        uint64_t clients, clients_away, clients_paused;
        uint64_t messages_in, messages_out, bytes_in, bytes_out;
        uint64_t messages_in_rate[3], messages_out_rate[3], bytes_in_rate[3], bytes_out_rate[3];
        uint64_t busy_permille[3]; /* share of time that the service's loop was busy */
        uint64_t routing_p50_ns, routing_p90_ns, routing_p99_ns, routing_p999_ns, routing_max_ns;
        uint64_t queued_bytes, memory_bytes, cpu_usec;
        uint64_t bounces, skipped_broadcasts, protocol_errors;
} DirectLoad;
int direct_load(DirectClient *client, uint64_t timeout_usec, DirectLoad *ret_load, size_t size);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
