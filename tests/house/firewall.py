#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ports that firewalld's service opens are those that the socket unit listens on.

    firewall.py SERVICE_XML SOCKET_UNIT"""

import re
import sys
import xml.etree.ElementTree


def opened(path):
    root = xml.etree.ElementTree.parse(path).getroot()
    if root.tag != "service" or root[0].tag != "short" or root[1].tag != "description":
        sys.exit(f"{path}: not a description of a service")
    return {(port.get("protocol"), int(port.get("port"))) for port in root.iter("port")}


def listened(path):
    with open(path, encoding="utf-8") as file:
        return {("tcp", int(port)) for port in re.findall(r"^ListenStream=(?:.*:)?(\d+)$", file.read(), re.MULTILINE)}


def main(service, unit):
    print(f"opened: {opened(service)}\nlistened: {listened(unit)}")
    return not opened(service) or opened(service) != listened(unit)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
