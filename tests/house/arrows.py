#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dependencies point one way: protocol <- service/core <- service/net <- service, and protocol <- client. The tools that talk and
the examples know the public header and the shared library only. Checked in three ways: what is included, what is linked, and
which symbols the objects of the pure and silent parts want.

    arrows.py SOURCE_ROOT [BUILD_ROOT]"""

import os
import re
import subprocess
import sys
from collections import namedtuple

# What files of a layer may include by "…": directories of the source tree, or single files; "build" is what configure_file()
# made. What they may not include by <…> is a pattern. The first layer whose pattern matches the path counts.
Layer = namedtuple("Layer", "name path may_include must_not_include may_link")

PUBLIC = "client/directclient.h"
SYSTEMD = r"systemd/|libudev"
LOGGING = r"syslog\.h|systemd/sd-journal"
INPUT_OUTPUT = (r"sys/(socket|epoll|poll|select|ioctl|un|timerfd|eventfd|signalfd|inotify|mman)\.h|poll\.h|fcntl\.h|netdb\.h"
                r"|netinet/|time\.h|sys/time")
LIBC = r"c|m|rt|dl|pthread"

LAYERS = (
    Layer("loopback", r"protocol/loopback\.", ("protocol",), f"{SYSTEMD}|{LOGGING}", LIBC),  # the types of addresses only
    Layer("protocol", r"protocol/", ("protocol",), f"{SYSTEMD}|{LOGGING}|{INPUT_OUTPUT}|stdio|unistd", LIBC),
    Layer("core", r"service/core/", ("protocol", "service/core"), f"{SYSTEMD}|{LOGGING}|{INPUT_OUTPUT}|unistd",
          f"protocol|{LIBC}"),
    Layer("net", r"service/net/", ("protocol", "service/core", "service/net"), f"{SYSTEMD}|{LOGGING}",
          f"protocol|core|net|ssl|crypto|{LIBC}"),
    Layer("service", r"service/", ("protocol", "service", "dbus", "build"), r"directclient", None),
    Layer("client", r"client/", ("protocol", "client", "build"), f"{SYSTEMD}|{LOGGING}",
          f"protocol|directclient.*|ssl|crypto|{LIBC}"),
    Layer("directctl", r"tools/(directctl|ctl[-.])", ("tools", "dbus", "build"), r"directclient", f"systemd|smartcols|{LIBC}"),
    Layer("directclient", r"tools/", ("tools", PUBLIC, "build"), SYSTEMD, f"directclient|{LIBC}"),
    Layer("examples", r"examples/", ("examples", PUBLIC), SYSTEMD, f"directclient|png.*|z|{LIBC}"),
)

# Symbols that objects must not want. The pure parts get bytes, events and the time from outside; they and the library
# say nothing.
SAYING = r"(__)?(v|f|vf|d|vd)?printf(_chk)?|f?puts|f?putc|_IO_putc|putchar|perror|(__)?v?syslog(_chk)?|stdout|stderr|sd_\w+"
DOING = (r"socket|accept4?|connect|bind|listen|recv\w*|send\w*|read(v|_chk)?|write(v)?|p?poll|select|epoll_\w+|open(at)?(64)?"
         r"|close|ioctl|fcntl(64)?|clock_\w+|gettimeofday|time|usleep|sleep|nanosleep|getrandom|random|rand|pthread_\w+|signal"
         r"|sigaction|abort|exit|_exit|getenv")
ENDING = r"abort|exit|_exit|signal|sigaction|pthread_create|sleep|usleep|nanosleep"
SYMBOLS = (("protocol", f"{SAYING}|{DOING}"), ("service/core", f"{SAYING}|{DOING}"), ("service/net", r"sd_\w+"),
           ("client", f"{SAYING}|{ENDING}"))

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
LINK = re.compile(r"^build (?P<outputs>[^:|\n]+?)(?: \|[^:\n]*)?: c(?:pp)?_LINKER(?:_RSP)? (?P<inputs>.*)\n"
                  r"(?P<variables>(?: .*\n)*)", re.MULTILINE)


def layer_of(path):
    return next((layer for layer in LAYERS if re.match(layer.path, path)), None)


def sources(root):
    for top in ("protocol", "service", "client", "tools", "examples"):
        for directory, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(directory, name), root)


def resolve(root, includer, name):
    """The path of what "name" means in includer, from the root of the sources; "build/…" if it is made at configure time."""
    for directory in (os.path.dirname(includer), "", "client"):
        path = os.path.normpath(os.path.join(directory, name))
        if os.path.exists(os.path.join(root, path)):
            return path
    return os.path.join("build", name)


def check_includes(root):
    problems = []
    for path in sources(root):
        layer = layer_of(path)
        with open(os.path.join(root, path), encoding="utf-8") as file:
            includes = INCLUDE.findall(file.read())
        for bracket, name in includes:
            if bracket == "<" and name != "directclient.h":
                if re.match(layer.must_not_include, name):
                    problems.append(f"{path}: <{name}> has no place in {layer.name}")
                continue
            target = resolve(root, path, name)
            if not any(target == allowed or target.startswith(allowed + "/") for allowed in layer.may_include):
                problems.append(f"{path}: {layer.name} must not include {target}")
    return problems


def linked(build):
    """Yields each output of the linker, and the names of the libraries it is made of, without lib and suffix."""
    with open(os.path.join(build, "build.ninja"), encoding="utf-8") as file:
        text = file.read()
    for match in LINK.finditer(text):
        names = set()
        for argument in re.findall(r"^ LINK_ARGS = (.*)$", match["variables"], re.MULTILINE)[0].split():
            library = re.fullmatch(r"(?:-l|(?:[^-].*/|[^-/]*)lib)([^/]+?)(?:\.a|\.so[.0-9]*)?", argument)
            if library and (argument.startswith("-l") or re.search(r"\.(a|so)[.0-9]*$", argument)):
                names.add(library[1])
        yield match["outputs"], names


def check_links(build):
    problems = []
    for output, names in linked(build):
        layer = layer_of(output)
        if not layer or not layer.may_link:
            if layer and any(name.startswith("directclient") for name in names):
                problems.append(f"{output}: {layer.name} must not link the client library")
            continue
        problems += [f"{output}: {layer.name} must not link {name}" for name in sorted(names)
                     if not re.fullmatch(layer.may_link, name)]
    return problems


def check_symbols(build):
    problems = []
    for top, forbidden in SYMBOLS:
        objects = [os.path.join(directory, name) for directory, _, names in os.walk(os.path.join(build, top))
                   for name in names if name.endswith(".o")]
        if not objects:
            continue
        out = subprocess.run(["nm", "--undefined-only", "--print-file-name", *objects], check=True, capture_output=True,
                             text=True).stdout
        for line in sorted(set(out.splitlines())):
            path, _, symbol = line.replace(": ", ":").rpartition(" ")
            if re.fullmatch(forbidden, symbol.split("@")[0]):
                problems.append(f"{os.path.relpath(path.split(':')[0], build)}: {top} must not use {symbol}")
    return problems


def main(root, build=None):
    problems = check_includes(root)
    if build:
        problems += check_links(build) + check_symbols(build)
    for problem in problems:
        print(problem)
    print(f"{len(list(sources(root)))} files, {len(problems)} arrows that point the wrong way")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
