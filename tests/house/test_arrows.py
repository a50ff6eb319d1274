#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A check that finds nothing may be one that does not look: each rule of arrows.py must find a violation that is planted."""

import os
import subprocess
import tempfile
import unittest

import arrows

WRONG = (
    ("protocol/wire.c", '#include "service/core/link.h"'),
    ("protocol/wire.c", "#include <stdio.h>"),
    ("protocol/wire.c", "#include <sys/socket.h>"),
    ("service/core/route.c", '#include "service/server.h"'),
    ("service/core/route.c", '# include "service/net/net.h"'),
    ("service/core/route.c", '#include "../server.h"'),
    ("service/core/route.c", "#include <time.h>"),
    ("service/net/net.c", '#include "service/log.h"'),
    ("service/net/net.c", "#include <systemd/sd-event.h>"),
    ("service/server.c", '#include "client/flow.h"'),
    ("service/server.c", "#include <directclient.h>"),
    ("service/server.c", '#include "tools/talk.h"'),
    ("client/flow.c", '#include "service/core/route.h"'),
    ("client/flow.c", "#include <systemd/sd-event.h>"),
    ("client/flow.c", "#include <syslog.h>"),
    ("tools/directclient.c", '#include "client/flow.h"'),
    ("tools/directclient.c", '#include "protocol/wire.h"'),
    ("tools/directctl.c", '#include "service/server.h"'),
    ("tools/directctl.c", "#include <directclient.h>"),
    ("examples/hello.c", '#include "protocol/wire.h"'),
    ("examples/hello.c", '#include "client/flow.h"'),
)
RIGHT = (
    ("protocol/wire.c", '#include <errno.h>\n#include "protocol/wire.h"'),
    ("service/core/route.c", '#include "protocol/wire.h"\n#include "service/core/link.h"\n#include <stdio.h>'),
    ("service/net/net.c", '#include "service/core/link.h"\n#include <sys/epoll.h>'),
    ("service/server.c", '#include "service/net/net.h"\n#include <systemd/sd-event.h>\n#include "config-build.h"'),
    ("client/flow.c", '#include "protocol/wire.h"\n#include "flow.h"\n#include "client/flow.h"'),
    ("tools/directclient.c", '#include <directclient.h>\n#include "tools/talk.h"'),
    ("tools/directctl.c", "#include <systemd/sd-bus.h>"),
    ("examples/hello.c", '#include <directclient.h>\n#include "common.h"\n#include <stdio.h>'),
)
HEADERS = ("protocol/wire.h", "service/core/link.h", "service/core/route.h", "service/net/net.h", "service/server.h",
           "service/log.h", "client/flow.h", "client/directclient.h", "tools/talk.h", "examples/common.h")

NINJA = """build {output}: c_LINKER {output}.p/a.c.o | /usr/lib/x86_64-linux-gnu/libm.so
 DESC = Linking
 LINK_ARGS = -Wl,--as-needed -Wl,--start-group {arguments} -Wl,--end-group

"""
LINKS_WRONG = (
    ("service/directserver", "protocol/libprotocol.a client/libdirectclient.a", 1),
    ("client/libdirectclient.so.0.1.0", "protocol/libprotocol.a service/core/libcore.a", 1),
    ("client/libdirectclient.so.0.1.0", "protocol/libprotocol.a /usr/lib/x86_64-linux-gnu/libsystemd.so", 1),
    ("client/libdirectclient.so.0.1.0", "-lsystemd -lm", 1),
    ("tools/directclient", "client/libdirectclient.so.0.1.0 protocol/libprotocol.a", 1),
    ("tools/directctl", "client/libdirectclient.so.0.1.0 /usr/lib/x86_64-linux-gnu/libsmartcols.so", 1),
    ("examples/hello", "client/libdirectclient.a protocol/libprotocol.a -lpng16", 1),
)
LINKS_RIGHT = (
    ("service/directserver", "service/core/libcore.a protocol/libprotocol.a /usr/lib/x86_64-linux-gnu/libsystemd.so -leconf", 0),
    ("tools/directclient", "client/libdirectclient.so.0.1.0 -lm", 0),
    ("tools/directctl", "/usr/lib/x86_64-linux-gnu/libsystemd.so /usr/lib/x86_64-linux-gnu/libsmartcols.so", 0),
    ("tests/unit/test-wire", "client/libdirectclient.a service/core/libcore.a", 0),
)
SYMBOLS = (
    ("protocol", 'int printf(const char *, ...); void f(void); void f(void) { printf("x"); }', 1),
    ("service/core", "int clock_gettime(int, void *); int f(void); int f(void) { return clock_gettime(1, 0); }", 1),
    ("service/core", "int snprintf(char *, unsigned long, const char *, ...);"
                     "int f(char *b, int i) { return snprintf(b, 9, \"%d\", i); }", 0),
    ("service/net", "int sd_notify(int, const char *); int f(void); int f(void) { return sd_notify(0, 0); }", 1),
    ("client", "void abort(void); void f(void) { abort(); }", 1),
    ("client", "int socket(int, int, int); int f(void) { return socket(1, 1, 0); }", 0),
)


class TestArrows(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = self.directory.name
        for header in HEADERS:
            self.write(header, "")

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_includes(self):
        for path, text in WRONG + RIGHT:
            with self.subTest(path=path, text=text):
                written = self.write(path, text + "\n")
                self.assertEqual(len(arrows.check_includes(self.root)), (path, text) in WRONG)
                os.unlink(written)

    def test_links(self):
        for output, arguments, expected in LINKS_WRONG + LINKS_RIGHT:
            with self.subTest(output=output, arguments=arguments):
                self.write("build.ninja", NINJA.format(output=output, arguments=arguments))
                self.assertEqual(len(arrows.check_links(self.root)), expected)

    def test_symbols(self):
        for top, text, expected in SYMBOLS:
            with self.subTest(top=top, text=text):
                source = self.write(os.path.join(top, "x.c"), text)
                subprocess.run(["cc", "-w", "-c", "-o", source[:-1] + "o", source], check=True)
                self.assertEqual(len(arrows.check_symbols(self.root)), expected)
                os.unlink(source[:-1] + "o")


if __name__ == "__main__":
    unittest.main()
