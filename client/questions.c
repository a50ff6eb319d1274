/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A table by tag and a heap by deadline, over the same questions. It owns those that it holds; finishing one hands it over. It
 * does not know what the questions mean: ask.c sends them and reads the answers. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/questions.h"
#include "client/util.h"

#define HEAP_NONE SIZE_MAX

void questions_init(Questions *qs, QuestionDone finished, void *userdata) {
        *qs = (Questions) { .finished = finished, .userdata = userdata };
}

Question *question_new(QuestionKind kind) {
        Question *q;

        q = malloc(sizeof(*q));
        if (q)
                *q = (Question) { .kind = kind, .heap_index = HEAP_NONE, .deadline = USEC_NEVER };
        return q;
}

Question *question_free(Question *q) {
        if (!q)
                return NULL;
        if (q->kind == QUESTION_CALL)
                direct_message_free(q->answer.reply);
        else if (q->kind == QUESTION_LIST)
                free(q->answer.list.peers);
        free(q->text);
        free(q);
        return NULL;
}

/* The heap */

static void heap_set(Questions *qs, size_t i, Question *q) {
        qs->heap[i] = q;
        q->heap_index = i;
}

static void heap_up(Questions *qs, size_t i) {
        Question *q = qs->heap[i];

        while (i > 0 && q->deadline < qs->heap[(i - 1) / 2]->deadline) {
                heap_set(qs, i, qs->heap[(i - 1) / 2]);
                i = (i - 1) / 2;
        }
        heap_set(qs, i, q);
}

static void heap_down(Questions *qs, size_t i) {
        Question *q = qs->heap[i];

        for (;;) {
                size_t child = 2 * i + 1;

                if (child >= qs->n_heap)
                        break;
                if (child + 1 < qs->n_heap && qs->heap[child + 1]->deadline < qs->heap[child]->deadline)
                        child++;
                if (q->deadline <= qs->heap[child]->deadline)
                        break;
                heap_set(qs, i, qs->heap[child]);
                i = child;
        }
        heap_set(qs, i, q);
}

static int heap_push(Questions *qs, Question *q) {
        if (qs->n_heap == qs->n_heap_allocated) {
                size_t n = qs->n_heap_allocated > 0 ? qs->n_heap_allocated * 2 : 16;
                Question **heap;

                heap = realloc(qs->heap, n * sizeof(*heap));
                if (!heap)
                        return -ENOMEM;
                qs->heap = heap;
                qs->n_heap_allocated = n;
        }
        qs->heap[qs->n_heap] = q;
        heap_up(qs, qs->n_heap++);
        return 0;
}

static void heap_remove(Questions *qs, Question *q) {
        size_t i = q->heap_index;
        Question *last;

        if (i == HEAP_NONE)
                return;
        q->heap_index = HEAP_NONE;
        last = qs->heap[--qs->n_heap];
        if (last == q)
                return;
        heap_set(qs, i, last);
        heap_up(qs, i);
        heap_down(qs, last->heap_index);
}

/* The table */

int questions_add(Questions *qs, Question *q) {
        int r;

        if (q->deadline != USEC_NEVER) {
                r = heap_push(qs, q);
                if (r < 0)
                        return r;
        }
        do
                qs->tag++;
        while (qs->tag == 0 || qs->tag > QUESTIONS_TAG_MAX || map_find(&qs->by_tag, qs->tag));
        map_insert(&qs->by_tag, &q->by_tag, qs->tag);
        qs->n_calls += q->kind == QUESTION_CALL;
        return 0;
}

Question *questions_find(const Questions *qs, uint32_t tag) {
        MapNode *node;

        node = map_find(&qs->by_tag, tag);
        return node ? container_of(node, Question, by_tag) : NULL;
}

void questions_remove(Questions *qs, Question *q) {
        map_remove(&qs->by_tag, &q->by_tag);
        heap_remove(qs, q);
        qs->n_calls -= q->kind == QUESTION_CALL;
}

static void questions_tell(Questions *qs, Question *q, int result) {
        q->result = result;
        if (q->done)
                q->done(q, q->done_userdata);
        else
                qs->finished(q, qs->userdata);
}

void questions_finish(Questions *qs, Question *q, int result, const char *text, size_t n_text) {
        questions_remove(qs, q);
        if (text)
                q->text = strndup(text, n_text); /* without memory for it the number has to do */
        questions_tell(qs, q, result);
}

uint64_t questions_get_deadline(const Questions *qs) {
        return qs->n_heap > 0 ? qs->heap[0]->deadline : USEC_NEVER;
}

void questions_expire(Questions *qs, uint64_t now) {
        while (questions_get_deadline(qs) <= now)
                questions_finish(qs, qs->heap[0], -ETIMEDOUT, NULL, 0);
}

/* All are taken out before the first is told: what is told may put new questions, and end others. */
static void questions_finish_some(Questions *qs, bool only_calls, uint64_t target, int result) {
        Question *first = NULL, **last = &first;
        MapNode *next;

        for (MapNode *node = map_next(&qs->by_tag, NULL); node; node = next) {
                Question *q = container_of(node, Question, by_tag);

                next = map_next(&qs->by_tag, node);
                if (only_calls && (q->kind != QUESTION_CALL || (target != 0 && q->target != target)))
                        continue;
                questions_remove(qs, q);
                q->next = NULL;
                *last = q;
                last = &q->next;
        }
        while (first) {
                Question *q = first;

                first = q->next;
                questions_tell(qs, q, result);
        }
}

void questions_finish_calls(Questions *qs, uint64_t target, int result) {
        if (qs->n_calls > 0)
                questions_finish_some(qs, true, target, result);
}

void questions_finish_all(Questions *qs, int result) {
        questions_finish_some(qs, false, 0, result);
}

void questions_deinit(Questions *qs) {
        questions_finish_all(qs, -ECANCELED);
        map_deinit(&qs->by_tag);
        free(qs->heap);
        qs->heap = NULL;
}
