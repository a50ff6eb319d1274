/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Knows nothing of what is in the records. What is read may be anything: each length is compared with what is there before it is
 * used. */

#include <errno.h>
#include <stdlib.h>

#include "service/core/handover-records.h"

enum {
        HEAD_SIZE = 8 + 2 + 2 + 4 + 8,
        SIZE_OFFSET = HEAD_SIZE - 8,
        END_SIZE = 4,
        RECORD_HEAD_SIZE = 8,
        FIRST_SIZE = 64 * 1024,
};

#define RECORDS_MAGIC UINT64_C(0x5245564f48524944) /* "DIRHOVER" */

/* Eight bytes at a time, since there may be hundreds of megabytes in outboxes. The tables take a few microseconds to make and
 * are of no use to anybody else. */
static uint32_t checksum(const uint8_t *data, size_t size) {
        uint32_t tables[8][256], crc = UINT32_MAX;

        for (uint32_t i = 0; i < 256; i++) {
                uint32_t c = i;

                for (unsigned k = 0; k < 8; k++)
                        c = c & 1 ? c >> 1 ^ UINT32_C(0x82f63b78) : c >> 1; /* Castagnoli's polynomial, reversed */
                tables[0][i] = c;
        }
        for (unsigned k = 1; k < 8; k++)
                for (uint32_t i = 0; i < 256; i++)
                        tables[k][i] = tables[k - 1][i] >> 8 ^ tables[0][tables[k - 1][i] & 0xff];
        for (; size >= 8; data += 8, size -= 8) {
                crc ^= wire_load_u32(data);
                crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^ tables[4][crc >> 24] ^
                        tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
        }
        for (; size > 0; data++, size--)
                crc = crc >> 8 ^ tables[0][(crc ^ *data) & 0xff];
        return ~crc;
}

/* Writing */

static uint8_t *grow(RecordWriter *w, size_t size) {
        uint8_t *p;

        if (w->failed)
                return NULL;
        if (size > w->n_allocated - w->size) {
                size_t n = w->n_allocated;
                uint8_t *data;

                while (n - w->size < size)
                        n *= 2;
                data = realloc(w->data, n);
                if (!data) {
                        w->failed = true;
                        return NULL;
                }
                w->data = data;
                w->n_allocated = n;
        }
        p = w->data + w->size;
        w->size += size;
        return p;
}

void record_put_bytes(RecordWriter *w, const void *data, size_t size) {
        uint8_t *p = grow(w, size);

        if (p && size > 0)
                memcpy(p, data, size);
}

void record_put_u8(RecordWriter *w, uint8_t v) {
        record_put_bytes(w, &v, 1);
}

void record_put_u16(RecordWriter *w, uint16_t v) {
        uint8_t *p = grow(w, 2);

        if (p)
                wire_store_u16(p, v);
}

void record_put_u32(RecordWriter *w, uint32_t v) {
        uint8_t *p = grow(w, 4);

        if (p)
                wire_store_u32(p, v);
}

void record_put_u64(RecordWriter *w, uint64_t v) {
        uint8_t *p = grow(w, 8);

        if (p)
                wire_store_u64(p, v);
}

void record_put_text8(RecordWriter *w, const char *text, size_t size) {
        record_put_u8(w, (uint8_t) size);
        record_put_bytes(w, text, (uint8_t) size);
}

void record_put_text16(RecordWriter *w, const char *text, size_t size) {
        record_put_u16(w, (uint16_t) size);
        record_put_bytes(w, text, (uint16_t) size);
}

void record_put_age(RecordWriter *w, uint64_t now, uint64_t then) {
        record_put_u64(w, then < now ? now - then : 0);
}

void record_put_rest(RecordWriter *w, uint64_t now, uint64_t when) {
        record_put_u64(w, when == TIMERS_NEVER ? TIMERS_NEVER : when > now ? when - now : 0);
}

void record_begin(RecordWriter *w, uint32_t type) {
        w->record = w->size;
        record_put_u32(w, type);
        record_put_u32(w, 0);
}

void record_end(RecordWriter *w) {
        if (!w->failed)
                wire_store_u32(w->data + w->record + 4, (uint32_t) (w->size - w->record - RECORD_HEAD_SIZE));
}

void records_begin(RecordWriter *w, size_t expected) {
        *w = (RecordWriter) { .n_allocated = FIRST_SIZE + expected };
        w->data = malloc(w->n_allocated);
        w->failed = !w->data;
        record_put_u64(w, RECORDS_MAGIC);
        record_put_u16(w, RECORDS_VERSION);
        record_put_u16(w, RECORDS_READER_MIN);
        record_put_u32(w, 0);
        record_put_u64(w, 0);
}

int records_end(RecordWriter *w, uint8_t **ret_data, size_t *ret_size) {
        uint8_t *end = grow(w, END_SIZE);

        if (!end) {
                free(w->data);
                return -ENOMEM;
        }
        wire_store_u64(w->data + SIZE_OFFSET, w->size);
        wire_store_u32(end, checksum(w->data, w->size - END_SIZE));
        *ret_data = w->data;
        *ret_size = w->size;
        return 0;
}

/* Reading */

int records_open(const uint8_t *data, size_t size, WireReader *ret_reader) {
        if (size < HEAD_SIZE + END_SIZE || wire_load_u64(data) != RECORDS_MAGIC || wire_load_u64(data + SIZE_OFFSET) != size)
                return -EBADMSG;
        if (wire_load_u16(data + 8) < RECORDS_WRITER_MIN || wire_load_u16(data + 10) > RECORDS_VERSION)
                return -EBADMSG;
        if (wire_load_u32(data + size - END_SIZE) != checksum(data, size - END_SIZE))
                return -EBADMSG;
        *ret_reader = wire_reader(data + HEAD_SIZE, size - HEAD_SIZE - END_SIZE);
        return 0;
}

int records_next(WireReader *r, uint32_t *ret_type, WireReader *ret_fields) {
        size_t rest = (size_t) (r->end - r->p), length;

        if (rest == 0)
                return 0;
        if (rest < RECORD_HEAD_SIZE)
                return -EBADMSG;
        length = wire_load_u32(r->p + 4);
        if (length > rest - RECORD_HEAD_SIZE)
                return -EBADMSG;
        *ret_type = wire_load_u32(r->p);
        *ret_fields = wire_reader(r->p + RECORD_HEAD_SIZE, length);
        r->p += RECORD_HEAD_SIZE + length;
        return 1;
}

uint64_t record_read_age(WireReader *in, uint64_t now) {
        uint64_t age = wire_read_u64(in);

        return age < now ? now - age : 0;
}

uint64_t record_read_rest(WireReader *in, uint64_t now) {
        uint64_t rest = wire_read_u64(in);

        return rest <= TIMERS_NEVER - now ? now + rest : TIMERS_NEVER;
}
