#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the outcomes in meson's own logs (testlog.json, benchmarklog.json; one JSON object a line) and ends with the line
"N passed, N failed, N skipped". Fails when a test failed and when none ran: an empty run must not look like a good one.

Arguments that do not end in .json are files, or directories of files, that a sanitizer may have reported to. Each report counts
as a failure: a test that does not look at how a service ended would else hide it."""

import json
import os
import re
import sys

# Every other result (FAIL, ERROR, TIMEOUT, INTERRUPT, UNEXPECTEDPASS, and what a later meson may add) is a failure.
OUTCOMES = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}

REPORT = re.compile(r"^.*(?:ERROR: \w+Sanitizer: |: runtime error: ).*$", re.MULTILINE)


def read_log(path):
    try:
        with open(path, encoding="utf-8") as log:
            return [json.loads(line) for line in log if line.strip()]
    except FileNotFoundError:
        return []


def read_reports(path):
    """Yields the path and the text of each file that holds a report."""
    paths = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
    for name in paths:
        with open(name, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if REPORT.search(text):
            yield name, text


def main(arguments):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    logs = [path for path in arguments if path.endswith(".json")]
    complete = bool(logs)
    for path in logs:
        entries = read_log(path)
        if not entries:
            print(f"nothing ran: {path} is empty or missing", file=sys.stderr)
            complete = False
        for entry in entries:
            outcome = OUTCOMES.get(entry["result"], "failed")
            counts[outcome] += 1
            if outcome != "passed":
                print(f"{outcome}: {entry['name']} ({entry['result']})")
    for path in set(arguments) - set(logs):
        for name, text in read_reports(path):
            counts["failed"] += 1
            # the log of all tests was shown already, and is long: of that, the lines that count are enough
            print(f"failed: a sanitizer reported to {name}")
            print("\n".join(REPORT.findall(text)) if name.endswith(".txt") else text)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return not complete or counts["failed"] > 0 or counts["passed"] == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
