/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directctl status, show and load: one object, for people or as JSON. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl-bus.h"
#include "tools/ctl-format.h"
#include "tools/ctl-json.h"
#include "tools/ctl-property.h"
#include "tools/ctl-table.h"

enum { LABEL_WIDTH = 9 };

static void print_line(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_line(const char *label, const char *format, ...) {
        va_list arguments;

        printf("%*s%s ", LABEL_WIDTH, label, *label ? ":" : " ");
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
}

static void print_clean(const char *label, const char *text) {
        char *clean = ctl_clean_text(text);

        print_line(label, "%s", clean && *clean ? clean : "-");
        free(clean);
}

static const char *colour_sequence(const char *name) {
        static const struct {
                const char *name, *sequence;
        } sequences[] = {
                { "green", "\033[0;1;32m" },
                { "yellow", "\033[0;1;33m" },
                { "red", "\033[0;1;31m" },
        };

        for (size_t i = 0; name && ctl_use_colours() && i < sizeof sequences / sizeof sequences[0]; i++)
                if (strcmp(name, sequences[i].name) == 0)
                        return sequences[i].sequence;
        return "";
}

static const char *colour_end(void) {
        return ctl_use_colours() ? "\033[0m" : "";
}

static int fail_to_read(int r) {
        return ctl_fail(r, "The service gave an answer that can't be understood: %s", strerror(-r));
}

/* show */

static void print_client(const CtlClient *client) {
        const char *state = ctl_client_state(client), *colour = colour_sequence(ctl_state_colour(state));
        char a[CTL_TEXT_SIZE], b[CTL_TEXT_SIZE];
        char *name = ctl_clean_text(client->name);

        printf("%s●%s %s (id %" PRIu64 ")\n", colour, colour_end(), name ?: "", client->id);
        free(name);
        print_line("State", "%s%s%s%s", colour, state, colour_end(),
                   client->paused ? " (not read from: somebody that it sends to can't take more)" : "");
        print_clean("Program", client->program);
        print_clean("Address", client->address);
        print_line("Since", "%s; %s ago", ctl_format_time(client->since_usec, a), ctl_format_age(client->since_usec, b));
        print_line("Heard of", "%s ago", ctl_format_span(client->silence_usec, a));
        if (client->round_trip_usec > 0)
                print_line("Trip", "%s to it and back", ctl_format_span(client->round_trip_usec, a));
        print_line("In", "%s messages, %s", ctl_format_count(client->messages_in, a), ctl_format_bytes(client->bytes_in, b));
        print_line("Out", "%s messages, %s", ctl_format_count(client->messages_out, a), ctl_format_bytes(client->bytes_out, b));
        print_line("Queued", "%s", ctl_format_bytes(client->outbox_bytes, a));
}

int ctl_show(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(ctl_target_deinit) CtlTarget target = {};
        CtlClient client;
        int r;

        r = ctl_bus_find_client(ctl, arguments[0], &target);
        if (r >= 0)
                r = ctl_bus_get_all(ctl, target.path, BUS_CLIENT_INTERFACE, &reply);
        if (r < 0)
                return r;
        if (ctl->json != CTL_JSON_OFF)
                return ctl_json_print_properties(ctl, reply);
        r = ctl_property_read_client(reply, &client);
        if (r < 0)
                return fail_to_read(r);
        print_client(&client);
        return 0;
}

/* status */

static void print_process(Ctl *ctl) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        const char *comm;
        pid_t pid;

        if (sd_bus_get_name_creds(ctl->bus, ctl->bus_name, SD_BUS_CREDS_PID | SD_BUS_CREDS_COMM | SD_BUS_CREDS_AUGMENT,
                                  &creds) < 0 ||
            sd_bus_creds_get_pid(creds, &pid) < 0)
                return;
        if (sd_bus_creds_get_comm(creds, &comm) < 0)
                print_line("Main PID", "%d", (int) pid);
        else
                print_line("Main PID", "%d (%s)", (int) pid, comm);
}

static void print_addresses(Ctl *ctl) {
        char **addresses = NULL;
        const char *label = "Listens";

        int r;

        r = sd_bus_get_property_strv(ctl->bus, ctl->bus_name, BUS_PATH, BUS_MANAGER_INTERFACE, "ListenAddresses", NULL,
                                     &addresses);
        if (r < 0)
                return;
        for (char **address = addresses; address && *address; address++) {
                print_line(label, "%s", *address);
                label = "";
                free(*address);
        }
        free(addresses);
}

static void print_status(Ctl *ctl, const CtlLoad *load) {
        char a[CTL_TEXT_SIZE], b[CTL_TEXT_SIZE], c[CTL_TEXT_SIZE], d[CTL_TEXT_SIZE];
        uint64_t started = ctl_now_usec() - load->uptime_usec;
        const char *green = colour_sequence("green");

        printf("%s●%s DirectServer %s\n", green, colour_end(), load->version);
        print_line("State", "%srunning%s since %s; %s ago", green, colour_end(), ctl_format_time(started, a),
                   ctl_format_age(started, b));
        print_process(ctl);
        print_addresses(ctl);
        print_line("Clients", "%" PRIu64 " (%" PRIu64 " away, %" PRIu64 " paused)", load->clients, load->clients_away,
                   load->clients_paused);
        print_line("Messages", "%s in, %s out; now %s/s in, %s/s out",
                   ctl_format_count(load->messages_in, a), ctl_format_count(load->messages_out, b),
                   ctl_format_count(load->messages_in_rate[0], c), ctl_format_count(load->messages_out_rate[0], d));
        print_line("Bytes", "%s in, %s out; now %s/s in, %s/s out",
                   ctl_format_bytes(load->bytes_in, a), ctl_format_bytes(load->bytes_out, b),
                   ctl_format_bytes(load->bytes_in_rate[0], c), ctl_format_bytes(load->bytes_out_rate[0], d));
        print_line("Queued", "%s", ctl_format_bytes(load->queued_bytes, a));
        print_line("Busy", "%.1f %% of the time", (double) load->busy_permille[0] / 10);
        print_line("Memory", "%s", ctl_format_bytes(load->memory_bytes, a));
        print_line("CPU", "%s", ctl_format_span(load->cpu_usec, a));
}

static int status_json(Ctl *ctl) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *text;
        int r;

        r = ctl_bus_new_call(ctl, NULL, BUS_MANAGER_INTERFACE, "Describe", &call);
        if (r >= 0)
                r = ctl_bus_call(ctl, call, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "s", &text);
        if (r < 0)
                return fail_to_read(r);
        ctl_json_print(ctl, text);
        return 0;
}

int ctl_status(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        CtlLoad load;
        int r;

        if (ctl->json != CTL_JSON_OFF)
                return status_json(ctl);
        r = ctl_bus_get_all(ctl, NULL, BUS_MANAGER_INTERFACE, &reply);
        if (r < 0)
                return r;
        r = ctl_property_read_load(reply, &load);
        if (r < 0)
                return fail_to_read(r);
        print_status(ctl, &load);
        return 0;
}

/* load */

static const CtlColumn rate_columns[] = {
        { "", 0, 0 },
        { "TOTAL", 0, SCOLS_FL_RIGHT },
        { "1 S", 0, SCOLS_FL_RIGHT },
        { "10 S", 0, SCOLS_FL_RIGHT },
        { "60 S", 0, SCOLS_FL_RIGHT },
        {},
};

typedef char *(*Formatter)(uint64_t n, char *buffer);

static int add_rates(struct libscols_table *table, const char *label, Formatter format, uint64_t total,
                     const uint64_t rates[CTL_N_RATES]) {
        char texts[CTL_N_RATES][CTL_TEXT_SIZE + 2], text[CTL_TEXT_SIZE];

        for (size_t i = 0; i < CTL_N_RATES; i++) {
                format(rates[i], texts[i]);
                strcat(texts[i], "/s");
        }
        return ctl_table_add(table, (const char *const[]) { label, format(total, text), texts[0], texts[1], texts[2] }, NULL);
}

static int add_busy(struct libscols_table *table, const CtlLoad *load) {
        char texts[CTL_N_RATES][CTL_TEXT_SIZE];

        for (size_t i = 0; i < CTL_N_RATES; i++)
                snprintf(texts[i], sizeof texts[i], "%.1f %%", (double) load->busy_permille[i] / 10);
        return ctl_table_add(table, (const char *const[]) { "Busy", "", texts[0], texts[1], texts[2] }, NULL);
}

static int print_rates(const Ctl *ctl, const CtlLoad *load) {
        _cleanup_(ctl_table_unrefp) struct libscols_table *table = NULL;
        int r;

        r = ctl_table_new(ctl, rate_columns, &table);
        if (r >= 0)
                r = add_rates(table, "Messages in", ctl_format_count, load->messages_in, load->messages_in_rate);
        if (r >= 0)
                r = add_rates(table, "Messages out", ctl_format_count, load->messages_out, load->messages_out_rate);
        if (r >= 0)
                r = add_rates(table, "Bytes in", ctl_format_bytes, load->bytes_in, load->bytes_in_rate);
        if (r >= 0)
                r = add_rates(table, "Bytes out", ctl_format_bytes, load->bytes_out, load->bytes_out_rate);
        if (r >= 0)
                r = add_busy(table, load);
        if (r >= 0)
                r = scols_print_table(table);
        return r;
}

static const char *format_nsec(uint64_t nsec, char *buffer) {
        if (nsec < 1000000)
                snprintf(buffer, CTL_TEXT_SIZE, "%.1fus", (double) nsec / 1000);
        else
                ctl_format_span(nsec / 1000, buffer);
        return buffer;
}

static void print_figures(const CtlLoad *load) {
        char a[CTL_TEXT_SIZE], b[CTL_TEXT_SIZE], c[CTL_TEXT_SIZE], d[CTL_TEXT_SIZE], e[CTL_TEXT_SIZE];

        printf("\nRouting time: 50 %% %s, 90 %% %s, 99 %% %s, 99.9 %% %s, longest %s\n",
               format_nsec(load->routing_p50_ns, a), format_nsec(load->routing_p90_ns, b), format_nsec(load->routing_p99_ns, c),
               format_nsec(load->routing_p999_ns, d), format_nsec(load->routing_max_ns, e));
        printf("Clients:      %" PRIu64 " (%" PRIu64 " away, %" PRIu64 " paused), %s queued for them\n",
               load->clients, load->clients_away, load->clients_paused, ctl_format_bytes(load->queued_bytes, a));
        printf("Resources:    %s of memory, %s of CPU in %s\n", ctl_format_bytes(load->memory_bytes, a),
               ctl_format_span(load->cpu_usec, b), ctl_format_span(load->uptime_usec, c));
        printf("Trouble:      %" PRIu64 " bounces, %" PRIu64 " skipped broadcasts, %" PRIu64 " protocol errors\n",
               load->bounces, load->skipped_broadcasts, load->protocol_errors);
}

int ctl_load(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        CtlLoad load;
        int r;

        r = ctl_bus_get_all(ctl, NULL, BUS_MANAGER_INTERFACE, &reply);
        if (r < 0)
                return r;
        if (ctl->json != CTL_JSON_OFF)
                return ctl_json_print_properties(ctl, reply);
        r = ctl_property_read_load(reply, &load);
        if (r < 0)
                return fail_to_read(r);
        r = print_rates(ctl, &load);
        if (r < 0)
                return ctl_fail(r, "The figures can't be shown: %s", strerror(-r));
        print_figures(&load);
        return 0;
}
