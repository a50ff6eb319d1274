/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads properties by the table that sd-bus itself uses, for answers about very many objects, which are made client by client:
 * sd-bus does that only for a whole tree at once. Owns nothing. */

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "service/bus-property.h"

static const void *property_value(const sd_bus_vtable *property, const void *object) {
        return (const uint8_t *) object + property->x.property.offset;
}

int bus_property_append_all(sd_bus_message *m, const sd_bus_vtable *table, const void *object) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (const sd_bus_vtable *p = table; r >= 0 && p->type != _SD_BUS_VTABLE_END; p++) {
                const void *value;

                if (p->type != _SD_BUS_VTABLE_PROPERTY)
                        continue;
                value = property_value(p, object);
                if (p->x.property.signature[0] == 's')
                        value = *(const char *const *) value;
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append_basic(m, 's', p->x.property.member);
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'v', p->x.property.signature);
                if (r >= 0)
                        r = sd_bus_message_append_basic(m, p->x.property.signature[0], value);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static void json_write_text(FILE *f, const char *text) {
        fputc('"', f);
        for (; *text; text++) {
                if (*text == '"' || *text == '\\')
                        fprintf(f, "\\%c", *text);
                else if ((unsigned char) *text < 0x20) /* in the path of a socket, if anywhere */
                        fprintf(f, "\\u%04x", (unsigned) *text);
                else
                        fputc(*text, f);
        }
        fputc('"', f);
}

static void json_write_texts(FILE *f, const char *const *texts) {
        fputc('[', f);
        for (const char *const *text = texts; text && *text; text++) {
                if (text != texts)
                        fputc(',', f);
                json_write_text(f, *text);
        }
        fputc(']', f);
}

static void json_write_value(FILE *f, const char *signature, const void *value) {
        if (strcmp(signature, "t") == 0)
                fprintf(f, "%" PRIu64, *(const uint64_t *) value);
        else if (strcmp(signature, "b") == 0)
                fputs(*(const int *) value ? "true" : "false", f);
        else if (strcmp(signature, "as") == 0)
                json_write_texts(f, *(const char *const *const *) value);
        else
                json_write_text(f, *(const char *const *) value);
}

static bool signature_is_listed(const char *signature, const char *const *signatures) {
        for (; *signatures; signatures++)
                if (strcmp(signature, *signatures) == 0)
                        return true;
        return false;
}

void bus_property_write_json(FILE *f, const sd_bus_vtable *table, const void *object, const char *const *signatures) {
        bool first = true;

        for (const sd_bus_vtable *p = table; p->type != _SD_BUS_VTABLE_END; p++) {
                if (p->type != _SD_BUS_VTABLE_PROPERTY || !signature_is_listed(p->x.property.signature, signatures))
                        continue;
                fprintf(f, "%s\"%s\":", first ? "" : ",", p->x.property.member);
                json_write_value(f, p->x.property.signature, property_value(p, object));
                first = false;
        }
}
