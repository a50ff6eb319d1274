#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.directserver.DirectServer1(5) has the methods, signals and properties of the two interfaces with their types, as they stand
in dbus/org.directserver.DirectServer1.xml (a test on the bus holds that against the service), and the errors and actions of
dbus/names.h.

    members.py SOURCE_ROOT"""

import os
import re
import sys
import xml.etree.ElementTree


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def members_of_xml(interface):
    """As the page writes them: 'GetClient(s name) -> o', 'Version (s)'"""
    members = set()
    for element in interface:
        if element.tag == "property":
            members.add(f"{element.get('name')} ({element.get('type')})")
            continue
        args = [(a.get("type"), a.get("name"), a.get("direction", "in")) for a in element.iter("arg")]
        taken = ", ".join(f"{kind} {name}" for kind, name, direction in args if direction == "in")
        given = "".join(kind for kind, _, direction in args if direction == "out")
        members.add(f"{element.get('name')}({taken})" + (f" -> {given}" if given else ""))
    return members


def members_of_page(text):
    members = set()
    for tag in re.findall(r"^\.T[PQ]\n(.*)$", text, re.MULTILINE):
        tag = re.sub(r"^\.B ", "", re.sub(r"\\f[BIRP]", "", tag)).replace("\\(->", "->")
        if re.match(r"\w+\(", tag):
            members.add(tag)
            continue
        # one type for the names before it
        for names, kind in re.findall(r"((?:\w+(?:, )?)+) \((\w+)\)", tag):
            members |= {f"{name} ({kind})" for name in names.split(", ")}
    return members


def main(root):
    xml_root = xml.etree.ElementTree.parse(os.path.join(root, "dbus", "org.directserver.DirectServer1.xml")).getroot()
    page = read(root, "man", "org.directserver.DirectServer1.5")
    names = read(root, "dbus", "names.h")
    problems, n = [], 0
    for interface in xml_root.iter("interface"):
        name = interface.get("name")
        part = [p for p in re.split(r"^\.S[SH] ", page, flags=re.MULTILINE) if f"\n.B {name}\n" in p or f"\n.BR {name} .\n" in p]
        described = members_of_page(part[0]) if part else set()
        wanted = members_of_xml(interface)
        n += len(wanted)
        problems += [f"{name}: {member} is not in the page" for member in sorted(wanted - described)]
        problems += [f"{name}: {member} is in the page only" for member in sorted(described - wanted)]
    for suffix in re.findall(r'^#define BUS_(?:ERROR|ACTION)_\w+ BUS_NAME "([^"]+)"', names, re.MULTILINE):
        n += 1
        if f"org.directserver.DirectServer1{suffix}" not in page.replace("\\-", "-"):
            problems.append(f"org.directserver.DirectServer1{suffix} is not in the page")
    for problem in problems:
        print(problem)
    print(f"{n} members, {len(problems)} problems")
    return bool(problems) or n == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
