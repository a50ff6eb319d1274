#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""client/directclient.h is the home of what each function does; the manual pages say the same. Every function that the library
exports is in libdirectclient(3) and has a page in section 3, and man finds that by the function's name. What stands in a SYNOPSIS
stands in the header, and the page names each error that the header names there, and none that the header does not know.

    functions.py SOURCE_ROOT"""

import glob
import os
import re
import sys

ERROR = re.compile(r"-(E[A-Z][A-Z0-9]+)\b")


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def squeeze(text):
    """C without comments, and with one space where there are any"""
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)).strip()


def plain(roff):
    """The C that a .nf or .EX block shows"""
    lines = []
    for line in roff.splitlines():
        macro = re.match(r"\.(BI|B|PP|nf|fi|EX|EE)\b ?(.*)", line)
        if macro and macro[1] == "BI":
            line = "".join(word.strip('"') for word in re.findall(r'"[^"]*"|\S+', macro[2]))
        elif macro:
            line = macro[2]
        lines.append(line)
    return "\n".join(lines).replace("\\-", "-").replace("\\e", "\\")


def section(page, name):
    found = re.search(rf"^\.SH {name}\n((?:(?!\.SH ).*\n)*)", page, re.MULTILINE)
    return found[1] if found else ""


def header_blocks(header):
    """(declarations, errors): what stands between two empty lines belongs together, comments inside of it included"""
    body = header[header.index("#define DIRECT_FOREVER"):]
    for block in re.split(r"\n\s*\n", body):
        yield squeeze(re.sub(r"^#.*$", "", block, flags=re.MULTILINE)), set(ERROR.findall(block))


def check_errors(header, pages):
    """Of the functions, handlers and structs that the SYNOPSIS of a page shows"""
    known = set(ERROR.findall(header))
    problems = []
    for name, page in pages.items():
        synopsis = squeeze(plain(section(page, "SYNOPSIS")))
        said = set(ERROR.findall(page.replace("\\-", "-")))
        for declarations, errors in header_blocks(header):
            functions = re.findall(r"\b(direct_\w+)\(", declarations)
            types = re.findall(r"\(\*\w+\)|\} \w+;", declarations)
            if any(re.search(rf"\b{f}\(", synopsis) for f in functions) or any(t in synopsis for t in types):
                problems += [f"{name} does not name -{error}" for error in sorted(errors - said)]
        problems += [f"{name} names -{error}, which the header does not" for error in sorted(said - known)]
    return problems


def check_synopsis(header, pages):
    declared = squeeze(re.sub(r"^#.*$", "", header, flags=re.MULTILINE))
    problems = []
    for name, page in pages.items():
        shown = squeeze(plain(section(page, "SYNOPSIS"))).replace("#include <directclient.h>", "")
        structs = re.findall(r"typedef struct \w+ \{.*?\} \w+;", shown)
        rest = re.sub(r"typedef struct \w+ \{.*?\} \w+;", "", shown)
        for declaration in structs + [part.strip() + ";" for part in rest.split(";") if part.strip()]:
            if declaration not in declared:
                problems.append(f"{name}: the header does not have {declaration}")
        functions = re.findall(r"\b(direct_\w+)\(", shown)
        if sorted(functions) != sorted(names_of(page)):
            problems.append(f"{name}: NAME and SYNOPSIS have different functions")
    return problems


def names_of(page):
    return section(page, "NAME").split(" \\-")[0].strip().split(", ")


def check_links(build, pages):
    """By whichever of its functions a page is asked for, man finds it"""
    links = {page: set(re.findall(r"'(\w+)'", names)) for page, names in re.findall(r"'(\w+)': \[([^\]]*)\]", build)}
    problems = []
    for name, page in pages.items():
        wanted = set(names_of(page)) - {name}
        if links.get(name) != wanted:
            problems.append(f"man/meson.build: {name} is to have the links {sorted(wanted)}")
    return problems


def main(root):
    header = read(root, "client", "directclient.h")
    exported = set(re.findall(r"^\s+(direct_\w+);", read(root, "client", "libdirectclient.sym"), re.MULTILINE))
    pages = {os.path.basename(path)[:-2]: read(path) for path in sorted(glob.glob(os.path.join(root, "man", "direct_*.3")))}
    overview = set(re.findall(r"\bdirect_[a-z_]+(?= ?\(\))", re.sub(r"\\f[BR]", "", read(root, "man", "libdirectclient.3"))))
    documented = [name for page in pages.values() for name in names_of(page)]

    problems = [f"{name}() is exported and has no page" for name in sorted(exported - set(documented))]
    problems += [f"{name}() has a page and is not exported" for name in sorted(set(documented) - exported)]
    problems += [f"{name}() has two pages" for name in sorted(exported) if documented.count(name) > 1]
    problems += [f"{name}() is exported, but not in libdirectclient(3)" for name in sorted(exported - overview)]
    problems += [f"{name}() is in libdirectclient(3), but not exported" for name in sorted(overview - exported)]
    for name, page in list(pages.items()) + [("libdirectclient(7)", read(root, "man", "libdirectclient.7"))]:
        mentioned = set(re.findall(r"\b(direct_[a-z_]+)(?:\\fR)? ?\(", page))
        problems += [f"{name}: there is no {function}()" for function in sorted(mentioned - exported)]
    problems += check_synopsis(header, pages)
    problems += check_links(read(root, "man", "meson.build"), pages)
    problems += check_errors(header, pages)
    general = set(ERROR.findall(header[:header.index("#include")]))
    said = set(ERROR.findall(section(read(root, "man", "libdirectclient.3"), "ERRORS").replace("\\-", "-")))
    problems += [f"libdirectclient(3) does not name -{error}" for error in sorted(general - said)]
    for problem in problems:
        print(problem)
    print(f"{len(exported)} functions, {len(pages)} pages, {len(problems)} problems")
    return bool(problems) or not exported


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
