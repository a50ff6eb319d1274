/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service that was restarted can check a token without remembering anybody. What is signed is put together so that no two
 * triples give the same bytes: the id has a fixed size, the name a count, and the principal is the rest.
 *
 * HMAC() of OpenSSL 3 would do the same with thousands of allocations the first time and dozens later. Where one fails, it
 * crashes, or fails for ever (3.0.16), or there is no token for a client that needs one. So this is RFC 2104 over the functions
 * beneath, which allocate nothing. */

#define OPENSSL_SUPPRESS_DEPRECATED

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

#include "service/token.h"

enum { PRINCIPAL_MAX = 255 };

_Static_assert(STATE_KEY_SIZE <= SHA256_CBLOCK, "RFC 2104 hashes longer keys first");
_Static_assert(WIRE_TOKEN_SIZE == SHA256_DIGEST_LENGTH, "a token is a whole hash");

static void hash(const uint8_t key[static STATE_KEY_SIZE], uint8_t pad, const uint8_t *data, size_t n,
                 uint8_t ret[static SHA256_DIGEST_LENGTH]) {
        uint8_t block[SHA256_CBLOCK];
        SHA256_CTX context;

        memset(block, pad, sizeof(block));
        for (size_t i = 0; i < STATE_KEY_SIZE; i++)
                block[i] ^= key[i];
        SHA256_Init(&context);
        SHA256_Update(&context, block, sizeof(block));
        SHA256_Update(&context, data, n);
        SHA256_Final(ret, &context);
        explicit_bzero(block, sizeof(block));
        explicit_bzero(&context, sizeof(context));
}

void token_make(const uint8_t key[static STATE_KEY_SIZE], uint64_t id, WireText name, const char *principal,
                uint8_t ret[static WIRE_TOKEN_SIZE]) {
        uint8_t text[8 + 1 + WIRE_NAME_MAX + PRINCIPAL_MAX], inner[SHA256_DIGEST_LENGTH];
        WireWriter w = wire_writer(text, sizeof(text));

        wire_write_u64(&w, id);
        wire_write_text8(&w, name.data, name.size);
        wire_write_bytes(&w, principal, strlen(principal));
        assert(!w.failed);
        hash(key, 0x36, text, wire_writer_size(&w), inner);
        hash(key, 0x5c, inner, sizeof(inner), ret);
}
