#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""functions.py, members.py and manual_examples.py find what is planted into copies of the pages and of what those are held
against.

    test_manual.py SOURCE_ROOT COMPILER..."""

import contextlib
import io
import os
import shutil
import sys
import tempfile

import functions
import manual_examples
import members

BUS_PAGE = "man/org.directserver.DirectServer1.5"
# which check, in which file, what is replaced by what, and what is then said
PLANTED = (
    (functions, "man/direct_stream_begin.3", "\\-EMSGSIZE", "\\-EPIPE", "direct_stream_begin does not name -EMSGSIZE"),
    (functions, "man/direct_load.3", "\\-ETIMEDOUT", "\\-ETIMEOUT", "direct_load names -ETIMEOUT"),
    (functions, "man/libdirectclient.3", "\\-ENOBUFS", "\\-EPIPE", "libdirectclient(3) does not name -ENOBUFS"),
    (functions, "man/direct_watch.3", "uint64_t ", "uint32_t ", "the header does not have int direct_watch"),
    (functions, "man/direct_set_event_handler.3", "int reason;", "long reason;", "the header does not have typedef struct"),
    (functions, "client/directclient.h", "int direct_flush(", "int direct_drain(", "the header does not have int direct_flush"),
    (functions, "man/direct_process.3", ", direct_flush", "", "direct_flush() is exported and has no page"),
    (functions, "man/direct_process.3", ", direct_flush", ", direct_flush, direct_load", "direct_load() has two pages"),
    (functions, "man/direct_list.3", ".BR direct_list_free ()", ".BR direct_list_unref ()", "there is no direct_list_unref()"),
    (functions, "man/meson.build", "'direct_get_fd', ", "", "direct_process is to have the links"),
    (functions, "client/libdirectclient.sym", "        direct_load;\n", "", "direct_load() has a page and is not exported"),
    (members, BUS_PAGE, "\\fBPaused\\fR (b)", "\\fBPaused\\fR (t)", "Paused (b) is not in the page"),
    (members, BUS_PAGE, "fBGetClient", "fBFindClient", "FindClient(s name) -> o is in the page only"),
    (members, "dbus/names.h", ".kick-client", ".end-client", ".end-client is not in the page"),
    (manual_examples, "man/direct_load.3", "&load,", "load,", "direct_load.3: "),
    (manual_examples, "man/direct_watch.3", ".SH EXAMPLES", ".SH NOTES", "direct_watch.3 has no example"),
)


def said(check, root, compiler):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        failed = check.main(root, *(compiler if check is manual_examples else ()))
    return failed, out.getvalue()


def main(source, *compiler):
    problems = []
    for check, path, old, new, expected in PLANTED:
        with tempfile.TemporaryDirectory() as root:
            for name in ("man", "client", "dbus"):
                shutil.copytree(os.path.join(source, name), os.path.join(root, name))
            if check is manual_examples:  # one page is enough to be compiled
                for name in os.listdir(os.path.join(root, "man")):
                    if name != os.path.basename(path):
                        os.unlink(os.path.join(root, "man", name))
            with open(os.path.join(root, path), "r+", encoding="utf-8") as file:
                text = file.read()
                file.seek(0)
                file.truncate()
                file.write(text.replace(old, new))
            failed, text_out = said(check, root, compiler)
            if old not in text or not failed or expected not in text_out:
                problems.append(f"{path}: {old!r} -> {new!r} is not found: {text_out}")
    for problem in problems:
        print(problem)
    print(f"{len(PLANTED)} planted, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
