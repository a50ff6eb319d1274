/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One table says what keys there are; everything else walks it. config-files.c says which files are read and in
 * which order; libeconf takes each of them apart on its own; values are config-value.c's. What was set last counts. */

#include <errno.h>
#include <inttypes.h>
#include <libeconf.h>
#include <libeconf_ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config-build.h"
#include "protocol/wire.h"
#include "service/config-files.h"
#include "service/config-value.h"
#include "service/config.h"
#include "service/log.h"

#define CONFIG_SECTION "Server"

/* Bounds are written like values. Times that go into WELCOME are milliseconds in a u32, which all of these bounds respect. */
static const struct Key {
        const char *name;
        const ValueType *type;
        size_t offset;
        const char *text; /* the default */
        const char *min, *max;
        bool fixed; /* needs a restart */
} keys[] = {
#define FIELD(name) offsetof(Config, name)
        { "Listen", &value_listen, FIELD(listen), "", NULL, NULL, true },
        { "Bus", &value_bus, FIELD(bus), "system", NULL, NULL, true },
        /* Each takes a descriptor, and the kernel's default for fs.nr_open allows no process more. */
        { "MaxClients", &value_number, FIELD(max_clients), "16384", "1", "1048576", false },
        /* More often, thousands of clients would be pinged all the time; more rarely, busy would not be told from alive. */
        { "PingIntervalSec", &value_seconds, FIELD(ping_interval_usec), "10", "100ms", "1h", false },
        /* Below, one lost packet and its retransmission can end a healthy link; above, TCP has given up itself (tcp_retries2). */
        { "KernelTimeoutSec", &value_seconds, FIELD(kernel_timeout_usec), "5", "1s", "15min", false },
        /* A client waits at least 0.1 s before it connects again; a session that is kept holds its name and its memory. */
        { "GraceSec", &value_seconds, FIELD(grace_usec), "30", "100ms", "1d", false },
        /* 0 is never. */
        { "SlowClientTimeoutSec", &value_seconds_or_never, FIELD(slow_client_timeout_usec), "0", "0", "1d", false },
        /* One slow receiver holds up a broadcast to all for that long; 0 is not at all. */
        { "BroadcastWaitMSec", &value_milliseconds, FIELD(broadcast_wait_usec), "500", "0", "1min", false },
        /* Any one frame must fit, 65,576 bytes; and it is memory, up to this much for each client that does not read. The default
         * is what one that uses the library grants to up to 32 senders together, so none of those has to wait when it stops. */
        { "OutboxHighWater", &value_size, FIELD(outbox_high), "4M", "65576", "1G", false },
        /* Nothing drains below 0, so senders would wait for ever. */
        { "OutboxLowWater", &value_size, FIELD(outbox_low), "1M", "1", "1G", false },
        /* The largest frame must fit with room to spare, or a flow could not begin; the field on the wire is a u32. The default
         * is two of them: several senders that begin together must not fill the outbox of one that has stopped. */
        { "InitialCredit", &value_size, FIELD(initial_credit), "128K", "65577", "4294967295", false },
        /* 0 is not at all. What it saves is to be woken, some microseconds to some dozens: 1 ms in vain for that is no gain. */
        { "SpinUSec", &value_microseconds, FIELD(spin_usec), "0", "0", "1ms", false },
#undef FIELD
};

enum {
        N_KEYS = sizeof(keys) / sizeof(keys[0]),
        /* What libeconf takes for a file: see reserve_memory(). */
        ECONF_MEMORY = 512 * 1024,
        KEY_NAME_MAX = 32,        /* longer texts are not misspelt keys of ours */
        SPELLING_DISTANCE_MAX = 3, /* more changes than that make another word */
};

_Static_assert(WIRE_FRAME_MAX == 65576, "the bounds of OutboxHighWater and InitialCredit follow the largest frame");

/* What a load has at hand: the configuration as far as it was read, and where each key was set last. */
typedef struct Loader {
        Config config;
        struct {
                char *file;
                uint64_t line;
        } origins[N_KEYS];
        char **error;
} Loader;

static void free_text(char **text) {
        free(*text);
}

static void free_econf(econf_file **file) {
        if (*file)
                econf_freeFile(*file);
}

static void free_array(char ***array) {
        if (*array)
                econf_freeArray(*array);
}

static void free_ext_value(econf_ext_value **value) {
        if (*value)
                econf_freeExtValue(*value);
}

static void loader_deinit(Loader *l) {
        config_deinit(&l->config);
        for (unsigned i = 0; i < N_KEYS; i++)
                free(l->origins[i].file);
}

/* Leaves one line for people, with file and line, and returns `error`. */
static int fail(Loader *l, int error, const char *file, uint64_t line, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
static int fail(Loader *l, int error, const char *file, uint64_t line, const char *format, ...) {
        __attribute__((cleanup(free_text))) char *what = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&what, format, ap) < 0)
                what = NULL;
        va_end(ap);
        if (!what || asprintf(l->error, "%s:%" PRIu64 ": %s", file, line, what) < 0) {
                *l->error = NULL;
                return -ENOMEM;
        }
        return error;
}

static void *key_field(const struct Key *key, Config *config) {
        return (char *) config + key->offset;
}

static const void *key_field_const(const struct Key *key, const Config *config) {
        return (const char *) config + key->offset;
}

/* Misspellings */

static unsigned min3(unsigned a, unsigned b, unsigned c) {
        unsigned ab = a < b ? a : b;

        return ab < c ? ab : c;
}

/* How many letters to insert, delete or change (Levenshtein), not minding their case. */
static unsigned spelling_distance(const char *a, const char *b) {
        unsigned row[KEY_NAME_MAX + 1];
        size_t n = strlen(b);

        if (n > KEY_NAME_MAX || strlen(a) > KEY_NAME_MAX)
                return UINT8_MAX;
        for (size_t j = 0; j <= n; j++)
                row[j] = (unsigned) j;
        for (; *a; a++) {
                unsigned diagonal = row[0];

                row[0]++;
                for (size_t j = 1; j <= n; j++) {
                        unsigned above = row[j], change = strncasecmp(a, &b[j - 1], 1) != 0;

                        row[j] = min3(above + 1, row[j - 1] + 1, diagonal + change);
                        diagonal = above;
                }
        }
        return row[n];
}

static const struct Key *find_key(const char *name) {
        for (unsigned i = 0; i < N_KEYS; i++)
                if (strcmp(keys[i].name, name) == 0)
                        return &keys[i];
        return NULL;
}

static const struct Key *nearest_key(const char *name) {
        const struct Key *nearest = NULL;
        unsigned best = SPELLING_DISTANCE_MAX + 1;

        for (unsigned i = 0; i < N_KEYS; i++) {
                unsigned distance = spelling_distance(name, keys[i].name);

                if (distance < best && distance * 2 < strlen(keys[i].name)) {
                        best = distance;
                        nearest = &keys[i];
                }
        }
        return nearest;
}

/* Keys */

static const char *key_example(const struct Key *key) {
        return *key->text ? key->text : "127.0.0.1:20000";
}

static int check_bounds(Loader *l, const struct Key *key, const char *text, uint64_t value, const char *file, uint64_t line) {
        uint64_t min, max;

        if (key->type->parse(key->min, &min) < 0 || key->type->parse(key->max, &max) < 0)
                return -ENOTRECOVERABLE; /* the table is wrong; its test says so */
        if (value < min)
                return fail(l, -ERANGE, file, line, "%s=%s is too small; give at least %s", key->name, text, key->min);
        if (value > max)
                return fail(l, -ERANGE, file, line, "%s=%s is too large; give at most %s", key->name, text, key->max);
        return 0;
}

static int set_key(Loader *l, const struct Key *key, const char *text, const char *file, uint64_t line) {
        uint64_t number = 0;
        char *origin;
        int r;

        r = key->type->parse(text, key->type->is_number ? &number : key_field(key, &l->config));
        if (r == -EINVAL && !*text)
                return fail(l, r, file, line, "%s= has no value; give one, as in %s=%s", key->name, key->name, key_example(key));
        if (r == -EINVAL)
                return fail(l, r, file, line, "%s=%s %s %s=%s", key->name, text, key->type->complaint, key->name,
                            key_example(key));
        if (r < 0)
                return r;
        if (key->type->is_number) {
                r = check_bounds(l, key, text, number, file, line);
                if (r < 0)
                        return r;
                *(uint64_t *) key_field(key, &l->config) = number;
        }

        origin = strdup(file);
        if (!origin)
                return -ENOMEM;
        free(l->origins[key - keys].file);
        l->origins[key - keys].file = origin;
        l->origins[key - keys].line = line;
        return 0;
}

static int set_defaults(Config *config) {
        for (unsigned i = 0; i < N_KEYS; i++) {
                int r = keys[i].type->parse(keys[i].text, key_field(&keys[i], config));

                if (r < 0)
                        return r;
        }
        return 0;
}

/* One file */

/* The one value of a key. libeconf puts a following line without "=" into the value, gives the first of repeated keys only,
 * and ends a value at a comment sign that may have been meant: all three are refused, so that nothing that somebody wrote is
 * passed over in silence. */
static int read_value(Loader *l, const struct Key *key, const econf_ext_value *value, const char *file) {
        const char *text = value->values && value->values[0] ? value->values[0] : "";
        uint64_t line = value->line_number;

        if (value->values && value->values[0] && value->values[1])
                return fail(l, -EINVAL, file, line, "neither KEY=VALUE nor a comment; a value is written on one line");
        if (value->comment_after_value)
                return fail(l, -EINVAL, file, line, "a comment sign behind the value of %s=; comments stand on their own lines",
                            key->name);
        return set_key(l, key, text, file, line);
}

static int refuse_key(Loader *l, const char *section, const char *name, const char *file, uint64_t line) {
        const struct Key *nearest = nearest_key(name);

        if (!section)
                return fail(l, -EINVAL, file, line, "%s= stands outside of any section; write [" CONFIG_SECTION "] above it",
                            name);
        if (strcmp(section, CONFIG_SECTION) != 0)
                return fail(l, -EINVAL, file, line,
                            "%s= stands in the unknown section [%s]; the section is called [" CONFIG_SECTION "]", name, section);
        if (nearest)
                return fail(l, -EINVAL, file, line, "unknown key %s=; did you mean %s=?", name, nearest->name);
        return fail(l, -EINVAL, file, line, "unknown key %s=; directserver.conf(5) lists the keys", name);
}

/* `section` NULL: what stands before the first section. */
static int read_section(Loader *l, econf_file *econf, const char *section, const char *file) {
        __attribute__((cleanup(free_array))) char **names = NULL;
        bool seen[N_KEYS] = {};
        econf_err e;
        size_t n;

        e = econf_getKeys(econf, section, &n, &names);
        if (e != ECONF_SUCCESS)
                return e == ECONF_NOMEM ? -ENOMEM : 0; /* no keys */
        for (size_t i = 0; i < n; i++) {
                __attribute__((cleanup(free_ext_value))) econf_ext_value *value = NULL;
                const struct Key *key = section && strcmp(section, CONFIG_SECTION) == 0 ? find_key(names[i]) : NULL;
                int r;

                if (econf_getExtValue(econf, section, names[i], &value) != ECONF_SUCCESS)
                        return -ENOMEM;
                if (!key)
                        return refuse_key(l, section, names[i], file, value->line_number);
                if (seen[key - keys])
                        return fail(l, -EINVAL, file, value->line_number, "%s= is given again further down in the same file",
                                    key->name);
                seen[key - keys] = true;
                r = read_value(l, key, value, file);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_sections(Loader *l, econf_file *econf, const char *file) {
        __attribute__((cleanup(free_array))) char **sections = NULL;
        size_t n = 0;
        int r;

        r = read_section(l, econf, NULL, file);
        if (r < 0)
                return r;
        if (econf_getGroups(econf, &n, &sections) != ECONF_SUCCESS)
                return 0; /* none */
        for (size_t i = 0; i < n; i++)
                if (strcmp(sections[i], CONFIG_SECTION) != 0) {
                        r = read_section(l, econf, sections[i], file);
                        if (r < 0)
                                return r;
                }
        return read_section(l, econf, CONFIG_SECTION, file); /* once, although a section that is continued is listed twice */
}

static int explain_econf(Loader *l, econf_err error, const char *file) {
        __attribute__((cleanup(free_text))) char *location = NULL;
        uint64_t line = 0;

        if (error == ECONF_NOMEM)
                return -ENOMEM;
        econf_errLocation(&location, &line);
        return fail(l, -EINVAL, file, line, "%s", econf_errString(error));
}

/* libeconf 0.5.1 does not look whether strdup() had memory for it: without, it crashes, leaks what it has opened, or reads
 * something else than is written. The C library keeps what is given back here, so it is there for libeconf. */
static int reserve_memory(void) {
        void *volatile memory = malloc(ECONF_MEMORY); /* volatile: that it was there counts, which compilers don't know */

        if (!memory)
                return -ENOMEM;
        free(memory);
        return 0;
}

static int read_file(Loader *l, const char *file) {
        __attribute__((cleanup(free_econf))) econf_file *econf = NULL;
        econf_err e;

        if (reserve_memory() < 0)
                return -ENOMEM;
        e = econf_readFile(&econf, file, "=", "#;");
        return e == ECONF_SUCCESS ? read_sections(l, econf, file) : explain_econf(l, e, file);
}

/* All files */

/* What no single key can know: the low mark is a quarter of the high one, as by default, or what was set, if that is lower. */
static int check_together(Loader *l) {
        const struct Key *low = find_key("OutboxLowWater");
        size_t i = (size_t) (low - keys);

        if (!l->origins[i].file)
                l->config.outbox_low = l->config.outbox_high / 4;
        if (l->config.outbox_low < l->config.outbox_high)
                return 0;
        return fail(l, -ERANGE, l->origins[i].file, l->origins[i].line,
                    "OutboxLowWater (%" PRIu64 ") is not smaller than OutboxHighWater (%" PRIu64 ")", l->config.outbox_low,
                    l->config.outbox_high);
}

static int read_all(Loader *l, const char *base, const char *vendor_base) {
        __attribute__((cleanup(config_files_deinit))) ConfigFiles files = CONFIG_FILES_NULL;
        int r;

        r = set_defaults(&l->config);
        if (r < 0)
                return r;
        r = config_files_find(base, vendor_base, &files, l->error);
        if (r < 0)
                return r;
        for (size_t i = 0; i < files.n; i++) {
                r = read_file(l, files.paths[i]);
                if (r < 0)
                        return r;
        }
        return check_together(l);
}

/* It quotes what was in the files, and goes to terminals and over D-Bus, which takes nothing but UTF-8. */
static int clean_error(char **error) {
        size_t size;
        char *clean;

        if (!*error)
                return 0;
        size = 4 * strlen(*error) + 1; /* each byte as \xNN */
        clean = malloc(size);
        if (clean)
                log_clean_text(*error, clean, size);
        free(*error);
        *error = clean;
        return clean ? 0 : -ENOMEM;
}

static int load(const char *base, const char *vendor_base, Config *ret_config, char **ret_error) {
        __attribute__((cleanup(loader_deinit))) Loader l = { .config = CONFIG_NULL, .error = ret_error };
        int r;

        *ret_error = NULL;
        r = read_all(&l, base, vendor_base);
        if (r < 0)
                return clean_error(ret_error) < 0 ? -ENOMEM : r;
        *ret_config = l.config;
        l.config = CONFIG_NULL;
        return 0;
}

static char *default_path(const char *directory, const char *instance) {
        char *path;
        int r = asprintf(&path, "%s/directserver%s%s.conf", directory, instance ? "@" : "", instance ? instance : "");

        return r < 0 ? NULL : path;
}

int config_load_from(const char *directory, const char *vendor_directory, const char *instance, Config *ret_config,
                     char **ret_error) {
        __attribute__((cleanup(free_text))) char *base = default_path(directory, instance), *vendor_base = NULL;

        vendor_base = base ? default_path(vendor_directory, instance) : NULL;
        if (!vendor_base) {
                *ret_error = NULL;
                return -ENOMEM;
        }
        return load(base, vendor_base, ret_config, ret_error);
}

int config_load(const char *path, const char *instance, Config *ret_config, char **ret_error) {
        return path ? load(path, NULL, ret_config, ret_error)
                    : config_load_from(CONFIG_DIR, VENDOR_CONFIG_DIR, instance, ret_config, ret_error);
}

void config_deinit(Config *config) {
        config->listen = value_listen_free(config->listen);
}

bool config_get_key(size_t i, const char **ret_name, const char **ret_default) {
        if (i >= N_KEYS)
                return false;
        *ret_name = keys[i].name;
        *ret_default = keys[i].text;
        return true;
}

/* The names of the keys that differ and are, or are not, fixed. */
static char *list_differences(const Config *a, const Config *b, bool fixed) {
        size_t n = 1;
        char *list;

        for (unsigned i = 0; i < N_KEYS; i++)
                n += strlen(keys[i].name) + 1;
        list = calloc(1, n);
        if (!list)
                return NULL;
        for (unsigned i = 0; i < N_KEYS; i++) {
                if (keys[i].fixed != fixed || keys[i].type->equal(key_field_const(&keys[i], a), key_field_const(&keys[i], b)))
                        continue;
                if (*list)
                        strcat(list, " ");
                strcat(list, keys[i].name);
        }
        return list;
}

int config_compare(const Config *running, const Config *loaded, char **ret_fixed, char **ret_changed) {
        __attribute__((cleanup(free_text))) char *fixed = NULL;
        char *changed;

        fixed = list_differences(running, loaded, true);
        changed = list_differences(running, loaded, false);
        if (!fixed || !changed) {
                free(changed);
                return -ENOMEM;
        }
        *ret_fixed = fixed;
        fixed = NULL;
        *ret_changed = changed;
        return 0;
}
