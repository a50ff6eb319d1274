/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* PROTOCOL.md and the code say the same: the worked examples, the values of the types, the fields of the LOAD answer. The path
 * of the page is in $PROTOCOL_TEXT. */

#include <stdio.h>

#include "protocol/wire.h"
#include "run-tests.h"
#include "service/core/load.h"

enum { PAGE_MAX = 65536, FRAME_MAX = 512 };

static char page[PAGE_MAX];

static void setup(void) {
        const char *path = getenv("PROTOCOL_TEXT");
        FILE *file;

        ck_assert_msg(path != NULL, "$PROTOCOL_TEXT is not set");
        file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
        ck_assert(feof(file));
        fclose(file);
}

/* Behind the heading's line */
static const char *find_heading(const char *heading) {
        char line[128];
        const char *p;

        snprintf(line, sizeof(line), "\n%s\n", heading);
        p = strstr(page, line);
        ck_assert_msg(p != NULL, "no heading %s", heading);
        return p + strlen(line);
}

static const char *next_line(const char *p) {
        p += strcspn(p, "\n");
        return *p ? p + 1 : p;
}

/* The bytes of the first ``` block under a heading: pairs of hex digits with a space in between; two spaces begin the words. */
static size_t read_example(const char *heading, uint8_t *ret) {
        const char *p = strstr(find_heading(heading), "```\n");
        unsigned byte;
        size_t n = 0;

        ck_assert_ptr_nonnull(p);
        for (p += 4; strncmp(p, "```", 3) != 0; p = next_line(p))
                for (const char *pair = p; sscanf(pair, "%2x", &byte) == 1 && pair[0] != ' '; pair += 3) {
                        ck_assert_uint_lt(n, FRAME_MAX);
                        ret[n++] = (uint8_t) byte;
                        if (pair[2] != ' ')
                                break;
                }
        return n;
}

static void assert_example(const char *heading, const uint8_t *frame, size_t size) {
        uint8_t example[FRAME_MAX];

        ck_assert_uint_eq(read_example(heading, example), size);
        ck_assert_mem_eq(example, frame, size);
}

static size_t make_frame(WireHeader header, int length, uint8_t *frame) {
        ck_assert_int_ge(length, 0);
        header.length = (uint32_t) length;
        wire_header_store(frame, &header);
        return WIRE_HEADER_SIZE + header.length;
}

#define TEXT(s) { .data = (s), .size = sizeof(s) - 1 }

START_TEST(example_hello) {
        WireHello hello = { .magic = WIRE_MAGIC,
                            .version_min = WIRE_VERSION,
                            .version_max = WIRE_VERSION,
                            .name = TEXT("worker-3"),
                            .program = TEXT("tile 17@lab") };
        uint8_t frame[FRAME_MAX];
        int n = wire_hello_store(&hello, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);

        assert_example("### HELLO", frame, make_frame((WireHeader) { .type = WIRE_HELLO }, n, frame));
}
END_TEST

START_TEST(example_welcome) {
        WireWelcome welcome = { .version = WIRE_VERSION, .id = 7, .max_payload = WIRE_PAYLOAD_MAX, .initial_credit = 1 << 20,
                                .ping_interval_ms = 10000, .grace_ms = 30000, .epoch = 12, .name = TEXT("worker-3") };
        uint8_t frame[FRAME_MAX];
        int n;

        for (unsigned i = 0; i < WIRE_TOKEN_SIZE; i++)
                welcome.resume_token[i] = (uint8_t) (0x20 + i);
        for (unsigned i = 0; i < WIRE_INSTANCE_SIZE; i++)
                welcome.instance[i] = (uint8_t) (0x50 + i);
        n = wire_welcome_store(&welcome, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);
        assert_example("### WELCOME", frame, make_frame((WireHeader) { .type = WIRE_WELCOME, .target = 7 }, n, frame));
}
END_TEST

START_TEST(example_data) {
        WireHeader header = { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST, .kind = 5, .source = 7, .target = 9 };
        uint8_t frame[FRAME_MAX];

        memcpy(frame + WIRE_HEADER_SIZE, "hello", 5);
        assert_example("### DATA", frame, make_frame(header, 5, frame));
}
END_TEST

static void assert_example_u64(const char *heading, WireHeader header, uint64_t payload) {
        uint8_t frame[FRAME_MAX];

        wire_store_u64(frame + WIRE_HEADER_SIZE, payload);
        assert_example(heading, frame, make_frame(header, sizeof(payload), frame));
}

START_TEST(example_ack) {
        assert_example_u64("### ACK", (WireHeader) { .type = WIRE_ACK, .source = 9, .target = 7, .sequence = 3 },
                           135 + (1 << 20));
}
END_TEST

START_TEST(example_mark) {
        WireHeader header = { .type = WIRE_MARK, .source = 7, .target = WIRE_TARGET_BROADCAST, .sequence = 12 };

        assert_example_u64("### MARK", header, 12);
}
END_TEST

START_TEST(types) {
        static const struct {
                WireType value;
                const char *name;
        } all[] = {
                { WIRE_HELLO, "HELLO" },   { WIRE_WELCOME, "WELCOME" }, { WIRE_REFUSED, "REFUSED" }, { WIRE_GOODBYE, "GOODBYE" },
                { WIRE_PING, "PING" },     { WIRE_PONG, "PONG" },       { WIRE_DATA, "DATA" },       { WIRE_ACK, "ACK" },
                { WIRE_BOUNCE, "BOUNCE" }, { WIRE_RESEND, "RESEND" },   { WIRE_MARK, "MARK" },       { WIRE_LOST, "LOST" },
                { WIRE_ASK, "ASK" },       { WIRE_ANSWER, "ANSWER" },   { WIRE_PRESENCE, "PRESENCE" },
        };

        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
                char row[64];

                snprintf(row, sizeof(row), "\n| 0x%02x | %s |", (unsigned) all[i].value, all[i].name);
                ck_assert_msg(strstr(page, row) != NULL, "no row %s", row + 1);
        }
}
END_TEST

START_TEST(fields_of_load) {
        const char *end = strstr(find_heading("### LOAD"), "\n## ");
        unsigned expected = 0, offset;

        for (const char *p = find_heading("### LOAD"); p < end; p = next_line(p)) {
                char field[256];

                if (sscanf(p, "| %u | %255[^|]", &offset, field) != 2)
                        continue;
                ck_assert_msg(offset == expected, "%s stands at %u, not at %u", field, offset, expected);
                expected += (strstr(field, "(3 fields)") ? LOAD_N_RATES : 1) * (unsigned) sizeof(uint64_t);
        }
        ck_assert_uint_eq(expected, sizeof(LoadFigures));
}
END_TEST

TEST_MAIN_FIXTURE("protocol-text", setup, NULL, example_hello, example_welcome, example_data, example_ack, example_mark, types,
                  fields_of_load)
