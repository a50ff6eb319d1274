/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libsmartcols writes JSON as well, but only of a table of texts and with names of its own. Here what is a number stays one,
 * and the names are those of the D-Bus properties and of Describe(). */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl-bus.h"
#include "tools/ctl-json.h"

enum { JSON_INDENT = 2 };

void ctl_json_write_text(FILE *f, const char *text) {
        fputc('"', f);
        for (; *text; text++) {
                if (*text == '"' || *text == '\\')
                        fprintf(f, "\\%c", *text);
                else if ((unsigned char) *text < 0x20)
                        fprintf(f, "\\u%04x", (unsigned) *text);
                else
                        fputc(*text, f);
        }
        fputc('"', f);
}

static int write_texts(FILE *f, sd_bus_message *m) {
        const char *separator = "", *text;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        fputc('[', f);
        while ((r = sd_bus_message_read_basic(m, 's', &text)) > 0) {
                fputs(separator, f);
                ctl_json_write_text(f, text);
                separator = ",";
        }
        fputc(']', f);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int write_value(FILE *f, sd_bus_message *m, const char *signature) {
        const char *text;
        uint64_t number;
        int r, truth;

        switch (signature[0]) {
        case 't':
                r = sd_bus_message_read_basic(m, 't', &number);
                if (r >= 0)
                        fprintf(f, "%" PRIu64, number);
                return r;
        case 'b':
                r = sd_bus_message_read_basic(m, 'b', &truth);
                if (r >= 0)
                        fputs(truth ? "true" : "false", f);
                return r;
        case 's':
                r = sd_bus_message_read_basic(m, 's', &text);
                if (r >= 0)
                        ctl_json_write_text(f, text);
                return r;
        case 'a':
                if (strcmp(signature, "as") == 0)
                        return write_texts(f, m);
                break;
        }
        fputs("null", f); /* of a later version of the service */
        return sd_bus_message_skip(m, signature);
}

int ctl_json_write_properties(FILE *f, sd_bus_message *m) {
        const char *separator = "", *name, *signature;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        fputc('{', f);
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r < 0)
                        return r;
                fputs(separator, f);
                ctl_json_write_text(f, name);
                fputc(':', f);
                separator = ",";

                r = sd_bus_message_peek_type(m, NULL, &signature);
                if (r >= 0)
                        r = sd_bus_message_enter_container(m, 'v', signature);
                if (r >= 0)
                        r = write_value(f, m, signature);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        fputc('}', f);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static void print_break(unsigned depth) {
        printf("\n%*s", (int) (depth * JSON_INDENT), "");
}

static void print_pretty(const char *text) {
        bool in_text = false;
        unsigned depth = 0;

        for (const char *p = text; *p; p++) {
                if (in_text) {
                        putchar(*p);
                        if (*p == '\\' && p[1])
                                putchar(*++p);
                        else if (*p == '"')
                                in_text = false;
                        continue;
                }
                switch (*p) {
                case '{':
                case '[':
                        putchar(*p);
                        if (p[1] == '}' || p[1] == ']')
                                putchar(*++p);
                        else
                                print_break(++depth);
                        break;
                case '}':
                case ']':
                        print_break(--depth);
                        putchar(*p);
                        break;
                case ',':
                        putchar(',');
                        print_break(depth);
                        break;
                case ':':
                        fputs(": ", stdout);
                        break;
                case '"':
                        in_text = true;
                        putchar('"');
                        break;
                default:
                        putchar(*p);
                }
        }
        putchar('\n');
}

void ctl_json_print(const Ctl *ctl, const char *text) {
        if (ctl->json == CTL_JSON_PRETTY)
                print_pretty(text);
        else
                puts(text);
}

int ctl_json_print_properties(const Ctl *ctl, sd_bus_message *m) {
        char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        f = open_memstream(&text, &size);
        if (!f)
                return ctl_fail(-ENOMEM, "Out of memory");
        r = ctl_json_write_properties(f, m);
        if (fclose(f) != 0 && r >= 0)
                r = -ENOMEM;
        if (r >= 0)
                ctl_json_print(ctl, text);
        free(text);
        return r < 0 ? ctl_fail(r, "The service gave an answer that can't be understood: %s", strerror(-r)) : 0;
}
