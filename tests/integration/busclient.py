# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much of D-Bus as it takes to call the service thousands of times: no process for each call, and an order between calls.
A private bus, a connection, and messages whose answers are told apart by their type only; their bodies are not read."""

import os
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "bus"))
os.environ.setdefault("BUS_TEST_BUILD", "")  # programs that are not used here
from busharness import CONFIGURATION
from direct1 import TIMEOUT

DRIVER = "org.freedesktop.DBus"
DRIVER_PATH = "/org/freedesktop/DBus"
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
FIELD_SIGNATURES = {PATH: "o", INTERFACE: "s", MEMBER: "s", ERROR_NAME: "s", REPLY_SERIAL: "u", DESTINATION: "s", SENDER: "s",
                    SIGNATURE: "g"}


class Lost(Exception):
    """The bus ended the connection."""


class PrivateBus:
    """A bus in a directory of its own"""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="directserver-bus-")
        os.chmod(self.directory.name, 0o755)
        self.path = f"{self.directory.name}/bus"
        self.process = None
        with open(f"{self.directory.name}/bus.conf", "w", encoding="utf-8") as f:
            f.write(CONFIGURATION.format(path=self.path))
        self.start()

    @property
    def environment(self):
        return {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.path}", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.path}"}

    def start(self):
        command = ["dbus-daemon", f"--config-file={self.directory.name}/bus.conf", "--nofork", "--nopidfile", "--print-address"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()

    def finish(self):
        self.stop()
        self.directory.cleanup()


class Writer:
    def __init__(self, data=b""):
        self.data = bytearray(data)

    def pad(self, n):
        self.data += bytes(-len(self.data) % n)

    def put(self, signature, value):
        if signature == "g":
            self.data += bytes([len(value)]) + value.encode() + b"\0"
        elif signature == "t":
            self.pad(8)
            self.data += struct.pack("<Q", value)
        elif signature == "u":
            self.pad(4)
            self.data += struct.pack("<I", value)
        else:  # s, o
            self.put("u", len(value.encode()))
            self.data += value.encode() + b"\0"


class Message:
    def __init__(self, data, n_fields):
        self.type = data[1]
        self.serial = struct.unpack_from("<I", data, 8)[0]
        self.fields = {}
        self.body = data[(16 + n_fields + 7) & ~7:]
        at = 16
        while at < 16 + n_fields:
            at = (at + 7) & ~7
            field, signature = data[at], chr(data[at + 2])
            at += 4
            if signature == "g":
                self.fields[field] = data[at + 1:at + 1 + data[at]].decode()
                at += data[at] + 2
                continue
            at = (at + 3) & ~3
            number = struct.unpack_from("<I", data, at)[0]
            at += 4
            if signature == "u":
                self.fields[field] = number
            else:
                self.fields[field] = data[at:at + number].decode()
                at += number + 1

    @property
    def error(self):
        """The name of the error, or None"""
        return self.fields[ERROR_NAME] if self.type == ERROR else None

    def number(self):
        """The first of the body, a u64"""
        return struct.unpack_from("<Q", self.body)[0]

    def text(self):
        """The body of a message that is one string"""
        return self.body[4:4 + struct.unpack_from("<I", self.body)[0]].decode()


class Connection:
    """`uid`: whom the bus takes us for."""

    def __init__(self, bus, uid=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(TIMEOUT)
        self.buffer = bytearray()
        self.serial = 0
        self.replies = {}
        self.messages = []  # that are no replies
        self.watched = set()  # names
        self.on_signal = lambda message: None
        own = os.geteuid()
        try:
            os.seteuid(own if uid is None else uid)
            try:
                self.socket.connect(bus.path)
                self.socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
            finally:
                os.seteuid(own)
            while not self.buffer.endswith(b"\r\n"):
                self._fill()
            if not self.buffer.startswith(b"OK "):
                raise AssertionError(f"the bus does not let us in: {bytes(self.buffer)}")
            self.buffer.clear()
            self.socket.sendall(b"BEGIN\r\n")
            self.driver("Hello")
        except BaseException:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def _fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise Lost
        self.buffer += data

    def send(self, type, fields, signature="", arguments=(), body=None):
        """Returns the serial number."""
        self.serial += 1
        if body is None:
            writer = Writer()
            for s, value in zip(signature, arguments, strict=True):
                writer.put(s, value)
            body = bytes(writer.data)
        if signature:
            fields = fields | {SIGNATURE: signature}
        header = Writer(struct.pack("<BBBBIII", ord("l"), type, 0, 1, len(body), self.serial, 0))
        for field, value in fields.items():
            header.pad(8)
            header.data += bytes([field, 1]) + FIELD_SIGNATURES[field].encode() + b"\0"
            header.put(FIELD_SIGNATURES[field], value)
        struct.pack_into("<I", header.data, 12, len(header.data) - 16)
        header.pad(8)
        self.socket.sendall(header.data + body)
        return self.serial

    def receive(self):
        """Reads one message and puts it where it belongs."""
        while True:
            if len(self.buffer) >= 16:
                n_body, _, n_fields = struct.unpack_from("<III", self.buffer, 4)
                size = ((16 + n_fields + 7) & ~7) + n_body
                if len(self.buffer) >= size:
                    break
            self._fill()
        message = Message(bytes(self.buffer[:size]), n_fields)
        del self.buffer[:size]
        if message.type in (RETURN, ERROR):
            self.replies[message.fields[REPLY_SERIAL]] = message
        else:
            self.messages.append(message)
            self.on_signal(message)

    def call(self, destination, path, interface, member, signature="", *arguments):
        """Sends it only."""
        return self.send(CALL, {PATH: path, INTERFACE: interface, MEMBER: member, DESTINATION: destination}, signature, arguments)

    def wait_reply(self, serial):
        while serial not in self.replies:
            self.receive()
        return self.replies.pop(serial)

    def driver(self, member, signature="", *arguments):
        """A call of the bus itself"""
        return self.wait_reply(self.call(DRIVER, DRIVER_PATH, DRIVER, member, signature, *arguments))

    def owner(self, name):
        """The unique name of who has this name, or None"""
        reply = self.driver("GetNameOwner", "s", name)
        return None if reply.error else reply.text()

    def wait_owner(self, name):
        """Waits until somebody has it, and returns who."""
        if name not in self.watched:
            self.driver("AddMatch", "s", f"type='signal',sender='{DRIVER}',member='NameOwnerChanged',arg0='{name}'")
            self.watched.add(name)
        while not (owner := self.owner(name)):
            while not any(m.fields.get(MEMBER) == "NameOwnerChanged" for m in self.messages):
                self.receive()
            self.messages.clear()
        return owner
