/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as the payload of each type, as text and as a header. What parses must come out of the store function as it went
 * in, and text must be judged as a decoder judges it that was written another way. */

#include <string.h>

#include "fuzz.h"
#include "protocol/wire.h"

enum { STORED_MAX = 1 << 18 }; /* more than three texts of 64 KiB */

static uint8_t first[STORED_MAX], second[STORED_MAX];

/* Parse, store, parse, store: the stored forms are the same, and no longer than what was read. */
#define CHECK(module, Type)                                                                     \
        static void check_##module(const uint8_t *data, size_t size) {                          \
                Type value;                                                                     \
                int n;                                                                          \
                                                                                                \
                if (wire_##module##_parse(data, size, &value) < 0)                              \
                        return;                                                                 \
                n = wire_##module##_store(&value, first, sizeof(first));                        \
                fuzz_assert(n >= 0 && (size_t) n <= size);                                      \
                fuzz_assert(wire_##module##_parse(first, (size_t) n, &value) == 0);             \
                fuzz_assert(wire_##module##_store(&value, second, sizeof(second)) == n);        \
                fuzz_assert(memcmp(first, second, (size_t) n) == 0);                            \
                fuzz_assert(n == 0 || wire_##module##_parse(first, (size_t) n - 1, &value) < 0); \
                fuzz_assert(wire_##module##_store(&value, second, (size_t) n - 1) < 0);         \
        }

CHECK(hello, WireHello)
CHECK(welcome, WireWelcome)
CHECK(goodbye, WireGoodbye)
CHECK(presence, WirePresence)
CHECK(alive, WireAlive)
CHECK(failure, WireFailure)

/* Decodes in the plain way and looks at the number that comes out. */
static bool text_is_clean(const uint8_t *p, size_t n) {
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

        while (n > 0) {
                unsigned length = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
                uint32_t c = length == 1 ? *p : *p & (0x7fU >> length);

                if (length == 0 || length > n)
                        return false;
                for (unsigned i = 1; i < length; i++) {
                        if (p[i] >> 6 != 2)
                                return false;
                        c = c << 6 | (p[i] & 0x3f);
                }
                if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || c < 0x20 || (c >= 0x7f && c <= 0x9f))
                        return false;
                p += length;
                n -= length;
        }
        return true;
}

static void check_text(const uint8_t *data, size_t size) {
        bool name = wire_name_is_valid((const char *) data, size);

        fuzz_assert(wire_text_is_clean((const char *) data, size) == text_is_clean(data, size));
        fuzz_assert(!name || (size >= 1 && size <= WIRE_NAME_MAX && text_is_clean(data, size)));
}

static void check_header(const uint8_t *data, size_t size) {
        uint8_t stored[WIRE_HEADER_SIZE];
        WireHeader h;

        if (size < WIRE_HEADER_SIZE)
                return;
        wire_header_load(data, &h);
        wire_header_store(stored, &h);
        fuzz_assert(memcmp(stored, data, WIRE_HEADER_SIZE) == 0);
}

/* The bytes say themselves which field is read next: no order of reads may leave the payload. */
static void check_reader(const uint8_t *data, size_t size) {
        WireReader r = wire_reader(data, size);
        uint8_t bytes[16];

        while (!r.failed && r.p < r.end) {
                WireText text = { .data = "" };

                switch (*r.p % 7) {
                case 0:
                        wire_read_u8(&r);
                        break;
                case 1:
                        wire_read_u16(&r);
                        break;
                case 2:
                        wire_read_u32(&r);
                        break;
                case 3:
                        wire_read_u64(&r);
                        break;
                case 4:
                        wire_read_bytes(&r, bytes, *r.p % sizeof(bytes) + 1);
                        break;
                case 5:
                        text = wire_read_text8(&r);
                        break;
                case 6:
                        text = wire_read_text16(&r);
                        break;
                }
                fuzz_assert(r.p >= data && r.p <= data + size);
                fuzz_assert(text_is_clean((const uint8_t *) text.data, text.size));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        check_hello(data, size);
        check_welcome(data, size);
        check_goodbye(data, size);
        check_presence(data, size);
        check_alive(data, size);
        check_failure(data, size);
        check_text(data, size);
        check_header(data, size);
        check_reader(data, size);
        return 0;
}
