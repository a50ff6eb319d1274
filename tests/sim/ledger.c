/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns an account of each flow, which outlives connections, and of each connection. What a client has read it may not have looked
 * at yet, so it is never held to have heard of anything, only allowed to. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/intake.h"
#include "tests/sim/actor.h"
#include "tests/sim/bug.h"
#include "tests/sim/ledger.h"
#include "tests/sim/model.h"
#include "tests/sim/service.h"

enum { LEDGER_REASONS_MAX = 32 };

typedef struct FlowAccount {
        struct FlowAccount *next;
        uint64_t source, target;
        uint32_t stream;
        uint64_t n_sent, sent, acked, credit;
        unsigned conn;       /* the last that a frame went out on */
        uint64_t last;       /* … and its number */
        uint64_t n_again;    /* bytes, since it went back */
        unsigned n_rewinds;  /* on this connection */
        bool may_begin_anew; /* its target is gone, so all that is known of it is forgotten */
} FlowAccount;

struct Ledger {
        uint64_t id; /* as WELCOME said; 0: not yet */
        uint32_t initial_credit;
        /* Why something may be sent again */
        struct {
                uint64_t target;
                unsigned n;
        } reasons[LEDGER_REASONS_MAX];
        unsigned n_reasons;
        uint32_t everyone_tag;
        bool has_asked_everyone, hears_everyone;
        uint64_t epoch;
};

enum { LEDGER_BUCKETS = 256 };
static FlowAccount *accounts[LEDGER_BUCKETS];

/* Who anybody was told is gone, for good: a service that does not run can't be asked */
static uint64_t *gone;
static size_t n_gone;

void ledger_init(void) {
        memset(accounts, 0, sizeof(accounts));
        gone = NULL;
        n_gone = 0;
}

static bool is_gone(uint64_t id) {
        for (size_t i = 0; i < n_gone; i++)
                if (gone[i] == id)
                        return true;
        return !service_may_have_client(id);
}

static void set_gone(uint64_t id) {
        for (size_t i = 0; i < n_gone; i++)
                if (gone[i] == id)
                        return;
        gone = sim_must(realloc(gone, (n_gone + 1) * sizeof(*gone)));
        gone[n_gone++] = id;
}

void ledger_deinit(void) {
        free(gone);
        for (size_t i = 0; i < LEDGER_BUCKETS; i++)
                while (accounts[i]) {
                        FlowAccount *next = accounts[i]->next;

                        free(accounts[i]);
                        accounts[i] = next;
                }
}

static FlowAccount *account_find(uint64_t source, uint64_t target, uint32_t stream, FlowAccount ***ret_place) {
        FlowAccount **p = &accounts[(source * 31 + target * 7 + stream) % LEDGER_BUCKETS];

        while (*p && ((*p)->source != source || (*p)->target != target || (*p)->stream != stream))
                p = &(*p)->next;
        *ret_place = p;
        return *p;
}

static FlowAccount *account_get(const struct Ledger *l, uint64_t target, uint32_t stream) {
        FlowAccount **place, *f = account_find(l->id, target, stream, &place);

        if (f)
                return f;
        f = *place = sim_must(calloc(1, sizeof(*f)));
        *f = (FlowAccount) { .source = l->id,
                             .target = target,
                             .stream = stream,
                             .credit = l->initial_credit,
                             .may_begin_anew = is_gone(target) };
        return f;
}

/* Reasons */

static void ledger_give_reason(struct Ledger *l, uint64_t target) {
        unsigned i = 0;

        while (i < l->n_reasons && l->reasons[i].target != target)
                i++;
        if (i == l->n_reasons) {
                sim_require(i < LEDGER_REASONS_MAX);
                l->reasons[l->n_reasons++].target = target;
        }
        l->reasons[i].n++;
}

static unsigned ledger_count_reasons(const struct Ledger *l, uint64_t target) {
        for (unsigned i = 0; i < l->n_reasons; i++)
                if (l->reasons[i].target == target)
                        return l->reasons[i].n;
        return 0;
}

static void ledger_target_gone(uint64_t target) {
        set_gone(target);
        for (size_t i = 0; i < LEDGER_BUCKETS; i++)
                for (FlowAccount *f = accounts[i]; f; f = f->next)
                        if (f->target == target)
                                f->may_begin_anew = true;
}

/* It may be any of them that somebody was told is gone. */
static void ledger_some_gone(void) {
        for (uint64_t id = 0; (id = model_next_id(id)) != 0;)
                if (!service_may_have_client(id))
                        ledger_target_gone(id);
}

/* What a client writes */

#define WHERE "c%u, flow %" PRIu64 ">%" PRIu64 "/%u: "
#define WHERE_ARGS(c, f) (c)->actor->number, (f)->source, (f)->target, (f)->stream

static void check_again(Conn *c, FlowAccount *f, uint64_t sequence, size_t size) {
        uint64_t window = INTAKE_WINDOW_MAX > c->ledger->initial_credit ? INTAKE_WINDOW_MAX : c->ledger->initial_credit;

        if (sequence != f->last + 1 || f->conn != c->number)
                f->n_again = 0;
        f->n_again += size;
        if (f->n_again > window + WIRE_FRAME_MAX)
                world_violation(WHERE "%" PRIu64 " bytes sent again at one go", WHERE_ARGS(c, f), f->n_again);
}

static void check_place(Conn *c, FlowAccount *f, uint64_t sequence) {
        if (f->may_begin_anew)
                return; /* what was in line when it was found to be gone may still go out */
        if (f->conn != c->number) {
                f->n_rewinds = 0;
                if (sequence > f->acked + 1)
                        world_violation(WHERE "begins with %" PRIu64 " on a new link, and %" PRIu64 " is acknowledged",
                                        WHERE_ARGS(c, f), sequence, f->acked);
        } else if (sequence <= f->last || (sequence > f->last + 1 && sequence > f->acked + 1)) {
                /* Forward it may go to what is not acknowledged yet */
                if (sequence > f->acked + 1 || ++f->n_rewinds > ledger_count_reasons(c->ledger, f->target))
                        world_violation(WHERE "%" PRIu64 " after %" PRIu64 ", with %" PRIu64
                                              " acknowledged and %u reasons to go back",
                                        WHERE_ARGS(c, f), sequence, f->last, f->acked,
                                        ledger_count_reasons(c->ledger, f->target));
        }
}

/* Returns true if it was sent before. */
static bool ledger_data(Conn *c, const WireHeader *h) {
        FlowAccount *f;
        size_t size = WIRE_HEADER_SIZE + h->length;
        bool is_again;

        if (c->ledger->id == 0)
                world_violation("c%u: DATA before WELCOME", c->actor->number);
        if (h->sequence == 0 || (h->flags & WIRE_BROADCAST))
                return false;
        /* All broadcasts of a client have one counter, whatever their stream */
        f = account_get(c->ledger, h->target, h->target == WIRE_TARGET_BROADCAST ? 0 : h->stream);
        if (f->may_begin_anew && h->sequence == 1)
                *f = (FlowAccount) { .next = f->next,
                                     .source = f->source,
                                     .target = f->target,
                                     .stream = f->stream,
                                     .credit = f->credit, /* it may be the old one, sent again, that was in line */
                                     .may_begin_anew = true };
        is_again = h->sequence <= f->sent;
        if (h->target == WIRE_TARGET_BROADCAST) {
                /* What was in line for a link that broke is left to those who miss it */
                if (h->sequence <= f->sent || (h->sequence != f->sent + 1 && f->conn == c->number))
                        world_violation(WHERE "broadcast %" PRIu64 " after %" PRIu64, WHERE_ARGS(c, f), h->sequence, f->sent);
                f->sent = h->sequence;
                f->conn = c->number;
                return false;
        }
        check_place(c, f, h->sequence);
        if (is_again)
                check_again(c, f, h->sequence, size);
        else if (h->sequence != f->sent + 1 && !f->may_begin_anew)
                world_violation(WHERE "%" PRIu64 " after %" PRIu64, WHERE_ARGS(c, f), h->sequence, f->sent);
        else {
                f->sent = h->sequence;
                f->n_sent += size;
                if (f->n_sent > f->credit)
                        world_violation(WHERE "%" PRIu64 " bytes sent on credit of %" PRIu64, WHERE_ARGS(c, f), f->n_sent,
                                        f->credit);
        }
        f->last = h->sequence;
        f->conn = c->number;
        return is_again;
}

static void ledger_say(const Conn *c, const char *does, const WireHeader *h) {
        world_say("c%u link %u %s type 0x%02x kind %u flags %u source %" PRIu64 " target %" PRIu64 " sequence %" PRIu64
                  " stream %u tag %u length %u",
                  c->actor->number, c->number, does, h->type, h->kind, h->flags, h->source, h->target, h->sequence, h->stream,
                  h->tag, h->length);
}

static bool ledger_up(Conn *c, uint8_t *frame, size_t size) {
        bool is_again = false;
        WireHeader h;

        wire_header_load(frame, &h);
        ledger_say(c, "writes", &h);
        world_trace(h.target ^ h.sequence << 20, (uint64_t) h.type << 32 | h.length);
        if (h.type == WIRE_DATA)
                is_again = ledger_data(c, &h);
        else if (h.type == WIRE_ASK && h.kind == WIRE_ASK_WATCH && wire_load_u64(frame + WIRE_HEADER_SIZE) == 0) {
                c->ledger->has_asked_everyone = true;
                c->ledger->everyone_tag = h.tag;
        }
        return bug_up(frame, is_again);
}

/* What a client reads */

static void ledger_ack(Conn *c, const WireHeader *h, const uint8_t *payload) {
        FlowAccount **place, *f = account_find(c->ledger->id, h->source, h->stream, &place);
        uint64_t credit = wire_load_u64(payload);

        if (!f || h->sequence > f->sent) {
                world_violation("c%u: %" PRIu64 " acknowledges frame %" PRIu64 " of stream %u, which was never sent",
                                c->actor->number, h->source, h->sequence, h->stream);
                return;
        }
        if (credit > f->credit)
                f->credit = credit;
        if (h->sequence > f->acked)
                f->acked = h->sequence;
}

static void ledger_presence(Conn *c, const uint8_t *payload, size_t size) {
        struct Ledger *l = c->ledger;
        WirePresence p;
        bool joined;

        if (wire_presence_parse(payload, size, &p) < 0) {
                world_violation("c%u: a PRESENCE that can't be read", c->actor->number);
                return;
        }
        if (p.event != WIRE_EVENT_JOINED && p.event != WIRE_EVENT_LEFT) {
                if (p.event == WIRE_EVENT_BACK || p.event == WIRE_EVENT_ALIVE || p.event == WIRE_EVENT_BUSY)
                        ledger_give_reason(l, p.id);
                return;
        }
        joined = p.event == WIRE_EVENT_JOINED;
        if (!joined)
                ledger_target_gone(p.id);
        if (!model_is_change(c->service_number, p.id, joined, p.epoch)) {
                if (joined || !model_has_left(c->service_number, p.id, p.epoch))
                        world_violation("c%u: PRESENCE says that %" PRIu64 " has %s at epoch %" PRIu64, c->actor->number, p.id,
                                        joined ? "joined" : "left", p.epoch);
                return;
        }
        if (l->hears_everyone && p.epoch != l->epoch + 1 && p.epoch != l->epoch)
                world_violation("c%u: epoch %" PRIu64 " after %" PRIu64, c->actor->number, p.epoch, l->epoch);
        l->epoch = p.epoch;
}

static void ledger_answer(Conn *c, const WireHeader *h, const uint8_t *payload) {
        struct Ledger *l = c->ledger;

        if (h->kind != WIRE_ASK_WATCH || (h->flags & WIRE_ANSWER_FAILED))
                return;
        if (l->has_asked_everyone && h->tag == l->everyone_tag) {
                l->hears_everyone = true;
                l->epoch = wire_load_u64(payload);
                return;
        }
        /* It does not say of whom: that one is gone may be news of each that is, that one is there a reason for each */
        ledger_some_gone();
        for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
                if (actors[i].id != 0)
                        ledger_give_reason(l, actors[i].id);
}

static bool ledger_down(Conn *c, uint8_t *frame, size_t size) {
        const uint8_t *payload = frame + WIRE_HEADER_SIZE;
        struct Ledger *l = c->ledger;
        WireWelcome welcome;
        WireHeader h;

        bug_down(c, l->id, frame);
        wire_header_load(frame, &h);
        ledger_say(c, "reads", &h);
        world_trace(h.source ^ h.sequence << 20, (uint64_t) h.type << 40 | h.length);
        switch ((WireType) h.type) {
        case WIRE_WELCOME:
                sim_require(wire_welcome_parse(payload, h.length, &welcome) == 0);
                if (l->id != 0)
                        world_violation("c%u: a second WELCOME on one link", c->actor->number);
                l->id = welcome.id;
                l->initial_credit = welcome.initial_credit;
                break;
        case WIRE_DATA:
                if (h.target != l->id && h.target != WIRE_TARGET_BROADCAST)
                        world_violation("c%u: a frame for %" PRIu64 " came to %" PRIu64, c->actor->number, h.target, l->id);
                break;
        case WIRE_ACK:
                ledger_ack(c, &h, payload);
                break;
        case WIRE_BOUNCE:
                ledger_give_reason(l, h.target);
                if (h.kind == WIRE_BOUNCE_NO_CLIENT)
                        ledger_target_gone(h.target);
                break;
        case WIRE_PRESENCE:
                ledger_presence(c, payload, h.length);
                break;
        case WIRE_ANSWER:
                ledger_answer(c, &h, payload);
                break;
        default:
                break;
        }
        bug_down_unseen(frame);
        return true;
}

void ledger_attach(Conn *c) {
        bool holds_up = bug == BUG_SEND_AGAIN || bug == BUG_ID_CHECK, holds_down = bug != BUG_NONE && !holds_up;

        c->ledger = sim_must(calloc(1, sizeof(*c->ledger)));
        tap_init(&c->up.tap, ledger_up, holds_up);
        tap_init(&c->down.tap, ledger_down, holds_down);
}

void ledger_detach(Conn *c) {
        free(c->ledger);
        c->ledger = NULL;
}
