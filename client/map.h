/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A hash table of intrusive nodes by a 64-bit key. Inserting can't fail: without memory to grow, it gets slower. */

#include <stddef.h>
#include <stdint.h>

enum { MAP_N_INLINE = 16 }; /* buckets of a map that owns no memory */

typedef struct MapNode {
        struct MapNode *next;
        uint64_t key;
} MapNode;

typedef struct Map {
        MapNode **buckets; /* NULL: the inline ones */
        size_t n_buckets;  /* a power of two; 0: the inline ones */
        size_t n_nodes;
        MapNode *inline_buckets[MAP_N_INLINE];
} Map;

/* Frees the table. The nodes are their owners', who took them out before. */
void map_deinit(Map *m);

/* Several nodes may have one key: those whose real key is longer put a hash of it here and compare what they find. */
void map_insert(Map *m, MapNode *node, uint64_t key);
void map_remove(Map *m, MapNode *node);
MapNode *map_find(const Map *m, uint64_t key);
MapNode *map_find_next(const MapNode *node);

/* All nodes, in no order: the first for NULL; NULL after the last. The node that was returned last may be removed only after
 * the next one was asked for. */
MapNode *map_next(const Map *m, const MapNode *node);

/* Any node, or NULL: to take a map apart. */
MapNode *map_any(const Map *m);

uint64_t map_hash_bytes(const void *data, size_t size);
