# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the nemesis works on: a service that comes back where it was, clients with a log for each process, and a network that can
be cut. All of it in one directory; each process is ended by its own Popen object."""

import collections
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
NEAR, FAR = "10.78.0.1", "10.78.0.2"
SANITIZER_REPORT = re.compile(r"ERROR: \w*Sanitizer|LeakSanitizer|runtime error:|WARNING: \w*Sanitizer")
START_SECONDS = 30

# A client that is killed while the service is down counts as away for all of the grace, and what is sent to it waits so long. No
# cut of the network lasts as long as that, tries to connect that it has swallowed (1 s, 3 s, 7 s) included.
GRACE, SHORT_GRACE = 12, 1
END_SECONDS = 120
TCP_STATES = ("01", "02")  # of a link, in /proc/net/tcp: ESTABLISHED, SYN_SENT

libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """The test can't go on."""


class Impossible(Exception):
    """That can't be done here; all else can."""


def end_with_parent():
    """In a child: the driver may be killed as well."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """Below those that the kernel gives to clients, so that none of them takes it while the service is down; and so that no
    client that connects to it meanwhile meets itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        first = int(f.read().split()[0])
    while True:
        port = random.SystemRandom().randrange(min(20001, first - 1000), first)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("", port))
                return port
            except OSError:
                continue


class Program:
    """A process. stop() and proceed() do nothing to one that has ended: the pid may be another's by then."""

    def __init__(self):
        self.process = None
        self.stopped = False
        self.peak = 0  # the largest that any of them was, in bytes

    @property
    def lives(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def proceed(self):
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def kill(self):
        self.measure()
        self.process.kill()
        self.process.wait()
        self.stopped = False

    def measure(self):
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
                match = re.search(r"^VmHWM:\s+(\d+) kB", f.read(), re.MULTILINE)
        except OSError:
            return
        if match:
            self.peak = max(self.peak, int(match[1]) * 1024)


class Service(Program):
    def __init__(self, executable, directory, host, grace):
        super().__init__()
        port = free_port()
        self.unix = f"unix:{directory}/socket"
        self.tcp = f"{host}:{port}"
        self.port = port
        config = os.path.join(directory, "directserver.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"[Server]\nKernelTimeoutSec={min(2, grace)}\nGraceSec={grace}\n")
        self.command = [executable, f"--config={config}", "--bus=none", f"--state-directory={directory}/state",
                        f"--listen={self.tcp}", f"--listen={self.unix}"]
        self.lines = collections.deque(maxlen=1000)

    def start(self):
        """Returns when it accepts connections."""
        environment = {k: v for k, v in os.environ.items() if k not in ("JOURNAL_STREAM", "NOTIFY_SOCKET", "STATE_DIRECTORY")}
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
                                        preexec_fn=end_with_parent)
        listening = threading.Semaphore(0)
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr, listening), daemon=True)
        self.reader.start()
        for _ in range(2):
            if not listening.acquire(timeout=START_SECONDS) or not self.lives:
                raise Failure("the service does not listen:\n" + self.tail())

    def _read(self, stderr, listening):
        with stderr:
            for line in stderr:
                self.lines.append(line.decode("utf-8", "backslashreplace").rstrip())
                if b"Listening on" in line:
                    listening.release()
        listening.release(2)

    def tail(self):
        return "\n".join(f"    {line}" for line in list(self.lines)[-20:])

    def kill(self):
        super().kill()
        self.reader.join()

    def end(self):
        self.measure()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(END_SECONDS)
        self.reader.join()
        if status:
            raise Failure(f"the service exited with {status}:\n" + self.tail())

    def reports(self):
        return [line for line in self.lines if SANITIZER_REPORT.search(line)]


class Client(Program):
    """All processes that have one name, one after the other."""

    def __init__(self, executable, directory, name, server, mode, network=None):
        super().__init__()
        self.executable, self.directory, self.name, self.server, self.mode = executable, directory, name, server, mode
        self.network = network  # that it is in, if it is not where the service is
        self.port = None if server.startswith("unix:") else int(server.rsplit(":", 1)[1])
        self.logs = []

    def start(self, *arguments, n_messages=0):
        log = os.path.join(self.directory, f"{self.name}.{len(self.logs)}.log")
        command = [self.executable, self.mode, f"--server={self.server}", f"--name={self.name}", f"--log={log}",
                   f"--messages={n_messages}", *arguments]
        self.heard = b""
        self.connected, self.n_connections = False, 0
        self.taken = None  # the link that was taken away, until it is back over another
        self.finished = False  # nothing more that it may send, and an outcome for all that it has sent
        self.n_allowed = n_messages
        with open(os.path.join(self.directory, f"{self.name}.err"), "ab") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            preexec_fn=self.begin)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.logs.append(log)

    def begin(self):
        """In the child."""
        end_with_parent()
        if self.network:
            self.network.enter()

    def allow(self, n_messages):
        """That this process may send, all together."""
        if n_messages > self.n_allowed:
            self.n_allowed, self.finished = n_messages, False
            self.process.stdin.write(b"%d\n" % n_messages)
            self.process.stdin.flush()

    def listen(self):
        """Takes what it has said since the last time."""
        self.heard += self.process.stdout.read() or b""
        *lines, self.heard = self.heard.split(b"\n")
        for line in lines:
            word, number = line.split()
            if word == b"finished":
                self.finished = int(number) == self.n_allowed
            else:
                self.connected = word == b"connected"
                self.n_connections += self.connected

    def link(self):
        """Its present connection to the service over TCP: (inode, own address, own port), or None."""
        process = f"/proc/{self.process.pid}"
        inodes = set()
        for descriptor in os.listdir(f"{process}/fd"):
            try:
                inodes.add(os.readlink(f"{process}/fd/{descriptor}"))
            except FileNotFoundError:
                continue  # closed meanwhile
        with open(f"{process}/net/tcp", encoding="ascii") as f:
            for line in f.readlines()[1:]:
                _, own, far, state, *_, inode = line.split()[:10]
                if state in TCP_STATES and f"socket:[{inode}]" in inodes and int(far.split(":")[1], 16) == self.port:
                    address, port = own.split(":")
                    return inode, socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)
        return None

    def is_back(self):
        """Connected, and if its link was taken away, over another. In this order: what it says of the old one comes before
        the new one."""
        link = self.link() if self.taken else None
        self.listen()
        if self.connected and link and link != self.taken:
            self.taken = None
        return self.connected and not self.taken

    def take_link(self, link, at_service):
        """By the kernel of one end; the other is sent a reset. Returns whether it was there still."""
        if not shutil.which("ss"):
            raise Impossible("there is no ss (iproute2)")
        _, address, port = link
        command = ["ss", "-KHtn", f"dst {address} dport = :{port} sport = :{self.port}"]
        if not at_service:
            command[-1] = f"src {address} sport = :{port} dport = :{self.port}"
            if self.network:
                command = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command]
        ended = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL).stdout
        if not ended and self.link() == link:
            raise Impossible("ss -K takes no connection away (not permitted, or CONFIG_INET_DIAG_DESTROY is not set)")
        if ended:
            self.taken = link
        return bool(ended)

    def errors(self):
        with open(os.path.join(self.directory, f"{self.name}.err"), encoding="utf-8", errors="backslashreplace") as f:
            return f.read()[-2000:]

    def log_size(self):
        return sum(os.stat(log).st_size for log in self.logs if os.path.exists(log))

    def kill(self):
        super().kill()
        self.process.stdin.close()
        self.process.stdout.close()

    def let_end(self):
        self.measure()
        self.process.stdin.close()

    def end(self):
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdout.close()


class Network:
    """A namespace for the service and for clients on its host, and one for those on another host, joined by a veth pair."""

    @staticmethod
    def missing():
        """Why there can't be one, or None."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        tools = [tool for tool in ("ip", "nft", "nsenter") if not shutil.which(tool)]
        if tools:
            return f"network namespaces need {', '.join(tools)}"
        probe = subprocess.run(["unshare", "-n", "nft", "add table inet nemesis"], stdin=subprocess.DEVNULL, capture_output=True,
                               check=False)
        return None if probe.returncode == 0 else "network namespaces or nft: " + probe.stderr.decode().strip()

    def __init__(self):
        """This process itself goes into the first."""
        if libc.unshare(CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self.holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, preexec_fn=lambda: libc.unshare(CLONE_NEWNET))
        pid = str(self.holder.pid)
        self.namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid)
        self._ip("addr", "add", f"{NEAR}/24", "dev", "near")
        self._ip("link", "set", "near", "up")
        for arguments in (("addr", "add", f"{FAR}/24", "dev", "far"), ("link", "set", "far", "up"), ("link", "set", "lo", "up")):
            subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *arguments], check=True, stdin=subprocess.DEVNULL)
        self._nft("add table inet nemesis; add chain inet nemesis in { type filter hook input priority 0; }; "
                  "add chain inet nemesis out { type filter hook output priority 0; }")

    @staticmethod
    def _ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL)

    @staticmethod
    def _nft(script):
        subprocess.run(["nft", script], check=True, stdin=subprocess.DEVNULL)

    def enter(self):
        """In a child, before it becomes another program."""
        if libc.setns(self.namespace, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns")

    def cut(self):
        """No packet passes, and no host is told."""
        self._nft("add rule inet nemesis in iifname near drop; add rule inet nemesis out oifname near drop")

    def lose(self, percent):
        self._nft(f"add rule inet nemesis in iifname near numgen random mod 100 < {percent} drop; "
                  f"add rule inet nemesis out oifname near numgen random mod 100 < {percent} drop")

    def heal(self):
        self._nft("flush table inet nemesis")

    def end(self):
        os.close(self.namespace)
        self.holder.stdin.close()
        self.holder.wait()
