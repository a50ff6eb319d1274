/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands in for polkit on a private bus. A line on stdin says what to answer from now on: "yes", "no", "challenge", "error" or
 * "hold"; "release" answers with yes what was held. On stdout it says what it was asked: "check ACTION FLAGS DETAILS",
 * "cancel". */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

typedef enum Answer {
        ANSWER_YES,
        ANSWER_NO,
        ANSWER_CHALLENGE,
        ANSWER_ERROR,
        ANSWER_HOLD,
        ANSWER_RELEASE,
        _ANSWER_N,
} Answer;

static const char *const answer_names[_ANSWER_N] = {
        [ANSWER_YES] = "yes",
        [ANSWER_NO] = "no",
        [ANSWER_CHALLENGE] = "challenge",
        [ANSWER_ERROR] = "error",
        [ANSWER_HOLD] = "hold",
        [ANSWER_RELEASE] = "release",
};

typedef struct Polkit {
        sd_event *event;
        Answer answer;
        sd_bus_message *held;
} Polkit;

static int answer(sd_bus_message *call, Answer answer) {
        if (answer == ANSWER_ERROR)
                return sd_bus_reply_method_errorf(call, "org.freedesktop.PolicyKit1.Error.Failed", "No such subject");
        return sd_bus_reply_method_return(call, "(bba{ss})", answer == ANSWER_YES, answer == ANSWER_CHALLENGE, 0);
}

static int method_check(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        const char *action, *key, *value = "", *cancellation;
        Polkit *polkit = userdata;
        uint32_t flags;
        int r;

        r = sd_bus_message_skip(call, "(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_read(call, "s", &action);
        if (r >= 0)
                r = sd_bus_message_enter_container(call, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(call, "{ss}", &key, &value)) > 0)
                ;
        if (r >= 0)
                r = sd_bus_message_exit_container(call);
        if (r >= 0)
                r = sd_bus_message_read(call, "us", &flags, &cancellation);
        if (r < 0)
                return r;
        printf("check %s %u %s\n", action, flags, value);
        fflush(stdout);
        if (polkit->answer != ANSWER_HOLD)
                return answer(call, polkit->answer);
        sd_bus_message_unref(polkit->held);
        polkit->held = sd_bus_message_ref(call);
        return 1;
}

static int method_cancel(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        puts("cancel");
        fflush(stdout);
        return sd_bus_reply_method_return(call, NULL);
}

static const sd_bus_vtable authority[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", method_check, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CancelCheckAuthorization", "s", NULL, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int on_line(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Polkit *polkit = userdata;
        char line[64];

        if (!fgets(line, sizeof line, stdin))
                return sd_event_exit(polkit->event, 0);
        line[strcspn(line, "\n")] = '\0';
        for (unsigned i = 0; i < _ANSWER_N; i++)
                if (strcmp(line, answer_names[i]) == 0)
                        polkit->answer = i;
        if (polkit->answer == ANSWER_RELEASE && polkit->held) {
                (void) answer(polkit->held, ANSWER_YES);
                polkit->held = sd_bus_message_unref(polkit->held);
        }
        puts("ok");
        fflush(stdout);
        return 0;
}

int main(void) {
        sd_bus *bus = NULL;
        Polkit polkit = {};
        int r;

        setvbuf(stdin, NULL, _IONBF, 0);
        r = sd_event_new(&polkit.event);
        if (r >= 0)
                r = sd_event_add_io(polkit.event, NULL, STDIN_FILENO, EPOLLIN, on_line, &polkit);
        if (r >= 0)
                r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, polkit.event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
                                             "org.freedesktop.PolicyKit1.Authority", authority, &polkit);
        if (r >= 0)
                r = sd_bus_request_name(bus, "org.freedesktop.PolicyKit1", 0);
        if (r >= 0) {
                puts("ready");
                fflush(stdout);
                r = sd_event_loop(polkit.event);
        }
        if (r < 0)
                fprintf(stderr, "fake-polkit: %s\n", strerror(-r));
        sd_bus_message_unref(polkit.held);
        sd_bus_flush_close_unref(bus);
        sd_event_unref(polkit.event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
