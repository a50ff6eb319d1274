#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whatever the core remembers is handed over, or it is said here that it need not be: a new field that nobody thought of would
be lost with the next restart.

    handover.py SOURCE_ROOT"""

import os
import re
import sys

CORE = "service/core"
# Of each structure: where it is, and the fields that are made anew, or put back by a call of another name
DERIVED = {
    "Router": ("router.h", "config ops userdata now n_links n_paused queued_bytes n_broadcasters dirty admitting stopping turn "
               "turn_messages timers load_timer sessions presence load former is_unsettled"),
    "Session": ("session.h", "link watchers watches n_watches everyone n_name watches_everyone"),
    "Link": ("link.h", "router userdata address dirty failed n_last_read n_charged pauses pausing last_paused shares sharing "
             "dirty_entry waiting_entry framer outbox"),
    "Outbox": ("outbox.h", "head tail urgent n_kept n_urgent n_borrowed first last begun"),
    "Chunk": ("outbox.c", "next begin end size data"),
    "Pause": ("pause.c", "sender of_sender of_target"),
    "Share": ("share.c", "sender of_sender of_target"),
    "Watch": ("presence.c", "watcher watched of_watcher of_watched"),
    "Sessions": ("session.h", "by_id by_name members n_members n_allocated n_away"),
    "Presence": ("presence.h", "everyone"),
    "Load": ("load.h", ""),
    "LoadCounters": ("load.h", ""),
    "Histogram": ("histogram.h", ""),
}


def read(root, name):
    with open(os.path.join(root, CORE, name), encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)


def fields(text, name):
    body = re.search(rf"^(?:typedef )?struct {name} {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    for declaration in re.sub(r"\([^)]*\)", "", body[1]).split(";"):  # without the arguments of TAILQ_ENTRY() and the like
        for part in declaration.split(","):
            found = re.search(r"(\w+)(?:\[[^]]*\])*$", part.strip())
            if found:
                yield found[1]


def main(root):
    handed = {name: read(root, name) for name in ("handover-load.c", "handover-save.c", "handover-restore.c")}
    saving = handed["handover-load.c"] + handed["handover-save.c"]
    restoring = handed["handover-load.c"] + handed["handover-restore.c"]
    n_fields = failures = 0
    for name, (header, derived) in DERIVED.items():
        known = set(fields(read(root, header), name))
        derived = set(derived.split())
        for field in sorted(derived - known):
            print(f"{header}: struct {name} has no field {field}")
            failures += 1
        for field in sorted(known - derived):
            n_fields += 1
            if not all(re.search(rf"\b{field}\b", text) for text in (saving, restoring)):
                print(f"{header}: {field} of struct {name} is not handed over (and is not listed here)")
                failures += 1
    print(f"{n_fields} fields are handed over")
    return failures > 0 or n_fields < 50


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
