/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything that was asked and is not answered yet: questions to the service, and calls to other clients. */

#include <stdbool.h>

#include "client/directclient.h"
#include "client/inbox.h"
#include "client/map.h"

typedef enum QuestionKind {
        QUESTION_CALL,
        QUESTION_ALIVE,
        QUESTION_RESOLVE,
        QUESTION_LIST,
        QUESTION_WATCH,
        QUESTION_LOAD,
        QUESTION_NAME, /* RESOLVE for direct_send_name() */
        _QUESTION_N,
} QuestionKind;

typedef struct Question Question;

/* Takes a question whose result is known. */
typedef void (*QuestionDone)(Question *q, void *userdata);

struct Question {
        Notice notice;
        MapNode by_tag;
        Question *next; /* among those that end together */
        size_t heap_index;
        QuestionKind kind;
        uint64_t deadline; /* USEC_NEVER */
        QuestionDone done; /* QUESTION_WATCH, QUESTION_NAME and blocking functions: told at once. NULL: through the inbox */
        void *done_userdata;

        uint64_t target;                 /* CALL: of whom; WATCH: whose state */
        char name[DIRECT_NAME_MAX + 1];  /* ALIVE, RESOLVE, NAME */

        int result;
        char *text; /* what goes with a failure; or NULL */
        union {
                DirectMessage *reply;
                DirectAlive alive;
                uint64_t id;
                uint8_t state;
                DirectLoad load;
                struct {
                        DirectPeer *peers;
                        size_t n_peers, n_allocated;
                } list;
        } answer;

        union {
                DirectCallHandler call;
                DirectAliveHandler alive;
                DirectResolveHandler resolve;
                DirectListHandler list;
        } handler;
        void *userdata;
};

#define QUESTIONS_TAG_MAX (UINT32_MAX - 16) /* the rest is for what is no question */

typedef struct Questions {
        Map by_tag;
        Question **heap; /* by deadline, the earliest first: those that have one */
        size_t n_heap, n_heap_allocated;
        size_t n_calls;
        uint32_t tag; /* the last that was given */
        QuestionDone finished; /* for those without a `done` of their own */
        void *userdata;
} Questions;

void questions_init(Questions *qs, QuestionDone finished, void *userdata);
void questions_deinit(Questions *qs);

/* A question, not registered yet. NULL: no memory. */
Question *question_new(QuestionKind kind);
Question *question_free(Question *q);

/* Gives it a tag and watches over its deadline. 0 or -ENOMEM. */
int questions_add(Questions *qs, Question *q);
static inline uint32_t question_get_tag(const Question *q) {
        return (uint32_t) q->by_tag.key;
}

Question *questions_find(const Questions *qs, uint32_t tag);

/* Ends it: whoever asked is told. `text` (may be NULL) is copied. */
void questions_finish(Questions *qs, Question *q, int result, const char *text, size_t n_text);

/* Takes it out and tells nobody. */
void questions_remove(Questions *qs, Question *q);

uint64_t questions_get_deadline(const Questions *qs);

/* Ends those whose time is over with -ETIMEDOUT; all of them; all calls to one client (0: to any). */
void questions_expire(Questions *qs, uint64_t now);
void questions_finish_all(Questions *qs, int result);
void questions_finish_calls(Questions *qs, uint64_t target, int result);
