/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service that was restarted can check a token without remembering anybody. What is signed is put together so that no two triples give
 * the same bytes: the id has a fixed size, the name a count, and the principal is the rest. */

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "service/token.h"

enum { PRINCIPAL_MAX = 255 };

void token_make(const uint8_t key[static STATE_KEY_SIZE], uint64_t id, WireText name, const char *principal,
                uint8_t ret[static WIRE_TOKEN_SIZE]) {
        uint8_t text[8 + 1 + WIRE_NAME_MAX + PRINCIPAL_MAX];
        WireWriter w = wire_writer(text, sizeof(text));
        unsigned n = WIRE_TOKEN_SIZE;

        wire_write_u64(&w, id);
        wire_write_text8(&w, name.data, name.size);
        wire_write_bytes(&w, principal, strlen(principal));
        assert(!w.failed);
        /* It fails only where memory does: then the token is one that nobody has, and nobody can guess. */
        if (!HMAC(EVP_sha256(), key, STATE_KEY_SIZE, text, wire_writer_size(&w), ret, &n))
                arc4random_buf(ret, WIRE_TOKEN_SIZE);
}
