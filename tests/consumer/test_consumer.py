#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library as others get it: all is installed into a directory, programs outside of this tree are built with what pkg-config
says, and with CMake's find_package(), and run against the service that was installed with it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

import service  # noqa: E402

SYSTEM_LIBRARIES = r"libc\.so|libcrypto\.so|libssl\.so|ld-linux|lib[a-z]*san\.so|libm\.so|libgcc_s\.so"
TIMEOUT = 100 # to build a small program on a machine that has much else to do
CFLAGS = shlex.split(os.environ["EXTRA_CFLAGS"])


def run(*command, status=0, **environment):
    """The output of a command, which must end with the status."""
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=TIMEOUT)
    if (done.returncode == 0) != (status == 0):
        raise AssertionError(f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}exit status {done.returncode}")
    return done.stdout + done.stderr


def dynamic(path, tag):
    """The names in a dynamic section that have the tag."""
    return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "--wide", "--dynamic", path, LC_ALL="C"))


class Consumer(service.ServiceTest):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="directserver-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.root = os.path.join(cls.directory, "root")
        run(os.environ["MESON"], "install", "-C", os.environ["BUILD_ROOT"], "--no-rebuild", "--quiet", "--destdir", cls.root)
        cls.prefix = cls.root + os.environ["PREFIX"]
        cls.libdir = os.path.join(cls.prefix, os.environ["LIBDIR"])
        os.environ["LD_LIBRARY_PATH"] = cls.libdir
        os.environ["DIRECTSERVER_EXECUTABLE"] = os.path.join(cls.prefix, os.environ["LIBEXECDIR"], "directserver")
        cls.version = os.environ["VERSION"]

    def check_program(self, path):
        """It works, with the library that was installed, which it wants by its soname."""
        self.assertIn("libdirectclient.so.0", dynamic(path, "NEEDED"))
        self.assertIn(os.path.realpath(os.path.join(self.libdir, "libdirectclient.so.0")),
                      [os.path.realpath(found) for found in re.findall(r"=> (\S+)", run("ldd", path))])
        for address in (self.service.tcp, self.service.unix):
            self.assertEqual(run(path, DIRECTSERVER=address), "hello from consumer\n")

    def test_library(self):
        """Named after its ABI; nothing but the C library (and what encrypts) comes with it, nothing says where it was built."""
        library = os.path.join(self.libdir, "libdirectclient.so")
        self.assertEqual(os.readlink(library), "libdirectclient.so.0")
        self.assertEqual(os.readlink(library + ".0"), "libdirectclient.so.0.0.0")
        self.assertEqual(dynamic(library, "SONAME"), ["libdirectclient.so.0"])
        self.assertEqual([name for name in dynamic(library, "NEEDED") if not re.match(SYSTEM_LIBRARIES, name)], [])
        for directory, _, names in os.walk(self.root):
            for path in (os.path.join(directory, name) for name in names):
                with open(path, "rb") as file:
                    if file.read(4) == b"\x7fELF":
                        self.assertEqual(dynamic(path, "RUNPATH") + dynamic(path, "RPATH"), [], path)

    def test_pkg_config(self):
        """pkg-config's answers are complete, and --static says the same: there is no static library."""
        if not shutil.which("pkg-config"):
            self.skipTest("no pkg-config here")
        # As is done for cross builds: all paths in the answers begin with the root
        place = {"PKG_CONFIG_LIBDIR": os.path.join(self.libdir, "pkgconfig"), "PKG_CONFIG_PATH": "",
                 "PKG_CONFIG_SYSROOT_DIR": self.root,
                 "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1"}
        self.assertEqual(run("pkg-config", "--modversion", "libdirectclient", **place).strip(), self.version)
        includedir = run("pkg-config", "--variable=includedir", "libdirectclient", **place).strip()
        self.assertTrue(includedir.endswith("/" + os.environ["INCLUDEDIR"]))
        flags = run("pkg-config", "--cflags", "--libs", "libdirectclient", **place).split()
        self.assertEqual(run("pkg-config", "--static", "--cflags", "--libs", "libdirectclient", **place).split(), flags)
        program = os.path.join(self.directory, "consumer")
        run(*shlex.split(os.environ["CC"]), "-std=c99", "-Wall", "-Wextra", "-Werror", *CFLAGS, "-o", program,
            os.path.join(HERE, "consumer.c"), *flags)
        self.check_program(program)

    def configure(self, build, *options, status=0):
        flags = shlex.join(CFLAGS)
        return run("cmake", "-S", HERE, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_C_FLAGS={flags}",
                   f"-DCMAKE_CXX_FLAGS={flags}", *options, status=status, CC=os.environ["CC"], CFLAGS="", CXXFLAGS="")

    def test_cmake(self):
        """find_package() finds a target that C and C++ programs link with, and no version that is not there."""
        if not shutil.which("cmake"):
            self.skipTest("no cmake here")
        build = os.path.join(self.directory, "cmake")
        self.assertIn(f"DirectClient {self.version}\n", self.configure(build, f"-DWANTED={self.version}"))
        run("cmake", "--build", build, MAKEFLAGS="")
        for name in ("consumer", "consumer-cxx"):
            if os.path.exists(os.path.join(build, name)):
                self.check_program(os.path.join(build, name))
        major, minor = (int(part) for part in self.version.split(".")[:2])
        for wanted in (f"{major}.{minor + 1}", f"{major + 1}.0"):
            self.assertIn(f'compatible with requested version "{wanted}"',
                          re.sub(r"\s+", " ", self.configure(build + wanted, f"-DWANTED={wanted}", status=1)))

    def test_cmake_incomplete(self):
        """Without the header the package counts as not found, and what is missing is named."""
        if not shutil.which("cmake"):
            self.skipTest("no cmake here")
        moved = os.path.join(self.directory, "moved")
        shutil.copytree(self.prefix, moved, symlinks=True)
        os.unlink(os.path.join(moved, os.environ["INCLUDEDIR"], "directclient.h"))
        build = os.path.join(self.directory, "incomplete")
        output = self.configure(build, f"-DCMAKE_PREFIX_PATH={moved}", "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF", status=1)
        self.assertIn("directclient.h is missing", re.sub(r"\s+", " ", output))


if __name__ == "__main__":
    service.main()
