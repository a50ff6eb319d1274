/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directctl list. One GetManagedObjects() brings all that is to be known of all clients. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl-bus.h"
#include "tools/ctl-format.h"
#include "tools/ctl-json.h"
#include "tools/ctl-property.h"
#include "tools/ctl-table.h"

enum {
        COLUMN_STATE = 2,
        LEGEND_LINES = 3, /* the head line, an empty one, and the sum */
        NAME_MIN = 16,
        WIDTH_BESIDE_NAME = 72, /* of an ordinary line with a few letters of the program */
};

static const CtlColumn columns[] = {
        { "NAME", 0, 0 },
        { "ID", 0, SCOLS_FL_RIGHT },
        { "STATE", 0, 0 },
        { "AGE", 0, SCOLS_FL_RIGHT },
        { "ADDRESS", 0, 0 },
        { "IN", 0, SCOLS_FL_RIGHT },
        { "OUT", 0, SCOLS_FL_RIGHT },
        { "QUEUE", 0, SCOLS_FL_RIGHT },
        { "PROGRAM", 0, SCOLS_FL_TRUNC },
        {},
};

typedef struct ClientList {
        CtlClient *clients;
        size_t n, n_allocated;
} ClientList;

static void client_list_deinit(ClientList *list) {
        free(list->clients);
}

static int client_list_add(ClientList *list, const CtlClient *client) {
        if (list->n == list->n_allocated) {
                size_t n = list->n_allocated * 2 + 64;
                CtlClient *clients = reallocarray(list->clients, n, sizeof *clients);

                if (!clients)
                        return -ENOMEM;
                list->clients = clients;
                list->n_allocated = n;
        }
        list->clients[list->n++] = *client;
        return 0;
}

typedef int (*ClientHandler)(sd_bus_message *m, void *userdata);

/* Calls `handler` with the message before the a{sv} of each client. */
static int each_client(sd_bus_message *m, ClientHandler handler, void *userdata) {
        const char *interface;
        int r, q;

        r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
                r = sd_bus_message_skip(m, "o");
                if (r >= 0)
                        r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
                if (r < 0)
                        return r;
                while ((q = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
                        q = sd_bus_message_read_basic(m, 's', &interface);
                        if (q >= 0)
                                q = strcmp(interface, BUS_CLIENT_INTERFACE) == 0 ? handler(m, userdata)
                                                                                 : sd_bus_message_skip(m, "a{sv}");
                        if (q >= 0)
                                q = sd_bus_message_exit_container(m);
                        if (q < 0)
                                return q;
                }
                if (q < 0)
                        return q;
                r = sd_bus_message_exit_container(m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int handle_for_table(sd_bus_message *m, void *userdata) {
        CtlClient client;
        int r;

        r = ctl_property_read_client(m, &client);
        return r < 0 ? r : client_list_add(userdata, &client);
}

static int handle_for_json(sd_bus_message *m, void *userdata) {
        FILE *f = userdata;

        if (ftell(f) > 1)
                fputc(',', f);
        return ctl_json_write_properties(f, m);
}

static int compare_names(const void *a, const void *b) {
        return strverscmp(((const CtlClient *) a)->name, ((const CtlClient *) b)->name); /* worker-2 before worker-10 */
}

/* libsmartcols would cut all names to nothing for one long program. A long name is cut here, on a terminal only; the id says
 * which client it is. */
static const char *format_name(const char *name, size_t width, char *buffer) {
        size_t size = width > WIDTH_BESIDE_NAME + NAME_MIN ? width - WIDTH_BESIDE_NAME : NAME_MIN;

        if (width == 0 || size >= CTL_TEXT_SIZE || strlen(name) <= size)
                return name;
        snprintf(buffer, CTL_TEXT_SIZE, "%.*s...", (int) size - 3, name);
        return buffer;
}

static int add_line(struct libscols_table *table, const CtlClient *client) {
        _cleanup_(ctl_text_freep) char *program = ctl_clean_text(client->program);
        char name[CTL_TEXT_SIZE], id[CTL_TEXT_SIZE], age[CTL_TEXT_SIZE];
        char in[CTL_TEXT_SIZE], out[CTL_TEXT_SIZE], queue[CTL_TEXT_SIZE];
        const char *state = ctl_client_state(client);
        struct libscols_line *line;
        int r;

        if (!program)
                return -ENOMEM;
        snprintf(id, sizeof id, "%" PRIu64, client->id);
        r = ctl_table_add(table,
                          (const char *const[]) {
                                  format_name(client->name, ctl_terminal_width(), name),
                                  id,
                                  state,
                                  ctl_format_age(client->since_usec, age),
                                  client->address[0] ? client->address : "-",
                                  ctl_format_bytes(client->bytes_in, in),
                                  ctl_format_bytes(client->bytes_out, out),
                                  client->outbox_bytes > 0 ? ctl_format_bytes(client->outbox_bytes, queue) : "-",
                                  program,
                          },
                          &line);
        if (r < 0)
                return r;
        return scols_cell_set_color(scols_line_get_cell(line, COLUMN_STATE), ctl_state_colour(state));
}

static int print_table(const Ctl *ctl, const ClientList *list) {
        _cleanup_(ctl_table_unrefp) struct libscols_table *table = NULL;
        int r;

        r = ctl_table_new(ctl, columns, &table);
        for (size_t i = 0; r >= 0 && i < list->n; i++)
                r = add_line(table, list->clients + i);
        if (r < 0)
                return r;
        ctl_pager_open(ctl, list->n + LEGEND_LINES);
        r = list->n > 0 ? scols_print_table(table) : 0;
        if (r < 0)
                return r;
        if (ctl->legend)
                printf("%s%zu client%s listed.\n", list->n > 0 ? "\n" : "", list->n, list->n == 1 ? "" : "s");
        return 0;
}

static int list_table(const Ctl *ctl, sd_bus_message *objects) {
        _cleanup_(client_list_deinit) ClientList list = {};
        int r;

        r = each_client(objects, handle_for_table, &list);
        if (r < 0)
                return r;
        if (list.n > 0)
                qsort(list.clients, list.n, sizeof *list.clients, compare_names);
        return print_table(ctl, &list);
}

static int list_json(const Ctl *ctl, sd_bus_message *objects) {
        char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        fputc('[', f);
        r = each_client(objects, handle_for_json, f);
        fputc(']', f);
        if (fclose(f) != 0 && r >= 0)
                r = -ENOMEM;
        if (r >= 0)
                ctl_json_print(ctl, text);
        free(text);
        return r;
}

int ctl_list(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *objects = NULL;
        int r;

        r = ctl_bus_new_call(ctl, NULL, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &call);
        if (r >= 0)
                r = ctl_bus_call(ctl, call, &objects);
        if (r < 0)
                return r;
        r = ctl->json == CTL_JSON_OFF ? list_table(ctl, objects) : list_json(ctl, objects);
        return r < 0 ? ctl_fail(r, "The list can't be shown: %s", strerror(-r)) : 0;
}
