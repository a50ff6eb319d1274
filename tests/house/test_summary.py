#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The line that a run ends with must not be green when nothing ran, when something failed, or when a sanitizer has reported."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import summary

REPORT = "==7==ERROR: LeakSanitizer: detected memory leaks\n"
RUNTIME = "a.c:1:2: runtime error: signed integer overflow\n"


class TestSummary(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def log(self, *results):
        return self.write(f"{len(os.listdir(self.directory))}.json",
                          "".join(json.dumps({"name": "x", "result": result}) + "\n" for result in results))

    def expect(self, failed, last_line, *paths):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(bool(summary.main(list(paths))), failed)
        self.assertEqual(out.getvalue().splitlines()[-1], last_line)

    def test_outcomes(self):
        self.expect(False, "2 passed, 0 failed, 1 skipped", self.log("OK", "EXPECTEDFAIL", "SKIP"))
        for result in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS", "SOMETHING NEW"):
            self.expect(True, "1 passed, 1 failed, 0 skipped", self.log("OK", result))

    def test_nothing_ran(self):
        self.expect(True, "0 passed, 0 failed, 0 skipped")
        self.expect(True, "0 passed, 0 failed, 0 skipped", self.log())
        self.expect(True, "0 passed, 0 failed, 0 skipped", "/nowhere/testlog.json")
        self.expect(True, "0 passed, 0 failed, 1 skipped", self.log("SKIP"))

    def test_two_runs(self):
        self.expect(False, "3 passed, 0 failed, 0 skipped", self.log("OK"), self.log("OK", "OK"))
        self.expect(True, "1 passed, 0 failed, 0 skipped", self.log("OK"), self.log())

    def test_sanitizers(self):
        clean, report, runtime = (self.write(f"{i}.txt", text) for i, text in enumerate(("fine\n", REPORT, RUNTIME)))
        self.expect(False, "1 passed, 0 failed, 0 skipped", self.log("OK"), clean)
        self.expect(True, "1 passed, 2 failed, 0 skipped", self.log("OK"), report, runtime)
        reports = os.path.join(self.directory, "reports")
        os.mkdir(reports)
        self.expect(False, "1 passed, 0 failed, 0 skipped", self.log("OK"), reports)
        self.write("reports/asan.1", REPORT)
        self.expect(True, "1 passed, 1 failed, 0 skipped", self.log("OK"), reports)


if __name__ == "__main__":
    unittest.main()
