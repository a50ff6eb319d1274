# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that run a real systemd: containers of systemd-nspawn over a root file system that is only read, so each begins as a
fresh installation and leaves nothing behind. `make system-check` prepares that root file system and the packages, and says where:

SYSTEM_DIRECTORY   root/: what machines boot from; packages/ and before/: the Debian packages of this commit and of the one before
SYSTEM_PROGRAMS    the directory of the programs that are made for these tests
"""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

DIRECTORY = os.environ.get("SYSTEM_DIRECTORY", "")
PROGRAMS = os.environ.get("SYSTEM_PROGRAMS", "")
SKIP_STATUS = 77
SECONDS = 60  # for an event that is about to come; nobody waits so long when all is well
POLL_SECONDS = 0.02  # where there is no event to wait for
NOBODY = 65534
BUS = "org.directserver.DirectServer1"
MANAGER = (BUS, "/org/directserver/DirectServer1", BUS + ".Manager")
UNIT = "directserver.service"


class Failure(AssertionError):
    pass


class Machine:
    """Booted when it is made; its PID 1 is `leader`. Commands run as root unless another user is named."""

    def __init__(self, name="machine", network=None):
        self.name = name
        self.directory = tempfile.mkdtemp(prefix="directserver-system-")
        self.label = "ds-" + os.path.basename(self.directory).rpartition("-")[2].replace("_", "")
        self.undo = contextlib.ExitStack()
        self.undo.callback(shutil.rmtree, self.directory)
        try:
            self._boot(network)
        except BaseException:
            self.close()
            raise

    def _boot(self, network):
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.undo.enter_context(notify)
        notify.bind(f"{self.directory}/notify")
        notify.settimeout(1)
        self.console = self.undo.enter_context(open(f"{self.directory}/console", "w+b"))
        # setpriv: it ends with this process, also where that is killed
        command = ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--boot", "--notify-ready=yes", "--register=no",
                   "--volatile=overlay", "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe",
                   f"--directory={DIRECTORY}/root", f"--hostname={self.name}", f"--machine={self.label}",
                   f"--bind-ro={PROGRAMS}:/programs", f"--bind-ro={DIRECTORY}/packages:/packages"]
        command.append(f"--network-namespace-path=/run/netns/{network}" if network else "--private-network")
        if os.path.isdir(f"{DIRECTORY}/before"):
            command.append(f"--bind-ro={DIRECTORY}/before:/before")
        if not os.path.isdir("/run/systemd/system"):  # with nobody to ask for a scope unit
            command.append("--keep-unit")
        groups = self.undo.enter_context(own_control_groups(self.label))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.STDOUT,
                                        env=dict(os.environ, NOTIFY_SOCKET=f"{self.directory}/notify"),
                                        preexec_fn=lambda: join_control_groups(groups))
        self.leader = None
        self.undo.callback(self._end)
        until = time.monotonic() + SECONDS
        lines = []
        while "READY=1" not in lines:
            try:
                lines = notify.recv(4096).decode().splitlines()
            except TimeoutError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise Failure(f"{self.name} did not boot: {self._read_console()}") from None
            for line in lines:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self.leader = int(line.partition("=")[2])
        self.systemctl("is-system-running", "--wait")
        self.put("/etc/hosts", f"127.0.0.1 localhost {self.name}\n::1 localhost\n")

    def _read_console(self):
        self.console.seek(0)
        return self.console.read().decode(errors="replace")

    def _end(self):
        """Without PID 1, all others end as well, and systemd-nspawn tidies up."""
        os.kill(self.leader, signal.SIGKILL) if self.leader else self.process.terminate()
        self.process.wait(SECONDS)

    def close(self):
        self.undo.close()

    # Commands

    def command(self, *arguments, user=None):
        """What runs `arguments` in the machine"""
        enter = ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
                 "--wdns=/"]
        enter += ["setpriv", "--pdeathsig=KILL"]  # nsenter is its parent, and all that can be killed from here
        if user is not None:
            enter += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive", *arguments]

    def run(self, *arguments, user=None, status=0, stdin="", seconds=SECONDS):
        """Returns what the command has said on stdout; `status` None: it may end with any."""
        try:
            done = subprocess.run(self.command(*arguments, user=user), input=stdin, capture_output=True, text=True,
                                  timeout=seconds, check=False)
        except subprocess.TimeoutExpired as timeout:
            said = b"".join(filter(None, (timeout.stdout, timeout.stderr))).decode(errors="replace")
            raise Failure(f"{self.name}: {' '.join(arguments)}: not done after {seconds} s\n{said}") from None
        if status is not None and done.returncode != status:
            raise Failure(f"{self.name}: {' '.join(arguments)}: status {done.returncode}, not {status}\n"
                          f"{done.stdout}{done.stderr}")
        self.errors = done.stderr
        return done.stdout

    def shell(self, text, **keywords):
        return self.run("bash", "-euc", text, **keywords)

    def start(self, *arguments, user=None, merge=False):
        """Starts a program whose stdin and stdout, for `merge` with stderr, are pipes of text, in a session of its own, as where
        somebody else has logged in: the kernel shares processors out to sessions. It ends with the machine at the latest."""
        program = subprocess.Popen(self.command(*arguments, user=user), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT if merge else None, text=True, start_new_session=True)
        self.undo.callback(end_program, program)
        return program

    def systemctl(self, *arguments, **keywords):
        return self.run("systemctl", *arguments, **keywords).strip()

    def show(self, name, unit=UNIT):
        return self.systemctl("show", "-P", name, unit)

    def busctl(self, *arguments, **keywords):
        return self.run("busctl", *arguments, **keywords).strip()

    def call(self, method, *arguments, **keywords):
        return self.busctl("call", *MANAGER, method, *arguments, **keywords)

    def put(self, path, text):
        """Writes a file, and the directories that it is in."""
        self.run("sh", "-euc", 'mkdir -p "${1%/*}"; cat >"$1"', "sh", path, stdin=text)

    def exists(self, path):
        return os.path.lexists(f"/proc/{self.leader}/root{path}")

    def install(self, *names, directory="/packages"):
        """As a user does. All that they depend on is there, so nothing is fetched."""
        packages = [os.path.basename(path) for name in names for path in glob.glob(f"{DIRECTORY}{directory}/{name}_*.deb")]
        if len(packages) != len(names):
            raise Failure(f"no packages {names} in {directory}: {packages}")
        return self.run("apt-get", "install", "-qy", "--no-install-recommends", "--reinstall", "--allow-downgrades",
                        *[f"{directory}/{package}" for package in packages])

    def journal(self, *matches):
        """The entries as dictionaries, oldest first"""
        self.run("journalctl", "--sync")
        return [json.loads(line) for line in self.run("journalctl", "--output=json", "--all", *matches).splitlines()]

    # Events

    def wait_for(self, condition, what, seconds=POLL_SECONDS):
        """Polls each `seconds`: for what nobody tells of."""
        until = time.monotonic() + SECONDS
        while not (value := condition()):
            if time.monotonic() > until:
                raise Failure(f"{self.name}: {what} did not come\n" + self.run("journalctl", "-n", "50", "--no-pager"))
            time.sleep(seconds)
        return value

    def wait_for_client(self, name):
        self.wait_for(lambda: f'"{name}"' in self.call("ListClients"), f"client {name}")


class Listener:
    """`directclient listen`, and what it says of itself; `said` has the lines that were waited for, and those before them."""

    def __init__(self, machine, name, *options, user=NOBODY):
        self.name, self.said = name, ""
        self.program = machine.start("sh", "-c", 'echo $$; exec directclient "$@"', "sh", f"--name={name}", *options, "listen",
                                     user=user, merge=True)
        self.pid = int(self.program.stdout.readline())  # in the machine
        self.id = int(self.wait_for("listening as").rpartition("(")[2].rstrip(")"))

    def wait_for(self, text):
        guard = threading.Timer(SECONDS, self.program.kill)
        guard.start()
        for line in self.program.stdout:
            self.said += line
            if text in line:
                guard.cancel()
                return line.strip()
        guard.cancel()
        raise Failure(f"{self.name} did not say '{text}', but:\n{self.said}")


def end_program(program):
    program.stdin.close()
    program.kill()
    program.wait(SECONDS)
    program.stdout.close()


# Control groups, where no systemd runs that would give each container its own

@contextlib.contextmanager
def own_control_groups(name):
    """Yields the groups, one in each hierarchy that systemd uses."""
    made = []
    if not os.path.isdir("/run/systemd/system"):
        with open("/proc/self/cgroup", encoding="ascii") as f:
            for line in f:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if controllers in ("", "name=systemd"):
                    above = next((d for d in (f"/sys/fs/cgroup/{controllers.partition('=')[2] or 'unified'}", "/sys/fs/cgroup")
                                  if os.path.exists(f"{d}/cgroup.procs")), None)
                    if above:
                        made.append(f"{above}{path.rstrip('/')}/{name}")
                        os.mkdir(made[-1])
    try:
        yield made
    finally:
        for group in made:
            remove_control_group(group)


def join_control_groups(groups):
    for group in groups:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")


def remove_control_group(group):
    until = time.monotonic() + SECONDS
    while True:
        try:
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError:  # processes that have been killed are still in it
            if time.monotonic() > until:
                raise
            time.sleep(POLL_SECONDS)


class MachineTest(unittest.TestCase):
    """Each test has a machine of its own."""

    maxDiff = None
    PACKAGES = ("directserver", "directserver-tools", "libdirectclient0")

    def setUp(self):
        self.machine = self.boot()

    def boot(self, *arguments, **keywords):
        machine = Machine(*arguments, **keywords)
        self.addCleanup(machine.close)
        if self.PACKAGES:
            machine.install(*self.PACKAGES)
        return machine


class SharedMachineTest(MachineTest):
    """All tests of a class have one machine: for those that leave it as it was."""

    @classmethod
    def setUpClass(cls):
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.install(*cls.PACKAGES)

    def setUp(self):
        pass

    def listen(self, name, *options, **keywords):
        listener = Listener(self.machine, name, *options, **keywords)
        self.addCleanup(end_program, listener.program)
        return listener


def main(*conditions):
    """`conditions`: pairs, what must hold and what to say where it does not. Then the test is skipped."""
    for condition, why in ((os.geteuid() == 0, "it needs root"),
                           (os.path.isdir(f"{DIRECTORY}/root"), "run `make system-check`, which prepares what they boot from"),
                           (shutil.which("systemd-nspawn"), "there is no systemd-nspawn"),
                           *conditions):
        if not condition:
            print(f"Skipped: {why}")
            sys.exit(SKIP_STATUS)
    unittest.main(verbosity=2)
