# SPDX-License-Identifier: LGPL-2.1-or-later
"""The servers that are compared: how each is started on a loopback port, in its ordinary configuration, with a private
directory, and what its version is. What differs from its defaults stands here, and why."""

import getpass
import glob
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

START_SEC = 60


class CannotStart(Exception):
    pass


def free_port():
    """For servers that can't choose one themselves and say which. Not one of those that connections get: whoever asks whether
    somebody listens there would at times be connected with himself."""
    while True:
        port = random.randint(10000, 30000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def first_line(command, environment, pattern):
    try:
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                                text=True).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    found = re.search(pattern, output)
    return found[1] if found else "?"


class Places:
    """Where programs are: of the build, and of the peers, unpacked or installed"""

    def __init__(self, build, peers, against=None):
        self.build, self.peers, self.against = build, peers, against
        self.environment = dict(os.environ)
        self.environment["PATH"] = os.pathsep.join(
            [f"{peers}/usr/sbin", f"{peers}/usr/bin", self.environment.get("PATH", "/usr/bin:/bin"), "/usr/sbin"])
        libraries = glob.glob(f"{peers}/usr/lib/*-linux-*") + glob.glob(f"{peers}/lib/*-linux-*")
        self.environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)

    def find(self, command):
        return shutil.which(command, path=self.environment["PATH"])


class Server:
    """One that runs: a process, its ports and its private directory"""

    name = ""
    protocol = ""  # what bench-load knows it by, if not by its name
    keep = False  # it takes long to start, so one does for all workloads

    def __init__(self, places, directory):
        self.places, self.directory = places, directory
        self.process, self.ports, self.pid = None, [], 0
        os.makedirs(directory, exist_ok=True)
        self.log_path = os.path.join(directory, "log")

    @classmethod
    def version(cls, places):
        """None if it is not here"""
        raise NotImplementedError

    def command(self, workload):
        """Writes what configuration it needs, and chooses its ports"""
        raise NotImplementedError

    def start(self, workload):
        command = self.command(workload)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                                            env=self.environment(), start_new_session=True)
        self.pid = self.process.pid

    def environment(self):
        return self.places.environment

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_ready(self):
        deadline = time.monotonic() + START_SEC
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{self.name} did not start:\n{self.log()[-2000:]}")
            time.sleep(0.01)

    def is_ready(self):
        for port in self.ports:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def target(self):
        return ":".join([self.protocol or self.name, str(self.pid)] + [str(port) for port in self.ports])

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Ours(Server):
    """Says where it listens, and has no use for what was unpacked"""

    def environment(self):
        return dict(os.environ)

    def is_ready(self):
        found = re.search(r"Listening on 127\.0\.0\.1:(\d+)\n", self.log())
        if found:
            self.ports = [int(found[1])]
        return bool(found)


class Direct(Ours):
    name = "direct"

    @classmethod
    def path(cls, places):
        return f"{places.build}/service/directserver"

    @classmethod
    def version(cls, places):
        return first_line([cls.path(places), "--version"], places.environment, r"(\d\S*)")

    def command(self, workload):
        path = os.path.join(self.directory, "directserver.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("[Server]\nPingIntervalSec=1h\n")  # none between the messages that are counted
            if "spin-usec" in workload.options():
                file.write(f"SpinUSec={workload.options()['spin-usec']}\n")
        return [self.path(self.places), f"--config={path}", f"--state-directory={self.directory}/state", "--bus=none",
                "--listen=127.0.0.1:0"]


class Against(Direct):
    """Another build of DirectServer"""

    name = "against"
    protocol = "direct=against"

    @classmethod
    def path(cls, places):
        return places.against

    @classmethod
    def version(cls, places):
        return super().version(places) if places.against else None


class Relay(Ours):
    name = "relay"

    @classmethod
    def version(cls, places):
        return ""

    def command(self, workload):
        ways = [f"--{way}" for way in ("broadcast", "spin") if any(name.startswith(way) for name in workload.options())]
        return [f"{self.places.build}/bench/bench-relay", "--greet", *ways]


class Splice(Ours):
    name = "splice"

    @classmethod
    def version(cls, places):
        return ""

    def command(self, workload):
        return [f"{self.places.build}/bench/bench-relay-splice"]


class Nats(Server):
    name = "nats"

    @classmethod
    def version(cls, places):
        return places.find("nats-server") and first_line(["nats-server", "--version"], places.environment, r"v(\d\S*)")

    def command(self, workload):
        self.ports = [free_port()]
        return [self.places.find("nats-server"), "-a", "127.0.0.1", "-p", str(self.ports[0])]


class Redis(Server):
    name = "redis"

    @classmethod
    def version(cls, places):
        return places.find("redis-server") and first_line(["redis-server", "--version"], places.environment, r"v=(\S+)")

    def command(self, workload):
        self.ports = [free_port()]
        return [self.places.find("redis-server"), "--bind", "127.0.0.1", "--port", str(self.ports[0]), "--dir", self.directory]


class Mosquitto(Server):
    name = "mosquitto"

    @classmethod
    def version(cls, places):
        return places.find("mosquitto") and first_line(["mosquitto", "-h"], places.environment, r"version (\S+)")

    def command(self, workload):
        self.ports = [free_port()]
        path = os.path.join(self.directory, "mosquitto.conf")
        with open(path, "w", encoding="utf-8") as file:
            # All others switch Nagle's algorithm off; and a user of its own is there only where it is installed
            file.write(f"listener {self.ports[0]} 127.0.0.1\nallow_anonymous true\n"
                       f"set_tcp_nodelay true\nuser {getpass.getuser()}\n")
        return [self.places.find("mosquitto"), "-c", path]


class ZeroMQ(Server):
    name = "zeromq"

    @classmethod
    def version(cls, places):
        library = glob.glob(f"{places.peers}/usr/lib/*/libzmq.so.5.*") + glob.glob("/usr/lib/*/libzmq.so.5.*")
        if not os.path.exists(f"{places.peers}/zmq-broker") or not library:
            return None
        return "libzmq " + library[0].rsplit(".so.", 1)[1]

    def command(self, workload):
        self.ports = [free_port(), free_port()]
        return [f"{self.places.peers}/zmq-broker", str(self.ports[0]), str(self.ports[1])]


class RabbitMQ(Server):
    """Its scripts and Erlang's look for each other below /usr, so they are told where they have been unpacked. Names of
    Erlang's nodes are looked up at a daemon, epmd, which has its own port here and ends with the server."""

    name = "rabbitmq"
    keep = True

    def __init__(self, places, directory):
        super().__init__(places, directory)
        self.epmd = None

    @staticmethod
    def home(places):
        return next(iter(glob.glob(f"{places.peers}/usr/lib/rabbitmq/lib/rabbitmq_server-*") +
                         glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*")), None)

    @staticmethod
    def erlang(places):
        """Where its programs are"""
        return next(iter(glob.glob(f"{places.peers}/usr/lib/erlang/erts-*/bin") + glob.glob("/usr/lib/erlang/erts-*/bin")), None)

    @classmethod
    def version(cls, places):
        return cls.home(places).rsplit("-", 1)[1] if cls.home(places) and cls.erlang(places) else None

    def write_erl(self):
        binaries = self.erlang(self.places)
        root = os.path.dirname(os.path.dirname(binaries))
        path = os.path.join(self.directory, "bin", "erl")
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexport ROOTDIR='{root}' BINDIR='{binaries}' EMU=beam PROGNAME=erl\n"
                       f"exec '{binaries}/erlexec' \"$@\"\n")
        os.chmod(path, 0o755)

    def command(self, workload):
        self.ports = [free_port()]
        self.distribution_port, self.epmd_port = free_port(), free_port()
        self.write_erl()
        epmd = [f"{self.erlang(self.places)}/epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)]
        self.epmd = subprocess.Popen(epmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     env=super().environment())
        return [f"{self.home(self.places)}/sbin/rabbitmq-server"]

    def environment(self):
        environment = dict(super().environment())
        environment.update({
            "PATH": os.path.join(self.directory, "bin") + os.pathsep + environment["PATH"],
            "HOME": self.directory,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RUNNING_UNDER_SYSTEMD": "true",  # so that the script becomes the server, and does not wait for it
            "RABBITMQ_NODENAME": "bench@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.ports[0]),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": os.path.join(self.directory, "rabbitmq"),
            "RABBITMQ_MNESIA_BASE": os.path.join(self.directory, "mnesia"),
            "RABBITMQ_LOG_BASE": os.path.join(self.directory, "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.directory, "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(self.directory, "generated"),
        })
        return environment

    def stop(self):
        if self.epmd:
            self.epmd.kill()
            self.epmd.wait()
        super().stop()


ALL = [Direct, Relay, Splice, Nats, Redis, Mosquitto, ZeroMQ, RabbitMQ]


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
