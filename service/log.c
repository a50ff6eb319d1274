/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each line goes to exactly one place: the journal, with fields, where stderr is the journal's stream; else stderr, for
 * people. Which of the two is asked anew for each line, so there is no state to set up or to go stale. What peers have said
 * passes through log_clean_text(), so no control character reaches a terminal and no line break forges a second line. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "protocol/wire.h"
#include "service/log-messages.h"
#include "service/log.h"

enum {
        LOG_TEXT_MAX = 2048,  /* a line that quotes the longest reason (SERVER_REASON_MAX) and still says what it is about */
        LOG_FIELD_MAX = 1280, /* the longest reason and the field's name */
        LOG_N_FIELDS = 8,     /* as many as write_journal() can add */
};

static const char *const message_ids[_LOG_MESSAGE_N] = {
        [LOG_MESSAGE_STARTED] = LOG_MESSAGE_ID_STARTED,
        [LOG_MESSAGE_STOPPING] = LOG_MESSAGE_ID_STOPPING,
        [LOG_MESSAGE_CLIENT_KICKED] = LOG_MESSAGE_ID_CLIENT_KICKED,
        [LOG_MESSAGE_CLIENT_LOST] = LOG_MESSAGE_ID_CLIENT_LOST,
        [LOG_MESSAGE_PROTOCOL_ERROR] = LOG_MESSAGE_ID_PROTOCOL_ERROR,
        [LOG_MESSAGE_REFUSED] = LOG_MESSAGE_ID_REFUSED,
        [LOG_MESSAGE_DESCRIPTORS_USED_UP] = LOG_MESSAGE_ID_DESCRIPTORS_USED_UP,
        [LOG_MESSAGE_CONFIG_INVALID] = LOG_MESSAGE_ID_CONFIG_INVALID,
        [LOG_MESSAGE_RELOADED] = LOG_MESSAGE_ID_RELOADED,
        [LOG_MESSAGE_BUS_LOST] = LOG_MESSAGE_ID_BUS_LOST,
};

const char *log_message_id(LogMessage message) {
        return (unsigned) message < _LOG_MESSAGE_N ? message_ids[message] : NULL;
}

/* The length of the clean character at `p`, or 0. A sequence that is cut short is never clean, so the first length that is
 * fits. */
static size_t clean_character(const char *p, size_t left) {
        for (size_t n = 1; n <= 4 && n <= left; n++)
                if (wire_text_is_clean(p, n))
                        return n;
        return 0;
}

size_t log_clean_text(const char *text, char *buffer, size_t size) {
        size_t left = strlen(text), n = 0;

        while (left > 0) {
                size_t length = clean_character(text, left), used = length > 0 ? length : 1;
                size_t needed = length > 0 ? length : 4;

                if (n + needed >= size)
                        break;
                if (length > 0)
                        memcpy(buffer + n, text, length);
                else
                        snprintf(buffer + n, needed + 1, "\\x%02x", (unsigned) (uint8_t) *text);
                n += needed;
                text += used;
                left -= used;
        }
        buffer[n] = '\0';
        return n;
}

/* JOURNAL_STREAM is "DEVICE:INODE" of what the service manager connected, see systemd.exec(5). In a changed root there may be
 * the stream but no socket, and sd_journal_sendv() calls that a success. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        char expected[64];
        struct stat st;

        if (!stream || fstat(STDERR_FILENO, &st) < 0 || access("/run/systemd/journal/socket", F_OK) < 0)
                return false;
        snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t) st.st_dev, (uintmax_t) st.st_ino);
        return strcmp(stream, expected) == 0;
}

/* The journal entry as it is put together; each text has its place, so that all live until it is sent. */
typedef struct Entry {
        char message[sizeof("MESSAGE=") + LOG_TEXT_MAX];
        char fields[LOG_N_FIELDS][LOG_FIELD_MAX];
        struct iovec iov[LOG_N_FIELDS + 1];
        int n;
} Entry;

static void entry_add(Entry *e, const char *name, const char *value) {
        char *p = e->fields[e->n];
        size_t n;

        if (!value || !*value)
                return;
        n = (size_t) snprintf(p, LOG_FIELD_MAX, "%s=", name);
        n += log_clean_text(value, p + n, LOG_FIELD_MAX - n);
        e->iov[e->n++] = (struct iovec) { .iov_base = p, .iov_len = n };
}

static void entry_add_number(Entry *e, const char *name, uint64_t value) {
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, value);
        entry_add(e, name, text);
}

static int write_journal(int level, int error, const LogFields *fields, const char *text) {
        Entry e = { .n = 0 };

        entry_add_number(&e, "PRIORITY", (uint64_t) level);
        entry_add(&e, "SYSLOG_IDENTIFIER", "directserver");
        if (error < 0)
                entry_add_number(&e, "ERRNO", (uint64_t) -error);
        if (fields) {
                entry_add(&e, "MESSAGE_ID", log_message_id(fields->message));
                entry_add(&e, "CLIENT_NAME", fields->client_name);
                if (fields->client_id != 0)
                        entry_add_number(&e, "CLIENT_ID", fields->client_id);
                entry_add(&e, "CLIENT_ADDRESS", fields->address);
                entry_add(&e, "REASON", fields->reason);
        }
        e.iov[e.n++] = (struct iovec) {
                .iov_base = e.message,
                .iov_len = (size_t) snprintf(e.message, sizeof(e.message), "MESSAGE=%s", text),
        };
        return sd_journal_sendv(e.iov, e.n);
}

/* One write per line, so that lines of several processes do not mix. There is nowhere left to report a failure to. */
static void write_stderr(const char *text) {
        char line[sizeof("directserver: \n") + LOG_TEXT_MAX];
        int n = snprintf(line, sizeof(line), "directserver: %s\n", text);
        ssize_t written;

        do
                written = write(STDERR_FILENO, line, (size_t) n);
        while (written < 0 && errno == EINTR);
}

int log_full(int level, int error, const LogFields *fields, const char *format, ...) {
        char raw[LOG_TEXT_MAX], text[LOG_TEXT_MAX];
        int saved = errno;
        va_list ap;

        errno = error < 0 ? -error : saved; /* for %m */
        va_start(ap, format);
        vsnprintf(raw, sizeof(raw), format, ap);
        va_end(ap);
        log_clean_text(raw, text, sizeof(text));

        if (!stderr_is_journal() || write_journal(level, error, fields, text) < 0)
                write_stderr(text);
        errno = saved;
        return error;
}

bool log_limit_pass(LogLimit *limit, uint64_t now_usec, unsigned *ret_left_out) {
        bool fresh = limit->n_passed == 0 && limit->n_left_out == 0;

        if (fresh || now_usec - limit->begin >= limit->interval_usec) {
                limit->begin = now_usec;
                limit->n_passed = 0;
        }
        if (limit->n_passed >= limit->burst) {
                limit->n_left_out++;
                return false;
        }
        limit->n_passed++;
        *ret_left_out = limit->n_left_out;
        limit->n_left_out = 0;
        return true;
}
