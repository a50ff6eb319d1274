#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed is in exactly one of the RPM packages, and nothing else is said to be in them: rpmbuild would find out at the
end of a long build only. Arch's PKGBUILD has the version that meson.build has.

    packages.py SPEC PKGBUILD BUILD_ROOT VERSION"""

import fnmatch
import json
import os
import re
import sys

# The macros that the spec has in paths, as patterns of what a build for any prefix installs
MACROS = {
    "%{_bindir}": "*/bin", "%{_datadir}": "*/share", "%{_includedir}": "*/include",
    "%{_journalcatalogdir}": "*/lib/systemd/catalog", "%{_libdir}": "*/lib*", "%{_libexecdir}": "*/libexec",
    "%{_mandir}": "*/share/man", "%{_prefix}": "*", "%{_sysconfdir}": "*etc",
    "%{_sysusersdir}": "*/lib/sysusers.d", "%{_unitdir}": "*/lib/systemd/system",
    "%{_userunitdir}": "*/lib/systemd/user",
}
# By a script of its own, which keeps what the administrator wrote (systemd/meson.build)
BY_SCRIPT = ("%{_sysconfdir}/directserver/directserver.conf",)


def packaged(path):
    """The patterns in the %files sections, with the macros that they begin with."""
    with open(path, encoding="utf-8") as file:
        sections = re.findall(r"^%files.*\n((?:.+\n)*)", file.read(), re.MULTILINE)
    lines = (line.split()[-1] for section in sections for line in section.splitlines()
             if not line.startswith(("%license", "%doc", "%dir")))
    return [line for line in lines if line not in BY_SCRIPT]


def installed(build):
    with open(os.path.join(build, "meson-info", "intro-installed.json"), encoding="utf-8") as file:
        return set(json.load(file).values())


def expand(pattern):
    macro = pattern[:pattern.index("}") + 1]
    return MACROS[macro] + pattern[len(macro):] + ("*" if pattern.endswith("/") else "")


def version_of(pkgbuild):
    with open(pkgbuild, encoding="utf-8") as file:
        return re.search(r"^pkgver=(.*)$", file.read(), re.MULTILINE)[1]


def main(spec, pkgbuild, build, version):
    problems = []
    patterns = packaged(spec)
    paths = installed(build)
    for path in sorted(paths):
        matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(path, expand(pattern))]
        if len(matching) != 1:
            problems.append(f"{path} is in {len(matching)} packages: {' '.join(matching)}")
    problems += [f"{spec}: {pattern} is not installed" for pattern in patterns
                 if not any(fnmatch.fnmatchcase(path, expand(pattern)) for path in paths)]
    if version_of(pkgbuild) != version:
        problems.append(f"{pkgbuild}: not version {version}")
    print("\n".join(problems) or f"{len(paths)} files in {len(patterns)} patterns")
    return bool(problems) or not paths


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
