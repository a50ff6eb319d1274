# SPDX-License-Identifier: LGPL-2.1-or-later
"""direct/1 in Python, written from PROTOCOL.md alone: it shares no code with the service or the client library.

A Link is one connection: bytes and frames. A Client is a Link that has said HELLO. Both are synchronous; every wait ends with a
frame, with Closed, or with a TimeoutError, which fails the test. A time-out is a bound for failure, never a way to wait.
"""

import collections
import dataclasses
import os
import select
import socket
import struct
import time

# A sanitizer or valgrind makes everything slower, and nothing wrong.
SANITIZED = os.environ.get("DIRECTSERVER_SANITIZED") == "1"
TIMEOUT = 30.0 if SANITIZED else 10.0

MAGIC = 0x31524944
VERSION = 1
PAYLOAD_MAX = 65536
PING_MAX = 64
HELLO_FRAME_MAX = 1024

SERVICE = 0
GROUP = 1 << 63
EVERYONE = (1 << 64) - 1

HELLO, WELCOME, REFUSED, GOODBYE, PING, PONG = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
DATA, ACK, BOUNCE, RESEND, MARK, LOST = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
ASK, ANSWER, PRESENCE = 0x20, 0x21, 0x22

FIRST, LAST, RELIABLE, REQUEST, REPLY, BROADCAST, FAILED, RESERVED = 1, 2, 4, 8, 16, 32, 64, 128
WHOLE = FIRST | LAST
ANSWER_FAILED = 1
MARK_BASELINE = 1

REFUSED_VERSION, REFUSED_NAME_TAKEN, REFUSED_NAME_INVALID, REFUSED_NOT_AUTHORISED = 1, 2, 3, 4
REFUSED_PROTOCOL, REFUSED_FULL, REFUSED_RESUME = 5, 6, 7

LEAVING, STOPPING, KICKED, REPLACED, PROTOCOL, RESTARTING, TOO_SLOW, UNRESPONSIVE, DIED, LINK_LOST = range(1, 11)

BOUNCE_NO_CLIENT, BOUNCE_AWAY, BOUNCE_POLICY, BOUNCE_OVERLOADED = 1, 2, 3, 4

ASK_ALIVE, ASK_RESOLVE, ASK_LIST, ASK_WATCH, ASK_LOAD = 1, 2, 3, 4, 5

STATE_UNKNOWN, STATE_ALIVE, STATE_BUSY, STATE_AWAY, STATE_GONE = 0, 1, 2, 3, 4

JOINED, LEFT, WENT_AWAY, BACK, WENT_BUSY, CAME_ALIVE = 1, 2, 3, 4, 5, 6

TYPE_NAMES = {HELLO: "HELLO", WELCOME: "WELCOME", REFUSED: "REFUSED", GOODBYE: "GOODBYE", PING: "PING", PONG: "PONG",
              DATA: "DATA", ACK: "ACK", BOUNCE: "BOUNCE", RESEND: "RESEND", MARK: "MARK", LOST: "LOST", ASK: "ASK",
              ANSWER: "ANSWER", PRESENCE: "PRESENCE"}

# The fields of the LOAD answer, u64 each, in order.
LOAD_FIELDS = ["uptime_usec", "clients", "clients_away", "clients_paused", "messages_in", "messages_out", "bytes_in", "bytes_out",
               *(f"{what}_{seconds}s"
                 for what in ("messages_in_rate", "messages_out_rate", "bytes_in_rate", "bytes_out_rate", "busy_permille")
                 for seconds in (1, 10, 60)),
               "routing_p50_ns", "routing_p90_ns", "routing_p99_ns", "routing_p999_ns", "routing_max_ns",
               "queued_bytes", "memory_bytes", "cpu_usec", "bounces", "skipped_broadcasts", "protocol_errors"]

HEADER = struct.Struct("<IBBHQQQII")
assert HEADER.size == 40


class Closed(Exception):
    """The service ended the connection; `reset` tells how."""

    def __init__(self, reset):
        super().__init__("connection reset" if reset else "end of file")
        self.reset = reset


class Refused(Exception):
    """The answer to HELLO was REFUSED."""

    def __init__(self, code, text):
        super().__init__(f"refused with code {code}: {text}")
        self.code = code
        self.text = text


@dataclasses.dataclass
class Frame:
    type: int
    flags: int = 0
    kind: int = 0
    source: int = 0
    target: int = 0
    sequence: int = 0
    stream: int = 0
    tag: int = 0
    payload: bytes = dataclasses.field(default=b"", repr=False)

    def pack(self, length=None):
        """The bytes of the frame; `length` overrides the length field, for frames that lie."""
        return HEADER.pack(len(self.payload) if length is None else length, self.type, self.flags, self.kind, self.source,
                           self.target, self.sequence, self.stream, self.tag) + self.payload

    def __str__(self):
        return f"{TYPE_NAMES.get(self.type, '?')} {self!r} and {len(self.payload)} bytes {self.payload[:48]!r}"


class Reader:
    """Takes the fields of a payload in order."""

    def __init__(self, payload):
        self.payload = payload
        self.offset = 0

    def take(self, n):
        if self.offset + n > len(self.payload):
            raise AssertionError(f"payload of {len(self.payload)} bytes is too short: {self.payload[:64]!r}")
        self.offset += n
        return self.payload[self.offset - n:self.offset]

    def integer(self, size):
        return int.from_bytes(self.take(size), "little")

    def u8(self):
        return self.integer(1)

    def u16(self):
        return self.integer(2)

    def u32(self):
        return self.integer(4)

    def u64(self):
        return self.integer(8)

    def text8(self):
        return self.text(self.u8())

    def text16(self):
        return self.text(self.u16())

    def text(self, size):
        text = self.take(size).decode("utf-8")
        if any(ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0 for c in text):
            raise AssertionError(f"control characters in text {text!r}")
        return text


def u8(value):
    return value.to_bytes(1, "little")


def u16(value):
    return value.to_bytes(2, "little")


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def text8(text):
    text = text if isinstance(text, bytes) else text.encode()
    return u8(len(text)) + text


def text16(text):
    text = text if isinstance(text, bytes) else text.encode()
    return u16(len(text)) + text


def hello_payload(name="", *, magic=MAGIC, version_min=VERSION, version_max=VERSION, features=0, resume_id=0,
                  resume_token=bytes(32), program="conformance test", credential=""):
    return (u32(magic) + u16(version_min) + u16(version_max) + u32(features) + u64(resume_id) + resume_token + text8(name)
            + text16(program) + text16(credential))


def hello(name="", **fields):
    return Frame(HELLO, payload=hello_payload(name, **fields))


@dataclasses.dataclass
class Welcome:
    version: int
    features: int
    id: int
    resume_token: bytes
    instance: bytes
    max_payload: int
    initial_credit: int
    ping_interval_ms: int
    grace_ms: int
    epoch: int
    name: str

    @classmethod
    def parse(cls, payload):
        r = Reader(payload)
        version = r.u16()
        r.u16()
        return cls(version, r.u32(), r.u64(), r.take(32), r.take(16), r.u32(), r.u32(), r.u32(), r.u32(), r.u64(), r.text8())


@dataclasses.dataclass
class Goodbye:
    code: int
    retry_after_ms: int
    reason: str

    @classmethod
    def parse(cls, frame):
        r = Reader(frame.payload)
        return cls(frame.kind, r.u32(), r.text16())


@dataclasses.dataclass
class Presence:
    epoch: int
    event: int
    reason: int
    id: int
    name: str

    @classmethod
    def parse(cls, payload):
        r = Reader(payload)
        epoch, event, reason = r.u64(), r.u8(), r.u8()
        r.take(2)
        return cls(epoch, event, reason, r.u64(), r.text8())


@dataclasses.dataclass
class Alive:
    id: int
    state: int
    silence_ms: int
    kernel_silence_ms: int
    rtt_us: int
    name: str

    @classmethod
    def parse(cls, payload):
        r = Reader(payload)
        client_id, state = r.u64(), r.u8()
        if r.take(3) != bytes(3):
            raise AssertionError("the three bytes after the state are not 0")
        return cls(client_id, state, r.u32(), r.u32(), r.u32(), r.text8())


def open_socket(address, source=None, receive_buffer=None):
    """A connected, non-blocking socket. `source`: the local address to use; `receive_buffer`: a small SO_RCVBUF, set in time."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where = address[len("unix:"):]
    else:
        host, port = address.rsplit(":", 1)
        s = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET, socket.SOCK_STREAM)
        where = (host.strip("[]"), int(port))
    try:
        s.settimeout(TIMEOUT)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            s.bind((source, 0))
        s.connect(where)
        if s.family != socket.AF_UNIX:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.setblocking(False)
    except BaseException:
        s.close()
        raise
    return s


class Link:
    """One connection to the service. PINGs are answered while frames are received, unless `answer_pings` is turned off. In place
    of an address it takes a socket that is connected, and does not block."""

    def __init__(self, address, **socket_options):
        self.socket = open_socket(address, **socket_options) if isinstance(address, str) else address
        self.answer_pings = True
        self.may_be_cut = False  # the service may be killed in the middle of a frame
        self.pending = collections.deque()  # frames that came while something else was waited for
        self._buffer = bytearray()
        self._offset = 0
        self._poll = select.poll()
        self._end = None
        self._events = select.POLLIN
        self._poll.register(self.socket, self._events)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def local_address(self):
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    # Out

    def send_bytes(self, data, timeout=TIMEOUT):
        """Writes all of it. While the service takes no more, what it sends is read and kept: two that wait for each other to
        read would wait for ever."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view):]
            except BlockingIOError:
                if self._wait(select.POLLIN | select.POLLOUT, deadline) & select.POLLIN:
                    self._fill()
            except (ConnectionResetError, BrokenPipeError):
                self._end = Closed(True)
                raise self._end from None

    def send_only(self, data, patience=TIMEOUT):
        """Writes without ever reading, as one who does not care; for a thread of its own beside one that reads. Returns how
        much was written when all of it was, or nothing moved for `patience` seconds."""
        view = memoryview(data)
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        while view and poll.poll(patience * 1000):
            try:
                view = view[self.socket.send(view):]
            except BlockingIOError:
                pass
            except (ConnectionResetError, BrokenPipeError):
                raise Closed(True) from None
        return len(data) - len(view)

    def send(self, type, target=SERVICE, payload=b"", **fields):
        self.send_bytes(Frame(type, target=target, payload=payload, **fields).pack())

    # In

    def _wait(self, events, deadline):
        if events != self._events:
            self._poll.modify(self.socket, events)
            self._events = events
        left = deadline - time.monotonic()
        ready = self._poll.poll(max(0, left * 1000))
        if not ready:
            raise TimeoutError("nothing came in time")
        return ready[0][1] if not ready[0][1] & ~(select.POLLIN | select.POLLOUT) else ready[0][1] | select.POLLIN

    def _fill(self):
        """Reads what is there."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self._end = Closed(True)
            raise self._end from None
        if not data:
            self._end = Closed(False)
            raise self._end
        if self._offset:
            del self._buffer[:self._offset]
            self._offset = 0
        self._buffer += data

    def _parse(self):
        have = len(self._buffer) - self._offset
        if have < HEADER.size:
            return None
        length, *fields = HEADER.unpack_from(self._buffer, self._offset)
        if length > PAYLOAD_MAX:
            raise AssertionError(f"the service sent a frame of length {length}")
        if have < HEADER.size + length:
            return None
        start = self._offset + HEADER.size
        self._offset = start + length
        return Frame(*fields, payload=bytes(self._buffer[start:start + length]))

    def _next(self, timeout):
        """The next frame from the wire."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self._parse()
            if frame is None:
                if self._end:
                    if len(self._buffer) > self._offset and not self._end.reset and not self.may_be_cut:
                        raise AssertionError("the service ended the connection in the middle of a frame")
                    raise self._end
                self._wait(select.POLLIN, deadline)
                try:
                    self._fill()
                except Closed:
                    pass
            elif frame.type == PING and self.answer_pings:
                self.send(PONG, SERVICE, frame.payload, tag=frame.tag)
            else:
                return frame

    def receive(self, timeout=TIMEOUT):
        """The next frame. Raises Closed at the end of the connection, TimeoutError."""
        return self.pending.popleft() if self.pending else self._next(timeout)

    def expect(self, type, timeout=TIMEOUT, **fields):
        """The next frame, which has to be of this type and have these fields."""
        frame = self.receive(timeout)
        if frame.type != type:
            raise AssertionError(f"expected {TYPE_NAMES[type]}, got {frame}")
        for name, value in fields.items():
            if getattr(frame, name) != value:
                raise AssertionError(f"expected {name} {value!r}, got {frame}")
        return frame

    def wait_for(self, match, timeout=TIMEOUT):
        """The next frame from the wire for which match(frame) is true; the others go to `pending`."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self._next(deadline - time.monotonic())
            if match(frame):
                return frame
            self.pending.append(frame)

    def expect_closed(self, timeout=TIMEOUT):
        """The connection ends, and nothing more comes before that."""
        try:
            frame = self.receive(timeout)
        except Closed as end:
            return end
        raise AssertionError(f"expected the end of the connection, got {frame}")

    def expect_goodbye(self, code, timeout=TIMEOUT):
        goodbye = Goodbye.parse(self.expect(GOODBYE, timeout, kind=code))
        self.expect_closed()
        return goodbye

    def expect_refused(self, code, timeout=TIMEOUT):
        """REFUSED with this code (or one of these), then the end of the connection."""
        frame = self.expect(REFUSED, timeout)
        codes = code if isinstance(code, tuple) else (code,)
        if frame.kind not in codes:
            raise AssertionError(f"expected REFUSED {code}, got {frame}")
        text = Reader(frame.payload).text16()
        self.expect_closed()
        return text

    # The end

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the TCP connection with a RST, as a peer's kernel does that has lost the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Client(Link):
    """A client of the service. `resume` is the Welcome of the session to go on with."""

    def __init__(self, address, name="", *, resume=None, timeout=TIMEOUT, socket_options=None, **fields):
        super().__init__(address, **(socket_options or {}))
        try:
            if resume:
                name = name or resume.name
                fields = {"resume_id": resume.id, "resume_token": resume.resume_token} | fields
            self.send_bytes(hello(name, **fields).pack())
            self.finish_hello(timeout)
        except BaseException:
            self.close()
            raise

    def finish_hello(self, timeout=TIMEOUT):
        frame = self.receive(timeout)
        if frame.type == REFUSED:
            raise Refused(frame.kind, Reader(frame.payload).text16())
        if frame.type != WELCOME:
            raise AssertionError(f"expected WELCOME, got {frame}")
        self.welcome = Welcome.parse(frame.payload)
        self.id = self.welcome.id
        self.name = self.welcome.name
        self._tag = 0

    def data(self, target, payload=b"", flags=WHOLE, **fields):
        self.send(DATA, target, payload, flags=flags, **fields)

    def goodbye(self, code=LEAVING, reason=""):
        self.send(GOODBYE, SERVICE, u32(0) + text16(reason), kind=code)

    def new_tag(self):
        self._tag += 1
        return self._tag

    def ping(self, payload=b"", timeout=TIMEOUT):
        """One round trip: when it returns, the service has handled all that was sent before. What came meanwhile is pending."""
        tag = self.new_tag()
        self.send(PING, SERVICE, payload, tag=tag)
        return self.wait_for(lambda f: f.type == PONG and f.tag == tag, timeout)

    def expect_nothing(self):
        """Nothing has been forwarded to this client that it did not take: a frame to itself goes the way of all others."""
        tag = 0x80000000 | self.new_tag()
        self.data(self.id, b"barrier", tag=tag)
        self.wait_for(lambda f: f.type == DATA and f.source == self.id and f.tag == tag)
        if self.pending:
            raise AssertionError(f"expected nothing, got {self.pending[0]}")

    # Questions

    def ask(self, kind, payload=b"", timeout=TIMEOUT):
        """The ANSWER frame, failed or not."""
        tag = self.new_tag()
        self.send(ASK, SERVICE, payload, kind=kind, tag=tag)
        return self.wait_for(lambda f: f.type == ANSWER and f.kind == kind and f.tag == tag, timeout)

    def answer(self, kind, payload=b"", timeout=TIMEOUT):
        """A Reader over the payload of an ANSWER that did not fail."""
        frame = self.ask(kind, payload, timeout)
        if frame.flags:
            raise AssertionError(f"question {kind} failed: {frame}")
        return Reader(frame.payload)

    def alive(self, client, timeout=TIMEOUT):
        """`client`: an id or a name."""
        payload = u64(0) + text8(client) if isinstance(client, str) else u64(client)
        return Alive.parse(self.answer(ASK_ALIVE, payload, timeout).payload)

    def resolve(self, name):
        r = self.answer(ASK_RESOLVE, text8(name))
        return r.u64(), r.u8()

    def list_page(self, after):
        """(epoch, [(id, state, name)])"""
        r = self.answer(ASK_LIST, u64(after))
        epoch, count = r.u64(), r.u32()
        return epoch, [(r.u64(), r.u8(), r.text8()) for _ in range(count)]

    def watch(self, client_id, on=True):
        """(epoch, state)"""
        r = self.answer(ASK_WATCH, u64(client_id) + u8(on))
        return r.u64(), r.u8()

    def load(self):
        """The load figures by name."""
        payload = self.answer(ASK_LOAD).payload
        if len(payload) % 8:
            raise AssertionError(f"LOAD of {len(payload)} bytes is not made of u64 fields")
        r = Reader(payload)
        return {name: r.u64() for name in LOAD_FIELDS}

    def expect_presence(self, event, client_id=None, timeout=TIMEOUT, **fields):
        presence = Presence.parse(self.expect(PRESENCE, timeout).payload)
        wanted = {"event": event} | ({} if client_id is None else {"id": client_id}) | fields
        for name, value in wanted.items():
            if getattr(presence, name) != value:
                raise AssertionError(f"expected a presence with {name} {value}, got {presence}")
        return presence
