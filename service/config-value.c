/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each type is a parser and a comparison. Times and sizes are written as in systemd.time(7) and systemd's own sizes; a text is
 * taken whole or not at all. Addresses are checked for their shape only: resolving one may block, and is for who listens on
 * it. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "service/config-value.h"
#include "service/config.h"

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)

static const char *skip_space(const char *p) {
        return p + strspn(p, " \t");
}

/* Digits only: no sign, no white space, no other base. Moves *p behind them. */
static int parse_digits(const char **p, uint64_t *ret) {
        uint64_t v = 0;
        const char *s = *p;

        if (!isdigit((unsigned char) *s))
                return -EINVAL;
        for (; isdigit((unsigned char) *s); s++)
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        return -EINVAL;
        *p = s;
        *ret = v;
        return 0;
}

static bool equal_u64(const void *a, const void *b) {
        return *(const uint64_t *) a == *(const uint64_t *) b;
}

/* Numbers and sizes */

static int parse_number(const char *text, void *field) {
        uint64_t v;
        int r = parse_digits(&text, &v);

        if (r < 0 || *text)
                return -EINVAL;
        *(uint64_t *) field = v;
        return 0;
}

static int parse_size(const char *text, void *field) {
        static const char suffixes[] = "KMG";
        uint64_t v;
        int r = parse_digits(&text, &v);

        if (r < 0)
                return r;
        if (*text) {
                const char *suffix = strchr(suffixes, *text);

                if (!suffix || text[1] || __builtin_mul_overflow(v, UINT64_C(1) << (10 * (suffix - suffixes + 1)), &v))
                        return -EINVAL;
        }
        *(uint64_t *) field = v;
        return 0;
}

const ValueType value_number = { parse_number, equal_u64, true, "is not a number; give one, as in" };
const ValueType value_size = { parse_size, equal_u64, true, "is not a size; give bytes, or K, M, G, as in" };

/* Times */

static const struct TimeUnit {
        const char *name;
        uint64_t usec;
} time_units[] = {
        { "us", 1 },
        { "usec", 1 },
        { "ms", USEC_PER_MSEC },
        { "msec", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", 60 * USEC_PER_SEC },
        { "min", 60 * USEC_PER_SEC },
        { "minute", 60 * USEC_PER_SEC },
        { "minutes", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
        { "hr", 3600 * USEC_PER_SEC },
        { "hour", 3600 * USEC_PER_SEC },
        { "hours", 3600 * USEC_PER_SEC },
        { "d", 86400 * USEC_PER_SEC },
        { "day", 86400 * USEC_PER_SEC },
        { "days", 86400 * USEC_PER_SEC },
};

/* Moves *p behind the unit; no unit is `plain`. */
static int parse_unit(const char **p, uint64_t plain, uint64_t *ret_usec) {
        size_t n = 0;

        while (isalpha((unsigned char) (*p)[n]))
                n++;
        if (n == 0) {
                *ret_usec = plain;
                return 0;
        }
        for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++)
                if (strlen(time_units[i].name) == n && memcmp(time_units[i].name, *p, n) == 0) {
                        *p += n;
                        *ret_usec = time_units[i].usec;
                        return 0;
                }
        return -EINVAL;
}

/* One "2.5s". Digits of the fraction that say less than a microsecond are read and count for nothing. */
static int parse_span(const char **p, uint64_t plain, uint64_t *ret_usec) {
        const char *fraction = "";
        uint64_t whole, unit, span;
        int r;

        r = parse_digits(p, &whole);
        if (r < 0)
                return r;
        if (**p == '.') {
                fraction = ++*p;
                if (!isdigit((unsigned char) *fraction))
                        return -EINVAL;
                *p += strspn(*p, "0123456789");
        }
        *p = skip_space(*p);
        r = parse_unit(p, plain, &unit);
        if (r < 0)
                return r;
        if (__builtin_mul_overflow(whole, unit, &span))
                return -EINVAL;
        for (; isdigit((unsigned char) *fraction) && unit > 0; fraction++) {
                if (__builtin_add_overflow(span, (uint64_t) (*fraction - '0') * unit / 10, &span))
                        return -EINVAL;
                unit /= 10;
        }
        *ret_usec = span;
        return 0;
}

static int parse_time(const char *text, uint64_t plain, uint64_t *ret_usec) {
        uint64_t sum = 0;

        do {
                uint64_t span;
                int r = parse_span(&text, plain, &span);

                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, span, &sum))
                        return -EINVAL;
                text = skip_space(text);
        } while (*text);
        *ret_usec = sum;
        return 0;
}

static int parse_seconds(const char *text, void *field) {
        return parse_time(text, USEC_PER_SEC, field);
}

static int parse_milliseconds(const char *text, void *field) {
        return parse_time(text, USEC_PER_MSEC, field);
}

static int parse_microseconds(const char *text, void *field) {
        return parse_time(text, 1, field);
}

static int parse_seconds_or_never(const char *text, void *field) {
        if (strcmp(text, "infinity") != 0)
                return parse_seconds(text, field);
        *(uint64_t *) field = 0;
        return 0;
}

const ValueType value_seconds = { parse_seconds, equal_u64, true, "is not a time; give seconds, as in" };
const ValueType value_milliseconds = { parse_milliseconds, equal_u64, true, "is not a time; give milliseconds, as in" };
const ValueType value_microseconds = { parse_microseconds, equal_u64, true, "is not a time; give microseconds, as in" };
const ValueType value_seconds_or_never = { parse_seconds_or_never, equal_u64, true,
                                           "is not a time; give seconds, or infinity, as in" };

/* The bus */

static const char *const bus_names[] = {
        [BUS_SYSTEM] = "system",
        [BUS_USER] = "user",
        [BUS_NONE] = "none",
};

int config_parse_bus(const char *text, BusKind *ret) {
        for (size_t i = 0; i < sizeof(bus_names) / sizeof(bus_names[0]); i++)
                if (strcmp(text, bus_names[i]) == 0) {
                        *ret = (BusKind) i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_bus(const char *text, void *field) {
        return config_parse_bus(text, field);
}

static bool equal_bus(const void *a, const void *b) {
        return *(const BusKind *) a == *(const BusKind *) b;
}

const ValueType value_bus = { parse_bus, equal_bus, false, "is not a bus; give system, user or none, as in" };

/* Addresses */

static bool port_is_valid(const char *text) {
        uint64_t port;

        return parse_digits(&text, &port) == 0 && !*text && port <= UINT16_MAX;
}

static bool address_has_shape(const char *text) {
        const char *colon;

        if (strncmp(text, "unix:", 5) == 0)
                return text[5] == '/' && strlen(text + 5) < sizeof(((struct sockaddr_un *) NULL)->sun_path);
        colon = strrchr(text, ':');
        if (!colon || colon == text || !port_is_valid(colon + 1))
                return false;
        if (text[0] == '[')
                return colon[-1] == ']' && colon - text > 2;
        return memchr(text, ':', (size_t) (colon - text)) == NULL;
}

char **value_listen_free(char **listen) {
        if (!listen)
                return NULL;
        for (char **p = listen; *p; p++)
                free(*p);
        free(listen);
        return NULL;
}

static void free_listen(char ***listen) {
        value_listen_free(*listen);
}

static int parse_listen(const char *text, void *field) {
        __attribute__((cleanup(free_listen))) char **list = NULL;
        static const char space[] = " \t\r\n\v\f";
        char ***place = field;
        size_t n = 0;

        for (const char *p = text + strspn(text, space); *p; p += strspn(p, space)) {
                size_t length = strcspn(p, space);
                char **grown = reallocarray(list, n + 2, sizeof(*list));

                if (!grown)
                        return -ENOMEM;
                list = grown;
                list[n] = strndup(p, length);
                list[n + 1] = NULL;
                if (!list[n])
                        return -ENOMEM;
                if (!address_has_shape(list[n++]))
                        return -EINVAL;
                p += length;
        }
        value_listen_free(*place);
        *place = list;
        list = NULL;
        return 0;
}

static bool equal_listen(const void *a, const void *b) {
        char *const *x = *(char *const *const *) a, *const *y = *(char *const *const *) b;

        if (!x || !y)
                return x == y;
        for (; *x && *y; x++, y++)
                if (strcmp(*x, *y) != 0)
                        return false;
        return *x == *y;
}

const ValueType value_listen = { parse_listen, equal_listen, false,
                                 "is not a list of addresses; give HOST:PORT or unix:/PATH, as in" };
