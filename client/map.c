/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Chained buckets, doubled when there are as many nodes as buckets. It owns the array of buckets and nothing else. Keys are mixed
 * before use, because ids and tags count up. */

#include <stdlib.h>

#include "client/map.h"

static uint64_t mix(uint64_t x) {
        x ^= x >> 30;
        x *= UINT64_C(0xbf58476d1ce4e5b9);
        x ^= x >> 27;
        x *= UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

uint64_t map_hash_bytes(const void *data, size_t size) {
        const unsigned char *p = data;
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < size; i++)
                hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
        return hash;
}

static size_t map_size(const Map *m) {
        return m->buckets ? m->n_buckets : MAP_N_INLINE;
}

static MapNode **map_bucket(const Map *m, uint64_t key) {
        MapNode *const *buckets = m->buckets ? m->buckets : m->inline_buckets;

        return (MapNode **) &buckets[mix(key) & (map_size(m) - 1)];
}

void map_deinit(Map *m) {
        free(m->buckets);
        *m = (Map) {};
}

static void map_grow(Map *m) {
        size_t n_old = map_size(m);
        MapNode **old = m->buckets, **buckets;
        MapNode *moved[MAP_N_INLINE];

        buckets = calloc(n_old * 2, sizeof(*buckets));
        if (!buckets)
                return;
        if (!old)
                for (size_t i = 0; i < MAP_N_INLINE; i++) {
                        moved[i] = m->inline_buckets[i];
                        m->inline_buckets[i] = NULL;
                }
        m->buckets = buckets;
        m->n_buckets = n_old * 2;
        for (size_t i = 0; i < n_old; i++)
                for (MapNode *node = old ? old[i] : moved[i], *next; node; node = next) {
                        MapNode **bucket = map_bucket(m, node->key);

                        next = node->next;
                        node->next = *bucket;
                        *bucket = node;
                }
        free(old);
}

void map_insert(Map *m, MapNode *node, uint64_t key) {
        MapNode **bucket;

        if (m->n_nodes >= map_size(m))
                map_grow(m);
        bucket = map_bucket(m, key);
        node->key = key;
        node->next = *bucket;
        *bucket = node;
        m->n_nodes++;
}

void map_remove(Map *m, MapNode *node) {
        for (MapNode **p = map_bucket(m, node->key); *p; p = &(*p)->next)
                if (*p == node) {
                        *p = node->next;
                        node->next = NULL;
                        m->n_nodes--;
                        return;
                }
}

MapNode *map_find(const Map *m, uint64_t key) {
        for (MapNode *node = *map_bucket(m, key); node; node = node->next)
                if (node->key == key)
                        return node;
        return NULL;
}

MapNode *map_find_next(const MapNode *node) {
        for (MapNode *other = node->next; other; other = other->next)
                if (other->key == node->key)
                        return other;
        return NULL;
}

static MapNode *map_from(const Map *m, size_t i) {
        MapNode *const *buckets = m->buckets ? m->buckets : m->inline_buckets;

        for (; i < map_size(m); i++)
                if (buckets[i])
                        return buckets[i];
        return NULL;
}

MapNode *map_next(const Map *m, const MapNode *node) {
        if (!node)
                return map_from(m, 0);
        if (node->next)
                return node->next;
        return map_from(m, (size_t) (mix(node->key) & (map_size(m) - 1)) + 1);
}

MapNode *map_any(const Map *m) {
        return m->n_nodes > 0 ? map_from(m, 0) : NULL;
}
