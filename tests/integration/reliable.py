# SPDX-License-Identifier: LGPL-2.1-or-later
"""Section 5 of the protocol from a client's side, written from PROTOCOL.md alone: what a library does between a program and the
service, as small as it can be and still be right.

A Peer never blocks: step() does what can be done now. It sends and takes messages through any number of lost links and killed
services, and complains (AssertionError) about a peer that does not keep to the protocol.
"""

import collections
import dataclasses
import itertools
import random
import select
import time

import direct1
from direct1 import (ACK, ANSWER, ASK, ASK_WATCH, BACK, BOUNCE, BOUNCE_AWAY, BOUNCE_NO_CLIENT, BOUNCE_OVERLOADED, BOUNCE_POLICY,
                     BROADCAST, DATA, EVERYONE, FAILED, FIRST, GOODBYE, HEADER, LAST, LEFT, LOST, MARK, MARK_BASELINE,
                     PAYLOAD_MAX, PING, PONG, PRESENCE, REFUSED, REFUSED_FULL, REFUSED_NAME_TAKEN, REFUSED_RESUME, RELIABLE,
                     REPLY, RESEND, RESTARTING, SERVICE, STATE_ALIVE, STATE_AWAY, STATE_BUSY, STOPPING, WELCOME, WENT_AWAY,
                     WHOLE, Frame, Reader, u8, u64)

FRAME_MAX = HEADER.size + PAYLOAD_MAX
ANSWER_MAX = 256 << 10  # of what is asked again, at once
OUT_MAX = 256 << 10     # made before the socket has taken it
RETRY_FIRST, RETRY_MAX = 0.1, 10.0
OVERLOADED_PAUSE = 0.1
ACK_TAG, RESEND_TAG = 1, 2  # tell what has bounced; no DATA has one

DELIVERED, GONE, DENIED, ENDED = "delivered", "gone", "refused by policy", "session ended"


@dataclasses.dataclass(eq=False)
class Sent:
    """A message on its way; `result` is its outcome."""
    target: int
    payload: bytes = dataclasses.field(repr=False)
    result: str = None


@dataclasses.dataclass(eq=False)
class Taken:
    """A message that the program has got."""
    source: int
    payload: bytes = dataclasses.field(repr=False)
    kind: int = 0
    is_broadcast: bool = False
    incoming: "Incoming" = dataclasses.field(default=None, repr=False)
    last: int = 0  # the number of its last frame


def split(payload, stream):
    """The frames of a message, without numbers: (flags, payload)."""
    if not stream:
        return [(WHOLE, payload)]
    whole = u64(len(payload)) + payload
    parts = [whole[i:i + PAYLOAD_MAX] for i in range(0, len(whole), PAYLOAD_MAX)]
    return [((FIRST if i == 0 else 0) | (LAST if i == len(parts) - 1 else 0), part) for i, part in enumerate(parts)]


class Outgoing:
    """A flow to another client."""

    def __init__(self, target, stream, credit):
        self.target, self.stream, self.credit = target, stream, credit
        self.waiting = collections.deque()    # (flags, kind, payload, Sent), not sent yet
        self.unacked = collections.deque()    # (Frame, Sent)
        self.again = 0                        # how many of those have been sent over the present link
        self.number = self.n_bytes = 0        # of the last frame, and of all, sent at least once

    def next(self):
        """The frame to send now, or None."""
        if self.again < len(self.unacked):
            self.again += 1
            return self.unacked[self.again - 1][0]
        if not self.waiting or self.n_bytes + HEADER.size + len(self.waiting[0][2]) > self.credit:
            return None
        flags, kind, payload, sent = self.waiting.popleft()
        self.number += 1
        self.n_bytes += HEADER.size + len(payload)
        frame = Frame(DATA, flags=flags | RELIABLE, kind=kind, target=self.target, sequence=self.number, stream=self.stream,
                      payload=payload)
        self.unacked.append((frame, sent))
        self.again = len(self.unacked)
        return frame

    def acked(self, frame):
        if frame.sequence > self.number:
            raise AssertionError(f"acknowledged before it was sent ({self.number} were): {frame}")
        self.credit = max(self.credit, Reader(frame.payload).u64())
        while self.unacked and self.unacked[0][0].sequence <= frame.sequence:
            first, sent = self.unacked.popleft()
            self.again = max(0, self.again - 1)
            if first.flags & LAST:
                sent.result = DELIVERED

    def fail(self, result):
        for sent in {item[-1] for item in itertools.chain(self.unacked, self.waiting)}:
            sent.result = result


class Incoming:
    """A flow from another client."""

    def __init__(self, source, stream, credit):
        self.source, self.stream = source, stream
        self.number = self.n_bytes = 0             # received in order
        self.granted = credit
        self.sizes = collections.deque()           # (number, size) of what was received and not taken
        self.taken = self.taken_bytes = 0
        self.parts = []
        self.must_ack = self.ended = False
        self.bounced = False                       # an ACK

    def take(self, number):
        while self.sizes and self.sizes[0][0] <= number:
            self.taken, size = self.sizes.popleft()
            self.taken_bytes += size
        self.must_ack = True


class Heard:
    """The broadcasts of another client."""

    def __init__(self, have):
        self.have = have
        self.asked = False
        self.parts = {}  # stream -> parts


class Peer:
    """`address` is asked for before each connection. With `name` "" the service gives one."""

    def __init__(self, address, name="", window=1 << 20, keep=4 << 20, seed=0, socket_options=None):
        self.address, self.name, self.window, self.keep = address, name, window, keep
        self.socket_options = socket_options or {}
        self.random = random.Random(seed)
        self.welcome = self.link = None
        self.up = False
        self.refused = 0               # the code of a refusal that is final
        self.retry_at, self.attempt = 0.0, 0
        self.n_links = self.n_duplicates = self.n_lost = self.n_asked = self.n_bounced = 0
        self.reset_session()

    def reset_session(self):
        self.id = 0
        self.first_instance = None     # of the service in which the session began
        self.targets = {}              # id -> "asking", "ready", "away"
        self.overloaded = {}           # id -> when to put again what has bounced
        self.denied = set()            # ids
        self.outgoing = {}             # (id, stream) -> Outgoing
        self.streams = collections.Counter()
        self.incoming = {}             # (id, stream) -> Incoming
        self.begun = collections.defaultdict(set)  # id -> the streams that were seen to begin
        self.inbox = collections.deque()
        self.asks = {}                 # tag -> id
        self.tag = 0
        self.number = 0                # of own broadcasts
        self.before = self.before_loss = 0
        self.kept = collections.deque()
        self.heard = {}                # id -> Heard

    # The program's side

    def send(self, target, payload, kind=0):
        """Messages to clients that have left fail, like others later. Needs a session."""
        stream = 0
        if len(payload) > PAYLOAD_MAX:
            self.streams[target] += 1
            stream = self.streams[target]
        flow = self.outgoing.setdefault((target, stream), Outgoing(target, stream, self.welcome.initial_credit))
        sent = Sent(target, payload)
        if target in self.denied:
            sent.result = DENIED
            return sent
        flow.waiting.extend((flags, kind, part, sent) for flags, part in split(payload, stream))
        if target not in self.targets:
            self.ask(target)
        return sent

    def broadcast(self, payload, kind=0):
        stream = 0
        if len(payload) > PAYLOAD_MAX:
            self.streams[EVERYONE] += 1
            stream = self.streams[EVERYONE]
        for flags, part in split(payload, stream):
            self.number += 1
            frame = Frame(DATA, flags=flags | RELIABLE, kind=kind, target=EVERYONE, sequence=self.number, stream=stream,
                          payload=part)
            self.kept.append(frame)
            self.put(frame)
        while sum(len(f.payload) for f in self.kept) > self.keep:
            self.kept.popleft()

    def take(self):
        """The next message, or None."""
        if not self.inbox:
            return None
        message = self.inbox.popleft()
        if message.incoming:
            flow = message.incoming  # behind the last message that waits, there is at most one that is being put together
            flow.take(message.last if any(m.incoming is flow for m in self.inbox) else flow.number)
        return message

    def lose_link(self):
        """As if the network had lost it."""
        if self.link:
            self.link.reset()
            self.lost()

    # The link

    def lost(self, after=None):
        if self.link:
            self.link.close()
        if self.up:
            self.before_loss = self.number  # what is broadcast from now on, the next instance may have newcomers for
        self.link, self.up = None, False
        self.out = bytearray()
        if after is None:
            after = self.random.uniform(0, min(RETRY_MAX, RETRY_FIRST * 2 ** self.attempt))
            self.attempt += 1
        self.retry_at = time.monotonic() + after

    def connect(self):
        self.out = bytearray()
        self.asks.clear()
        try:
            self.link = direct1.Link(self.address(), **self.socket_options)
        except OSError:
            self.lost()
            return
        self.link.answer_pings = False
        self.link.may_be_cut = True
        resume = {"resume_id": self.id, "resume_token": self.welcome.resume_token} if self.id else {}
        self.out += direct1.hello(self.name, **resume).pack()

    def put(self, frame):
        if self.up:
            self.out += frame.pack()

    def flush(self):
        """True if anything was written."""
        n = 0
        try:
            while n < len(self.out):
                n += self.link.socket.send(memoryview(self.out)[n:])
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            pass  # what has come before that is read, and then the end
        del self.out[:n]
        return n > 0

    def step(self):
        """True if something was done."""
        if not self.link:
            if time.monotonic() < self.retry_at:
                return False
            self.connect()
            return True
        done = self.read()
        for target in [target for target, when in self.overloaded.items() if when <= time.monotonic()]:
            del self.overloaded[target]
            self.ask(target)  # the answer lets it go on
        if self.link and self.up:
            done |= self.pump()
        if self.link and self.out:
            done |= self.flush()
        return done

    def read(self):
        try:
            for n in range(256):
                frame = self.link.receive(0)
                HANDLERS[frame.type](self, frame)
                if not self.link:
                    break
        except TimeoutError:
            return n > 0
        except direct1.Closed:
            self.lost()
        return True

    def pump(self):
        """One frame of each flow in turn, the lower streams first: so each begins before those with higher numbers."""
        done, more = False, True
        while more and len(self.out) < OUT_MAX:
            more = False
            for (target, _), flow in sorted(self.outgoing.items()):
                if self.targets.get(target) == "ready" and (frame := flow.next()):
                    self.put(frame)
                    done = more = True
        for key, flow in [item for item in self.incoming.items() if item[1].must_ack]:
            self.acknowledge(flow)
            done = True
            if flow.ended and not flow.sizes:
                del self.incoming[key]
        return done

    def acknowledge(self, flow):
        flow.must_ack = False
        flow.granted = max(flow.granted, flow.taken_bytes + self.window)
        self.put(Frame(ACK, target=flow.source, sequence=flow.taken, stream=flow.stream, tag=ACK_TAG, payload=u64(flow.granted)))

    # Sessions and presence

    def on_welcome(self, frame):
        self.welcome = direct1.Welcome.parse(frame.payload)
        if self.welcome.id != self.id:
            self.end_session()
            self.id, self.name, self.first_instance = self.welcome.id, self.welcome.name, self.welcome.instance
            self.instance = self.welcome.instance
        if self.welcome.instance != self.instance:
            self.instance, self.before = self.welcome.instance, self.before_loss
        self.up, self.attempt = True, 0
        self.n_links += 1
        if self.number:
            self.put(Frame(MARK, target=EVERYONE, sequence=self.number, payload=u64(self.before)))
        for target in self.targets:
            self.ask(target)

    def end_session(self):
        for flow in self.outgoing.values():
            flow.fail(ENDED)
        self.reset_session()

    def on_refused(self, frame):
        if frame.kind not in (REFUSED_NAME_TAKEN, REFUSED_FULL):
            self.end_session()
        if frame.kind in (REFUSED_NAME_TAKEN, REFUSED_FULL, REFUSED_RESUME):
            self.lost()
        else:
            self.refused = frame.kind
            self.lost(float("inf"))

    def on_goodbye(self, frame):
        if frame.kind not in (STOPPING, RESTARTING):
            raise AssertionError(f"this client was sent away: {frame}")
        self.lost(direct1.Goodbye.parse(frame).retry_after_ms / 1000)

    def on_ping(self, frame):
        self.put(Frame(PONG, tag=frame.tag, payload=frame.payload))

    def ask(self, target):
        """Watches it."""
        self.targets[target] = "asking"
        self.tag += 1
        self.asks[self.tag] = target
        self.put(Frame(ASK, kind=ASK_WATCH, target=SERVICE, tag=self.tag, payload=u64(target) + u8(1)))

    def on_answer(self, frame):
        if frame.flags:
            raise AssertionError(f"WATCH has failed: {frame}")
        r = Reader(frame.payload)
        target, _, state = self.asks.pop(frame.tag), r.u64(), r.u8()
        if state in (STATE_ALIVE, STATE_BUSY):
            self.ready(target)
        elif state == STATE_AWAY:
            self.targets[target] = "away"
        else:
            self.gone(target)

    def ready(self, target):
        """Whatever was under way may be lost."""
        self.targets[target] = "ready"
        for (flow_target, _), flow in self.outgoing.items():
            if flow_target == target:
                flow.again = 0
        for (source, _), flow in self.incoming.items():
            if source == target:
                flow.must_ack |= flow.bounced
                flow.bounced = False
        if target in self.heard and self.heard[target].asked:
            self.resend(target, self.heard[target])

    def gone(self, client):
        self.targets.pop(client, None)
        self.heard.pop(client, None)
        self.overloaded.pop(client, None)
        self.fail(client, GONE)
        for key in [key for key in self.incoming if key[0] == client]:
            self.incoming.pop(key)

    def fail(self, client, result):
        for key in [key for key in self.outgoing if key[0] == client]:
            self.outgoing.pop(key).fail(result)

    def on_presence(self, frame):
        presence = direct1.Presence.parse(frame.payload)
        if presence.id not in self.targets:
            return
        if presence.event == WENT_AWAY:
            self.targets[presence.id] = "away"
        elif presence.event == BACK:
            self.ready(presence.id)
        elif presence.event == LEFT:
            self.gone(presence.id)

    def on_bounce(self, frame):
        self.n_bounced += 1
        if frame.kind == BOUNCE_NO_CLIENT:
            self.gone(frame.target)
        elif frame.kind == BOUNCE_POLICY:
            self.denied.add(frame.target)
            self.fail(frame.target, DENIED)
        elif frame.kind == BOUNCE_OVERLOADED:
            self.on_overloaded(frame)
        elif frame.kind != BOUNCE_AWAY:
            raise AssertionError(f"a reason that there is not: {frame}")
        elif frame.target in self.targets:
            self.targets[frame.target] = "away"

    def on_overloaded(self, frame):
        flow = self.incoming.get((frame.target, frame.stream))
        if frame.tag == ACK_TAG and flow:
            flow.bounced = True
        self.targets[frame.target] = "away"
        self.overloaded.setdefault(frame.target, time.monotonic() + OVERLOADED_PAUSE)

    # Flows

    def on_ack(self, frame):
        flow = self.outgoing.get((frame.source, frame.stream))
        if flow:
            flow.acked(frame)
            if frame.stream and not flow.waiting and not flow.unacked:
                del self.outgoing[frame.source, frame.stream]
        elif not 0 < frame.stream <= self.streams[frame.source]:
            raise AssertionError(f"an ACK of a stream that never was: {frame}")

    def on_data(self, frame):
        if frame.target == EVERYONE or frame.flags & BROADCAST:
            self.on_broadcast(frame)
            return
        if not frame.flags & RELIABLE:
            self.inbox.append(Taken(frame.source, frame.payload, frame.kind))
            return
        key, begun = (frame.source, frame.stream), self.begun[frame.source]
        flow = self.incoming.get(key)
        if not flow and frame.stream <= max(begun, default=-1):
            if frame.stream not in begun:
                raise AssertionError(f"stream {max(begun)} began before it: {frame}")
            self.n_duplicates += 1
            self.put(Frame(ACK, target=frame.source, sequence=frame.sequence, stream=frame.stream, tag=ACK_TAG,
                           payload=u64(FRAME_MAX)))
            return
        if not flow and frame.sequence != 1:
            return
        if not flow:
            flow = self.incoming[key] = Incoming(frame.source, frame.stream, self.welcome.initial_credit)
            begun.add(frame.stream)
        self.receive(flow, frame)

    def receive(self, flow, frame):
        if frame.sequence <= flow.number:
            self.n_duplicates += 1
            flow.must_ack = True
            return
        if frame.sequence > flow.number + 1:
            return
        size = HEADER.size + len(frame.payload)
        flow.number += 1
        flow.n_bytes += size
        if flow.n_bytes > flow.granted:
            raise AssertionError(f"{flow.n_bytes} bytes, of which {flow.granted} were allowed: {frame}")
        flow.sizes.append((frame.sequence, size))
        message = self.assemble(flow.parts, frame)
        flow.ended = bool(frame.stream and frame.flags & LAST)
        if message is not None:
            self.inbox.append(Taken(frame.source, message, frame.kind, False, flow, frame.sequence))
        elif not any(m.incoming is flow for m in self.inbox):
            flow.take(frame.sequence)  # it has its place; or the message was given up

    def assemble(self, parts, frame):
        """The whole message, or None. What does not begin with its first frame is left out."""
        if frame.flags & FIRST:
            parts[:] = [frame.payload]
        elif parts:
            parts.append(frame.payload)
        if not frame.flags & LAST or not parts:
            return None
        whole, is_one = b"".join(parts), len(parts) == 1 and frame.flags & FIRST
        parts.clear()
        if frame.flags & (FAILED | REPLY) == FAILED:
            return None
        if is_one:
            return whole
        total, payload = Reader(whole).u64(), whole[8:]
        if total not in (len(payload), EVERYONE):
            raise AssertionError(f"{len(payload)} bytes of a message of {total}: {frame}")
        return payload

    # Broadcasts

    def on_broadcast(self, frame):
        if not frame.sequence:
            self.inbox.append(Taken(frame.source, frame.payload, frame.kind, True))
            return
        heard = self.heard.setdefault(frame.source, Heard(0))
        if frame.sequence <= heard.have:
            self.n_duplicates += 1
        elif frame.sequence > heard.have + 1:
            self.lacks(frame.source, heard)
        else:
            heard.have += 1
            message = self.assemble(heard.parts.setdefault(frame.stream, []), frame)
            if message is not None:
                self.inbox.append(Taken(frame.source, message, frame.kind, True))

    def lacks(self, source, heard):
        if not heard.asked:
            heard.asked = True
            if source in self.targets:
                self.resend(source, heard)
            else:
                self.ask(source)  # and when it is there, for what is lacking

    def resend(self, source, heard):
        self.n_asked += 1
        self.put(Frame(RESEND, target=source, tag=RESEND_TAG, payload=u64(heard.have + 1) + u64(0)))

    def on_mark(self, frame):
        heard = self.heard.get(frame.source)
        if not heard:
            before = Reader(frame.payload).u64() if frame.payload else 0
            heard = self.heard[frame.source] = Heard(before if self.first_instance == self.instance else 0)
            if frame.flags & MARK_BASELINE:
                heard.have = frame.sequence
        if frame.target == self.id and not frame.flags & MARK_BASELINE:
            heard.asked = False  # the end of an answer, or the service knows of something that was missed
        if frame.sequence > heard.have:
            self.lacks(frame.source, heard)

    def on_lost(self, frame):
        r = Reader(frame.payload)
        first, last = r.u64(), r.u64()
        heard = self.heard.get(frame.source)
        if heard and first <= heard.have + 1 <= last:
            self.n_lost += last - heard.have
            heard.have = last
            heard.parts.clear()

    def on_resend(self, frame):
        r = Reader(frame.payload)
        first, last = r.u64(), r.u64() or self.number
        oldest = self.kept[0].sequence if self.kept else self.number + 1
        if first < oldest:
            self.put(Frame(LOST, target=frame.source, payload=u64(first) + u64(oldest - 1)))
        size = 0
        for kept in self.kept:
            if first <= kept.sequence <= last and size < ANSWER_MAX:
                self.put(dataclasses.replace(kept, target=frame.source, flags=kept.flags | BROADCAST))
                size += HEADER.size + len(kept.payload)
        self.put(Frame(MARK, target=frame.source, sequence=self.number, payload=u64(self.before)))


HANDLERS = {WELCOME: Peer.on_welcome, REFUSED: Peer.on_refused, GOODBYE: Peer.on_goodbye, PING: Peer.on_ping,
            ANSWER: Peer.on_answer, PRESENCE: Peer.on_presence, BOUNCE: Peer.on_bounce, ACK: Peer.on_ack, DATA: Peer.on_data,
            MARK: Peer.on_mark, LOST: Peer.on_lost, RESEND: Peer.on_resend}


def run(peers, until, timeout=direct1.TIMEOUT):
    """Plays all of them until `until()` is true, which also takes what their programs are to take."""
    deadline = time.monotonic() + timeout
    while not until():
        if any([peer.step() for peer in peers]):
            continue
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"what was waited for did not happen in {timeout} s")
        poll = select.poll()
        wait = deadline - now
        for peer in peers:
            if peer.link:
                poll.register(peer.link.socket, select.POLLIN | (select.POLLOUT if peer.out else 0))
                wait = min([wait, *(when - now for when in peer.overloaded.values())])
            else:
                wait = min(wait, peer.retry_at - now)
        poll.poll(max(0, wait) * 1000 + 1)
