# SPDX-License-Identifier: LGPL-2.1-or-later
"""The part of systemd that a handover needs: it takes what the service says and stores, and starts it again with that."""

import array
import fcntl
import os
import socket
import threading

from direct1 import TIMEOUT
from service import Service

STORED = "handover"


class ManagedService(Service):
    """A service whose descriptor store is in here. `stored` is what is in it, by name."""

    def __init__(self, **options):
        self.stored = []
        self.changed = threading.Condition()
        self.said = []
        self.removed = 0
        self.notify = None
        super().__init__(**({"listen": ("held", "unix")} | options))

    def start(self, **config):
        if not self.notify:
            self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path = os.path.join(self.directory, "notify")
            self.notify.bind(path)
            self.environment = {"NOTIFY_SOCKET": path, "FDSTORE": "1"} | self.environment
            self.listening = threading.Thread(target=self._listen, daemon=True)
            self.listening.start()
        super().start(**config)

    def descriptors(self):
        return super().descriptors() + [(fd, name) for name, fd in self.stored]

    def _listen(self):
        while True:
            text, fds = receive_fds(self.notify, 4096)
            lines = text.decode().split("\n")
            if "QUIT=1" in lines:
                return
            self.said += lines
            name = next((line[7:] for line in lines if line.startswith("FDNAME=")), "stored")
            if "FDSTORE=1" in lines:
                assert "FDPOLL=0" in lines, "systemd would drop it, since its other end is closed"
                self.stored += [(name, fd) for fd in fds]
                continue
            if "FDSTOREREMOVE=1" in lines:
                self.removed += 1
                with self.changed:
                    self.forget(name)
                    self.changed.notify_all()
            for fd in fds:
                os.close(fd)  # of BARRIER=1: the service waits for that

    def forget(self, name=STORED):
        """As when the unit is stopped for good."""
        for entry in [entry for entry in self.stored if entry[0] == name]:
            self.stored.remove(entry)
            os.close(entry[1])

    def wait_removed(self):
        """Until what was stored is not any more: a service says so before it serves, and it may be heard after."""
        with self.changed:
            assert self.changed.wait_for(lambda: not self.stored, TIMEOUT), self.stored

    def restart(self, **config):
        self.stop()
        self.start(**config)

    def repack(self, change):
        """What is stored, changed on its way: change(state, messages) gets the state's bytes and the [marks, descriptors] of the
        links, and returns both, or instead of the bytes a descriptor."""
        fd = next(fd for name, fd in self.stored if name == STORED)
        old = socket.socket(fileno=os.dup(fd))
        old.setblocking(False)
        messages = []
        while True:
            marks, fds = receive_fds(old, 4096)
            if not fds:
                break
            messages.append([marks, fds])
        old.close()
        self.forget()
        state_fd = messages.pop(0)[1][0]
        state, messages = change(os.pread(state_fd, os.fstat(state_fd).st_size, 0), messages)
        os.close(state_fd)
        state_fd = sealed(state) if isinstance(state, bytes) else state
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for marks, fds in ([b"\0", [state_fd]], *messages):
            here.sendmsg([marks], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            for sent in fds:
                os.close(sent)
        here.close()
        self.stored.append((STORED, there.detach()))

    def finish(self):
        try:
            if self.process and self.process.returncode is None:
                self.stop()
        finally:
            if self.notify:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                    s.sendto(b"QUIT=1", self.notify.getsockname())
                self.listening.join(TIMEOUT)
                self.notify.close()
                self.forget()
            super().finish()


def receive_fds(s, size):
    text, ancillary, _, _ = s.recvmsg(size, socket.CMSG_SPACE(4 * 256))
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data)
    return text, list(fds)


def sealed(data, seals=0xf):
    fd = os.memfd_create("state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
