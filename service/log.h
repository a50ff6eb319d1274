/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Logging for the control code: to the journal with fields where stderr is connected to it (JOURNAL_STREAM), else to stderr as
 * text with a "<N>"-less prefix for people. Control characters, whoever sent them, come out as \x1b. Peer-caused lines go
 * through a rate limit and say how many were left out. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

/* Messages with an id of their own; the catalogue (systemd/directserver.catalog) explains each. */
typedef enum LogMessage {
        LOG_MESSAGE_NONE,
        LOG_MESSAGE_STARTED,
        LOG_MESSAGE_STOPPING,
        LOG_MESSAGE_CLIENT_KICKED,
        LOG_MESSAGE_CLIENT_LOST,      /* died, reset, timed out */
        LOG_MESSAGE_PROTOCOL_ERROR,
        LOG_MESSAGE_REFUSED,
        LOG_MESSAGE_DESCRIPTORS_USED_UP,
        LOG_MESSAGE_CONFIG_INVALID,
        LOG_MESSAGE_RELOADED,
        LOG_MESSAGE_BUS_LOST,
        _LOG_MESSAGE_N,
} LogMessage;

/* The fields that an entry may carry; zero or NULL ones are left out. */
typedef struct LogFields {
        LogMessage message;
        const char *client_name; /* CLIENT_NAME= */
        uint64_t client_id;      /* CLIENT_ID= */
        const char *address;     /* CLIENT_ADDRESS= */
        const char *reason;      /* REASON= */
} LogFields;

/* `error` is a negative errno that becomes ERRNO= and that %m in the format stands for (0: none). Returns `error`, so that a
 * function can log and return in one statement. */
int log_full(int level, int error, const LogFields *fields, const char *format, ...) __attribute__((format(printf, 4, 5)));

#define log_error(error, ...) log_full(LOG_ERR, error, NULL, __VA_ARGS__)
#define log_warning(error, ...) log_full(LOG_WARNING, error, NULL, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, 0, NULL, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, 0, NULL, __VA_ARGS__)

/* A rate limit for one kind of peer-caused line: at most `burst` in `interval_usec`. The clock is given, so that it can be
 * tested. */
typedef struct LogLimit {
        uint64_t interval_usec;
        unsigned burst;
        uint64_t begin;
        unsigned n_passed;
        unsigned n_left_out;
} LogLimit;

/* True if a line may be written; *ret_left_out is the number that was left out since the last that was written. */
bool log_limit_pass(LogLimit *limit, uint64_t now_usec, unsigned *ret_left_out);

/* The 32 hex digits of a message's id, from log-messages.h; NULL for LOG_MESSAGE_NONE. */
const char *log_message_id(LogMessage message);

/* Copies `text` with each byte that is part of a control character or of no UTF-8 character as \xNN, cut at a whole character
 * so that it fits `size` (at least 1). Returns its length. */
size_t log_clean_text(const char *text, char *buffer, size_t size);
