/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The records of a handover, which may say anything: the first byte is the number of descriptors, the head and the checksum are
 * made here. A router that is made of them must be whole, be able to work, and hand over again. */

#include <errno.h>

#include "service/core/handover-records.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake-handover.h"

enum { N_LINKS_MAX = 8 };

static void seal(const uint8_t *records, size_t size, uint8_t **ret_data, size_t *ret_size) {
        RecordWriter w;

        records_begin(&w, 0);
        record_put_bytes(&w, records, size);
        fuzz_assert(records_end(&w, ret_data, ret_size) == 0);
}

static void speak(FakeNet *net) {
        uint64_t id = 0;

        for (FakeLink *l = net->links; l; l = l->next) {
                if (!l->link)
                        continue;
                if (l->link->state == LINK_OPENING)
                        fake_hello(l, "newcomer");
                if (l->link->session)
                        id = l->link->session->id;
                fake_data(l, id, 1, "to somebody");
                fake_watch(l, id, true);
                fake_ask_u64(l, WIRE_ASK_LOAD, 0, 1);
                fake_data(l, WIRE_TARGET_BROADCAST, 1, "to all");
        }
}

static void end(FakeNet *net) {
        uint64_t id = 0;
        size_t i;

        while ((i = sessions_after(&net->router->sessions, id)) < net->router->sessions.n_members) {
                id = net->router->sessions.members[i]->id;
                if (id % 2 == 0)
                        (void) router_kick(net->router, id, "");
        }
        fake_net_advance(net, 70 * FAKE_SEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t *sealed;
        size_t n_sealed;
        FakeNet *net;
        int r;

        if (size == 0)
                return 0;
        net = fake_net_new(NULL);
        fuzz_assert(net);
        net->hands_over = false;
        for (unsigned i = 0; i < data[0] % (N_LINKS_MAX + 1U); i++)
                (void) fake_open(net);
        seal(data + 1, size - 1, &sealed, &n_sealed);
        r = fake_net_take_over(net, sealed, n_sealed);
        free(sealed);
        fuzz_assert(r == 0 || r == -EBADMSG);
        fake_net_turn(net);
        fake_net_hand_over(net);
        fake_net_run(net);
        if (r == 0) {
                speak(net);
                fake_net_run(net);
                fake_net_hand_over(net);
                fake_net_run(net);
                end(net);
        }
        fake_net_free(net);
        return 0;
}
