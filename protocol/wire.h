/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* direct/1 on the wire: numbers, the frame header, and the fields of control payloads. No I/O, no allocation.
 * PROTOCOL.md is the text that this follows. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
        WIRE_HEADER_SIZE = 40,
        WIRE_PAYLOAD_MAX = 65536,
        WIRE_FRAME_MAX = WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX,
        WIRE_HELLO_FRAME_MAX = 1024, /* all that the service keeps for a connection before WELCOME */
        WIRE_PING_MAX = 64,
        WIRE_NAME_MAX = 63,
        WIRE_TOKEN_SIZE = 32,
        WIRE_INSTANCE_SIZE = 16,
        WIRE_TEXT8_MAX = 255,
        WIRE_DEFAULT_PORT = 20000,
        WIRE_VERSION = 1,
};

#define WIRE_MAGIC UINT32_C(0x31524944) /* "DIR1" */

#define WIRE_TARGET_SERVICE UINT64_C(0)
#define WIRE_TARGET_GROUP (UINT64_C(1) << 63)
#define WIRE_TARGET_BROADCAST UINT64_MAX
#define WIRE_SIZE_UNKNOWN UINT64_MAX

typedef enum WireType {
        WIRE_HELLO = 0x01,
        WIRE_WELCOME = 0x02,
        WIRE_REFUSED = 0x03,
        WIRE_GOODBYE = 0x04,
        WIRE_PING = 0x05,
        WIRE_PONG = 0x06,
        WIRE_DATA = 0x10,
        WIRE_ACK = 0x11,
        WIRE_BOUNCE = 0x12,
        WIRE_RESEND = 0x13,
        WIRE_MARK = 0x14,
        WIRE_LOST = 0x15,
        WIRE_ASK = 0x20,
        WIRE_ANSWER = 0x21,
        WIRE_PRESENCE = 0x22,
} WireType;

/* Flags of DATA */
enum {
        WIRE_FIRST = 1,
        WIRE_LAST = 2,
        WIRE_RELIABLE = 4,
        WIRE_REQUEST = 8,
        WIRE_REPLY = 16,
        WIRE_BROADCAST = 32,
        WIRE_FAILED = 64,
        WIRE_RESERVED = 128,
};
enum { WIRE_ANSWER_FAILED = 1 };
enum { WIRE_MARK_BASELINE = 1 };

typedef enum WireRefusal {
        WIRE_REFUSED_VERSION = 1,
        WIRE_REFUSED_NAME_TAKEN = 2,
        WIRE_REFUSED_NAME_INVALID = 3,
        WIRE_REFUSED_NOT_AUTHORISED = 4,
        WIRE_REFUSED_PROTOCOL = 5,
        WIRE_REFUSED_FULL = 6,
        WIRE_REFUSED_RESUME = 7,
} WireRefusal;

/* GOODBYE codes, and the reasons in PRESENCE */
typedef enum WireReason {
        WIRE_REASON_NONE = 0,
        WIRE_REASON_LEAVING = 1,
        WIRE_REASON_STOPPING = 2,
        WIRE_REASON_KICKED = 3,
        WIRE_REASON_REPLACED = 4,
        WIRE_REASON_PROTOCOL = 5,
        WIRE_REASON_RESTARTING = 6,
        WIRE_REASON_TOO_SLOW = 7,
        WIRE_REASON_UNRESPONSIVE = 8,
        WIRE_REASON_DIED = 9,
        WIRE_REASON_LINK_LOST = 10,
        _WIRE_REASON_N,
} WireReason;

typedef enum WireBounce {
        WIRE_BOUNCE_NO_CLIENT = 1,
        WIRE_BOUNCE_AWAY = 2,
        WIRE_BOUNCE_POLICY = 3,
        WIRE_BOUNCE_OVERLOADED = 4,
} WireBounce;

typedef enum WireQuestion {
        WIRE_ASK_ALIVE = 1,
        WIRE_ASK_RESOLVE = 2,
        WIRE_ASK_LIST = 3,
        WIRE_ASK_WATCH = 4,
        WIRE_ASK_LOAD = 5,
} WireQuestion;

typedef enum WireState {
        WIRE_STATE_UNKNOWN = 0,
        WIRE_STATE_ALIVE = 1,
        WIRE_STATE_BUSY = 2,
        WIRE_STATE_AWAY = 3,
        WIRE_STATE_GONE = 4,
        _WIRE_STATE_N,
} WireState;

typedef enum WireEvent {
        WIRE_EVENT_JOINED = 1,
        WIRE_EVENT_LEFT = 2,
        WIRE_EVENT_AWAY = 3,
        WIRE_EVENT_BACK = 4,
        WIRE_EVENT_BUSY = 5,
        WIRE_EVENT_ALIVE = 6,
} WireEvent;

/* Words for people: "alive", "kicked", … ; "?" for a number that is not in the list. */
const char *wire_state_name(unsigned state);
const char *wire_reason_name(unsigned reason);
const char *wire_refusal_name(unsigned code);

static inline uint16_t wire_load_u16(const uint8_t *p) {
        return (uint16_t) (p[0] | p[1] << 8);
}
static inline uint32_t wire_load_u32(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}
static inline uint64_t wire_load_u64(const uint8_t *p) {
        return (uint64_t) wire_load_u32(p) | (uint64_t) wire_load_u32(p + 4) << 32;
}
static inline void wire_store_u16(uint8_t *p, uint16_t v) {
        p[0] = (uint8_t) v;
        p[1] = (uint8_t) (v >> 8);
}
static inline void wire_store_u32(uint8_t *p, uint32_t v) {
        wire_store_u16(p, (uint16_t) v);
        wire_store_u16(p + 2, (uint16_t) (v >> 16));
}
static inline void wire_store_u64(uint8_t *p, uint64_t v) {
        wire_store_u32(p, (uint32_t) v);
        wire_store_u32(p + 4, (uint32_t) (v >> 32));
}

typedef struct WireHeader {
        uint32_t length;
        uint8_t type;
        uint8_t flags;
        uint16_t kind;
        uint64_t source;
        uint64_t target;
        uint64_t sequence;
        uint32_t stream;
        uint32_t tag;
} WireHeader;

/* Both move exactly WIRE_HEADER_SIZE bytes. */
static inline void wire_header_load(const uint8_t *p, WireHeader *ret) {
        *ret = (WireHeader) {
                .length = wire_load_u32(p),
                .type = p[4],
                .flags = p[5],
                .kind = wire_load_u16(p + 6),
                .source = wire_load_u64(p + 8),
                .target = wire_load_u64(p + 16),
                .sequence = wire_load_u64(p + 24),
                .stream = wire_load_u32(p + 32),
                .tag = wire_load_u32(p + 36),
        };
}
static inline void wire_header_store(uint8_t *p, const WireHeader *h) {
        wire_store_u32(p, h->length);
        p[4] = h->type;
        p[5] = h->flags;
        wire_store_u16(p + 6, h->kind);
        wire_store_u64(p + 8, h->source);
        wire_store_u64(p + 16, h->target);
        wire_store_u64(p + 24, h->sequence);
        wire_store_u32(p + 32, h->stream);
        wire_store_u32(p + 36, h->tag);
}

/* Reads the fields of a payload in order. Past the end, or on text that is not clean UTF-8, it sets `failed` and gives zeros
 * from then on, so a caller checks once, at the end. */
typedef struct WireReader {
        const uint8_t *p;
        const uint8_t *end;
        bool failed;
} WireReader;

/* A text inside a payload: not terminated, valid as long as the payload is. */
typedef struct WireText {
        const char *data;
        size_t size;
} WireText;

static inline WireReader wire_reader(const uint8_t *payload, size_t size) {
        return (WireReader) { .p = payload, .end = payload + size };
}
uint8_t wire_read_u8(WireReader *r);
uint16_t wire_read_u16(WireReader *r);
uint32_t wire_read_u32(WireReader *r);
uint64_t wire_read_u64(WireReader *r);
void wire_read_bytes(WireReader *r, void *ret, size_t size);
WireText wire_read_text8(WireReader *r);
WireText wire_read_text16(WireReader *r);

/* Writes fields in order into a buffer of a fixed size; what does not fit sets `failed` and is left out whole. */
typedef struct WireWriter {
        uint8_t *start;
        uint8_t *p;
        uint8_t *end;
        bool failed;
} WireWriter;

static inline WireWriter wire_writer(uint8_t *buffer, size_t size) {
        return (WireWriter) { .start = buffer, .p = buffer, .end = buffer + size };
}
static inline size_t wire_writer_size(const WireWriter *w) {
        return (size_t) (w->p - w->start);
}
void wire_write_u8(WireWriter *w, uint8_t v);
void wire_write_u16(WireWriter *w, uint16_t v);
void wire_write_u32(WireWriter *w, uint32_t v);
void wire_write_u64(WireWriter *w, uint64_t v);
void wire_write_bytes(WireWriter *w, const void *data, size_t size);
void wire_write_text8(WireWriter *w, const char *text, size_t size);
void wire_write_text16(WireWriter *w, const char *text, size_t size);

/* True if `text` is UTF-8 (shortest form, no surrogates) without control characters (C0, DEL, C1). */
bool wire_text_is_clean(const char *text, size_t size);

/* True if `name` has 1 to WIRE_NAME_MAX bytes of A-Z a-z 0-9 . _ - */
bool wire_name_is_valid(const char *name, size_t size);

/* The payloads that both sides take apart or put together. The _parse functions return 0, or -EBADMSG if a field is missing or a
 * text is not clean; texts point into the payload. The _store functions return the number of bytes written, or -ENOBUFS. */

typedef struct WireHello {
        uint32_t magic;
        uint16_t version_min;
        uint16_t version_max;
        uint32_t features;
        uint64_t resume_id;
        uint8_t resume_token[WIRE_TOKEN_SIZE];
        WireText name; /* as it came: who judges it is told more than "malformed" */
        WireText program;
        WireText credential;
} WireHello;

int wire_hello_parse(const uint8_t *payload, size_t size, WireHello *ret);
int wire_hello_store(const WireHello *hello, uint8_t *buffer, size_t size);

typedef struct WireWelcome {
        uint16_t version;
        uint32_t features;
        uint64_t id;
        uint8_t resume_token[WIRE_TOKEN_SIZE];
        uint8_t instance[WIRE_INSTANCE_SIZE];
        uint32_t max_payload;
        uint32_t initial_credit;
        uint32_t ping_interval_ms;
        uint32_t grace_ms;
        uint64_t epoch;
        WireText name;
} WireWelcome;

int wire_welcome_parse(const uint8_t *payload, size_t size, WireWelcome *ret);
int wire_welcome_store(const WireWelcome *welcome, uint8_t *buffer, size_t size);

typedef struct WireGoodbye {
        uint32_t retry_after_ms;
        WireText reason;
} WireGoodbye;

int wire_goodbye_parse(const uint8_t *payload, size_t size, WireGoodbye *ret);
int wire_goodbye_store(const WireGoodbye *goodbye, uint8_t *buffer, size_t size);

typedef struct WirePresence {
        uint64_t epoch;
        uint8_t event;
        uint8_t reason;
        uint64_t id;
        WireText name;
} WirePresence;

int wire_presence_parse(const uint8_t *payload, size_t size, WirePresence *ret);
int wire_presence_store(const WirePresence *presence, uint8_t *buffer, size_t size);

typedef struct WireAlive {
        uint64_t id;
        uint8_t state;
        uint32_t silence_ms;
        uint32_t kernel_silence_ms;
        uint32_t rtt_us;
        WireText name;
} WireAlive;

int wire_alive_parse(const uint8_t *payload, size_t size, WireAlive *ret);
int wire_alive_store(const WireAlive *alive, uint8_t *buffer, size_t size);

/* u16 error, text16: the payload of a failed ANSWER and of a FAILED reply */
typedef struct WireFailure {
        uint16_t error;
        WireText text;
} WireFailure;

int wire_failure_parse(const uint8_t *payload, size_t size, WireFailure *ret);
int wire_failure_store(const WireFailure *failure, uint8_t *buffer, size_t size);
