# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host that vanishes: no FIN, no reset, its kernel just does not answer any more. It stands in a network namespace of its own,
joined with that of the service by a veth pair whose far end is then taken down. Needs root and iproute2."""

import ctypes
import os
import platform
import shutil
import signal
import subprocess
import sys
import time

import direct1
from direct1 import PRESENCE, Presence
from service import SKIP_STATUS, Background, Sender, ServiceTest, main, say, wait_until_paused

CLONE_NEWNET = 0x40000000
NEAR, FAR = "10.77.0.1", "10.77.0.2"
KERNEL_TIMEOUT = 2
libc = ctypes.CDLL(None, use_errno=True)


def enter_new_namespace():
    if libc.unshare(CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "unshare")


def ip(*arguments, inside=None):
    prefix = ["nsenter", "-t", str(inside), "-n"] if inside else []
    subprocess.run([*prefix, "ip", *arguments], check=True, stdin=subprocess.DEVNULL)


class Host:
    """The other host: a process that holds its namespace, which is joined to the present one."""

    def __init__(self):
        self.process = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        preexec_fn=enter_new_namespace)

    def join(self):
        pid = self.process.pid
        ip("link", "set", "lo", "up")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(pid))
        ip("addr", "add", f"{NEAR}/24", "dev", "near")
        ip("link", "set", "near", "up")
        ip("addr", "add", f"{FAR}/24", "dev", "far", inside=pid)
        ip("link", "set", "far", "up", inside=pid)

    def client(self, address, name, **options):
        """A client there: a socket stays in the namespace in which it was made."""
        return Background(self._client, address, name, options).join()

    def _client(self, address, name, options):
        with open(f"/proc/{self.process.pid}/ns/net", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
        return direct1.Client(address, name, **options)

    def vanish(self):
        ip("link", "set", "far", "down", inside=self.process.pid)

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class VanishedHost(ServiceTest):
    config = {"KernelTimeoutSec": str(KERNEL_TIMEOUT), "GraceSec": "1"}

    def setUp(self):
        enter_new_namespace()
        self.host = Host()
        self.addCleanup(self.host.end)
        self.host.join()
        self.service = self.start_service(listen=("any",))
        port = self.service.any.rsplit(":", 1)[1]
        self.near, self.far = f"127.0.0.1:{port}", f"{NEAR}:{port}"

    def remote(self, name, **options):
        client = self.host.client(self.far, name, **options)
        self.addCleanup(client.close)
        return client

    def ends(self, watcher, client, begin, limit):
        """AWAY within the limit, LEFT when the grace is over."""
        seen = []
        for event, reason in ((direct1.WENT_AWAY, direct1.LINK_LOST), (direct1.LEFT, direct1.LINK_LOST)):
            frame = watcher.expect(PRESENCE, timeout=limit + 5)
            presence = Presence.parse(frame.payload)
            self.assertEqual((presence.event, presence.reason, presence.id), (event, reason, client.id))
            seen.append(time.monotonic() - begin)
        self.assertLess(seen[0], limit)
        return seen[0]

    def test_idle(self):
        """Keepalive finds it."""
        client, watcher = self.remote("idle"), self.client("watcher", self.near)
        watcher.watch(client.id)
        self.host.vanish()
        took = self.ends(watcher, client, time.monotonic(), 5 * KERNEL_TIMEOUT)
        say(f"idle: away after {took:.1f} s with KernelTimeoutSec={KERNEL_TIMEOUT}")

    def test_with_bytes_under_way(self):
        """TCP_USER_TIMEOUT finds it."""
        client, watcher, sender = self.remote("busy"), self.client("watcher", self.near), self.client("sender", self.near)
        watcher.watch(client.id)
        self.host.vanish()
        begin = time.monotonic()
        sender.data(client.id, bytes(1000))
        took = self.ends(watcher, client, begin, 5 * KERNEL_TIMEOUT)
        say(f"bytes under way: away after {took:.1f} s with KernelTimeoutSec={KERNEL_TIMEOUT}")

    def test_while_its_window_is_shut(self):
        """It has not read for longer than the time-out, and lives; then it vanishes, and nothing but unanswered probes tells."""
        if tuple(int(n) for n in platform.release().split(".")[:2]) < (6, 15):
            self.skipTest("this kernel has no TCP_RTO_MAX_MS, so its probes are minutes apart")
        client = self.remote("stopped", socket_options={"receive_buffer": 65536})
        watcher = self.client("watcher", self.near)
        watcher.watch(client.id)
        sender = Sender(self.client("sender", self.near), client.id, 1000)
        wait_until_paused([sender], watcher.ping)
        shut = time.monotonic()
        while time.monotonic() - shut < 3 * KERNEL_TIMEOUT:
            self.assertEqual(watcher.alive(client.id).state, direct1.STATE_ALIVE)
            time.sleep(0.1)
        self.assertFalse([f for f in watcher.pending if f.type == PRESENCE])
        self.host.vanish()
        took = self.ends(watcher, client, time.monotonic(), 10 * KERNEL_TIMEOUT)
        sender.thread.join()
        say(f"window shut: away after {took:.1f} s with KernelTimeoutSec={KERNEL_TIMEOUT}")


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nsenter"):
        print("SKIP: network namespaces need root, ip (iproute2) and nsenter (util-linux)")
        sys.exit(SKIP_STATUS)
    try:
        enter_new_namespace()
    except OSError as e:
        print(f"SKIP: no network namespace can be made here: {e}")
        sys.exit(SKIP_STATUS)
    main()
