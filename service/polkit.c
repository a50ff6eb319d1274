/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Authorisation of the D-Bus methods that change something.
 *
 * A check holds the method call and goes through three questions, each asked asynchronously, so that neither a stuck bus nor a
 * stuck polkit stops the service:
 *
 *   1. Who is the caller? The bus is asked for its user. Root and our own user pass at once.
 *   2. Is it still there? We watch for its disappearance, then ask the bus again, so that no gap is left between the two.
 *   3. May it? polkit is asked, which may ask a person, which may take minutes.
 *
 * A caller that goes away ends its check, and polkit is told so. "No such caller" is a refusal at every step: it must never
 * turn into user 0. Nothing is looked up before the wait and used after it: `run` gets the message and starts afresh.
 *
 * A check owns its message and its slots; Polkit owns all checks and borrows the bus, which must outlive it. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/polkit.h"

enum {
        /* What the bus delivers while its driver is slow to answer question 1: about 1 KiB each. */
        POLKIT_CHECKS_MAX = 16384,
        /* Checks may stay open as long as a dialogue does. dbus-daemon allows 128 calls under way to one connection, us, by
         * default; a single user must not take them all. */
        POLKIT_ASKING_MAX = 64,
        POLKIT_ASKING_PER_USER_MAX = 8,
};

#define POLKIT_INTERACTIVE_USEC (UINT64_C(5) * 60 * 1000000) /* a person looks for a password */

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ERROR_INTERACTIVE "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

typedef struct Check Check;

struct Polkit {
        sd_bus *bus;
        bool ask;
        PolkitUnanswered unanswered;
        void *userdata;
        Check *checks;
        unsigned n_checks;
        unsigned n_asking;
        uint64_t n_begun; /* makes cancellation ids unique */
};

struct Check {
        Polkit *polkit;
        Check *previous, *next;
        sd_bus_message *call;
        const char *action; /* static */
        char *client;
        PolkitRun run;
        void *userdata;

        uid_t uid; /* valid once the bus has answered */
        bool asking;
        bool with_polkit; /* a question to polkit is open */
        char cancellation[32];
        sd_bus_slot *question; /* the one call that is under way */
        sd_bus_slot *watch;
};

/* polkit closes its dialogue. Its answer to the question itself is not awaited. */
static void check_cancel(Check *check) {
        __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *cancel = NULL;

        if (sd_bus_message_new_method_call(check->polkit->bus, &cancel, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CancelCheckAuthorization") < 0 ||
            sd_bus_message_append(cancel, "s", check->cancellation) < 0 ||
            sd_bus_message_set_expect_reply(cancel, 0) < 0 ||
            sd_bus_message_set_auto_start(cancel, 0) < 0) /* a polkit that has gone has nothing to cancel */
                return;
        (void) sd_bus_send(check->polkit->bus, cancel, NULL); /* fails with the bus, and then polkit notices by itself */
}

static Check *check_free(Check *check) {
        Polkit *polkit;

        if (!check)
                return NULL;
        polkit = check->polkit;
        if (check->with_polkit)
                check_cancel(check);
        if (check->asking)
                polkit->n_asking--;
        if (check->previous)
                check->previous->next = check->next;
        else if (polkit->checks == check)
                polkit->checks = check->next;
        if (check->next)
                check->next->previous = check->previous;
        polkit->n_checks--;
        sd_bus_slot_unref(check->question);
        sd_bus_slot_unref(check->watch);
        sd_bus_message_unref(check->call);
        free(check->client);
        free(check);
        return NULL;
}

static void check_freep(Check **check) {
        check_free(*check);
}

/* A reply that can't be sent has nobody left to read it, unless there is no memory for it. */
static void check_end(Check *check, int r) {
        if (r == -ENOMEM)
                check->polkit->unanswered(check->polkit->userdata);
        check_free(check);
}

static void check_refuse(Check *check, const char *name, const char *message) {
        check_end(check, sd_bus_reply_method_errorf(check->call, name, "%s", message));
}

static void check_pass(Check *check) {
        __attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
        char who[32];
        int r;

        snprintf(who, sizeof who, "uid %" PRIu32, (uint32_t) check->uid);
        r = check->run(check->call, who, check->userdata, &error);
        if (sd_bus_error_is_set(&error))
                r = sd_bus_reply_method_error(check->call, &error);
        else if (r < 0)
                r = sd_bus_reply_method_errno(check->call, r, NULL);
        check_end(check, r);
}

static int check_ask_user(Check *check, sd_bus_message_handler_t callback) {
        sd_bus_slot_unref(check->question);
        check->question = NULL;
        return sd_bus_call_method_async(check->polkit->bus, &check->question, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus", "GetConnectionUnixUser", callback, check,
                                        "s", sd_bus_message_get_sender(check->call));
}

/* Question 3 */

static int on_polkit(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Check *check = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        int r, authorised = 0, challenge = 0;

        check->with_polkit = sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY); /* else there is nothing left to cancel */
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED,
                             "polkit is not running, so only root and the user of the service may do this");
        else if (error)
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "polkit could not decide whether this is allowed");
        else {
                r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
                if (r > 0)
                        r = sd_bus_message_read(reply, "bb", &authorised, &challenge);
                if (r <= 0)
                        check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "polkit gave an answer that can't be understood");
                else if (authorised)
                        check_pass(check);
                else if (challenge && !sd_bus_message_get_allow_interactive_authorization(check->call))
                        check_refuse(check, POLKIT_ERROR_INTERACTIVE,
                                     "This needs authentication, which the caller did not allow");
                else
                        check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED,
                                     challenge ? "This needs authentication" : "This is not allowed");
        }
        return 0;
}

static int check_ask_polkit(Check *check) {
        __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *question = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(check->call);
        int r;

        snprintf(check->cancellation, sizeof check->cancellation, "directserver-%" PRIu64, ++check->polkit->n_begun);

        r = sd_bus_message_new_method_call(check->polkit->bus, &question, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CheckAuthorization");
        if (r < 0)
                return r;
        r = sd_bus_message_append(question, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                  sd_bus_message_get_sender(check->call), check->action);
        if (r < 0)
                return r;
        if (check->client)
                r = sd_bus_message_append(question, "a{ss}", 1, "client", check->client);
        else
                r = sd_bus_message_append(question, "a{ss}", 0);
        if (r < 0)
                return r;
        r = sd_bus_message_append(question, "us", (uint32_t) interactive, check->cancellation);
        if (r < 0)
                return r;

        sd_bus_slot_unref(check->question);
        check->question = NULL;
        r = sd_bus_call_async(check->polkit->bus, &check->question, question, on_polkit, check,
                              interactive ? POLKIT_INTERACTIVE_USEC : 0);
        if (r < 0)
                return r;
        check->with_polkit = true;
        return 0;
}

/* Question 2 */

static int on_user_again(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Check *check = userdata;
        uint32_t uid;

        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "u", &uid) <= 0 || uid != check->uid)
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "The caller is no longer known to the bus");
        else if (check_ask_polkit(check) < 0)
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "polkit can't be asked");
        return 0;
}

static int on_caller_gone(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name, *old_owner, *new_owner;

        if (sd_bus_message_read(signal, "sss", &name, &old_owner, &new_owner) > 0 && new_owner[0] == '\0')
                check_free(userdata); /* nobody is left to reply to */
        return 0;
}

static int on_watching(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Check *check = userdata;

        if (sd_bus_message_is_method_error(reply, NULL) || check_ask_user(check, on_user_again) < 0)
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "The caller can't be watched");
        return 0;
}

static int check_watch(Check *check) {
        char match[256];

        /* The sender is a unique name, made by the bus: it needs no quoting and its length is bounded by the buffer test. */
        if (snprintf(match, sizeof match,
                     "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                     "member='NameOwnerChanged',arg0='%s'",
                     sd_bus_message_get_sender(check->call)) >= (int) sizeof match)
                return -EINVAL;
        return sd_bus_add_match_async(check->polkit->bus, &check->watch, match, on_caller_gone, on_watching, check);
}

static bool user_may_ask(const Polkit *polkit, uid_t uid) {
        unsigned n = 0;

        if (polkit->n_asking >= POLKIT_ASKING_MAX)
                return false;
        for (const Check *other = polkit->checks; other; other = other->next)
                n += other->asking && other->uid == uid;
        return n < POLKIT_ASKING_PER_USER_MAX;
}

/* Question 1 */

static int on_user(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Check *check = userdata;
        uint32_t uid;

        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "u", &uid) <= 0) {
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "The bus does not know the user of the caller");
                return 0;
        }
        check->uid = uid;
        if (uid == 0 || uid == geteuid())
                check_pass(check);
        else if (!check->polkit->ask)
                check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "Only the user that runs the service may do this");
        else if (!user_may_ask(check->polkit, uid))
                check_refuse(check, SD_BUS_ERROR_LIMITS_EXCEEDED, "Too many requests wait for authentication");
        else {
                check->asking = true;
                check->polkit->n_asking++;
                if (check_watch(check) < 0)
                        check_refuse(check, SD_BUS_ERROR_ACCESS_DENIED, "The caller can't be watched");
        }
        return 0;
}

int polkit_authorise(
                Polkit *polkit,
                sd_bus_message *call,
                const char *action,
                const char *client,
                PolkitRun run,
                void *userdata,
                sd_bus_error *error) {

        __attribute__((cleanup(check_freep))) Check *check = NULL;
        int r;

        if (!sd_bus_message_get_sender(call))
                return sd_bus_error_set_const(error, SD_BUS_ERROR_ACCESS_DENIED, "The caller has no name");
        if (polkit->n_checks >= POLKIT_CHECKS_MAX)
                return sd_bus_error_set_const(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                              "Too many requests wait for their authorisation");

        check = calloc(1, sizeof *check);
        if (!check)
                return -ENOMEM;
        check->polkit = polkit;
        check->call = sd_bus_message_ref(call);
        check->action = action;
        check->run = run;
        check->userdata = userdata;
        check->next = polkit->checks;
        if (check->next)
                check->next->previous = check;
        polkit->checks = check;
        polkit->n_checks++;

        if (client) {
                check->client = strdup(client);
                if (!check->client)
                        return -ENOMEM;
        }
        r = check_ask_user(check, on_user);
        if (r < 0)
                return r;
        check = NULL; /* the list owns it from here on */
        return 1;
}

int polkit_new(sd_bus *bus, bool ask, PolkitUnanswered unanswered, void *userdata, Polkit **ret_polkit) {
        Polkit *polkit;

        polkit = calloc(1, sizeof *polkit);
        if (!polkit)
                return -ENOMEM;
        polkit->bus = bus;
        polkit->ask = ask;
        polkit->unanswered = unanswered;
        polkit->userdata = userdata;
        *ret_polkit = polkit;
        return 0;
}

Polkit *polkit_free(Polkit *polkit) {
        if (!polkit)
                return NULL;
        while (polkit->checks)
                check_free(polkit->checks);
        free(polkit);
        return NULL;
}
