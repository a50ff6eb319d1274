# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sessions of many clients, held against a small model of what each of them has to see, and of what the counters say.

DIRECTSERVER_SEED=n repeats the session that a failure has named.
"""

import os
import random

import direct1
from direct1 import BOUNCE, DATA, EVERYONE, JOINED, LEFT, PRESENCE, SERVICE, WHOLE, Frame, Presence
from service import ServiceTest, main, say


# One thread plays all the clients, so nobody may be paused for those that wait for their turn: less than the high-water mark.
UNREAD_MAX = 4 << 20
# Who has more than this to read may miss presence, and is told the state of all when it has read.
UNREAD_WATCHER_MAX = 256 << 10


class Model:
    """Knows who is there, and keeps for each client what it has to receive: messages by source, presence as one sequence."""

    def __init__(self, test, seed):
        self.test = test
        self.random = random.Random(seed)
        self.clients = []
        self.gone = []
        self.messages = {}    # client id -> source id -> [(target, tag, payload)]
        self.presence = {}    # client id -> [(epoch, event, id, name)], for those who watch everyone
        self.bounces = {}     # client id -> number
        self.unread = {}      # client id -> bytes
        self.n_out = self.n_bounces = self.n_in = 0
        self.tag = 0
        self.epoch = 0

    def pick(self):
        return self.random.choice(self.clients)

    def tell(self, event, client):
        self.epoch += 1
        for watcher in self.presence:
            if watcher != client.id:
                self.presence[watcher].append((self.epoch, event, client.id, client.name))

    # What may happen. Each ends when the service has handled it, so that who was there at that moment is known.

    def join(self):
        name = self.random.choice(("", f"n{self.random.randrange(10000)}"))
        address = self.random.choice((self.test.service.tcp, self.test.service.unix))
        if name in [c.name for c in self.clients]:
            self.test.assertRefused(direct1.REFUSED_NAME_TAKEN, name, address=address)
            return
        client = self.test.client(name, address=address)
        self.messages[client.id], self.bounces[client.id], self.unread[client.id] = {}, 0, 0
        self.tell(JOINED, client)
        self.test.assertEqual(client.welcome.epoch, self.epoch)
        self.clients.append(client)

    def watch(self):
        client = self.pick()
        if client.id not in self.presence:
            self.test.assertEqual(client.watch(0)[0], self.epoch)
            self.presence[client.id] = []

    def leave(self):
        client = self.pick()
        self.check(client)
        self.clients.remove(client)
        self.presence.pop(client.id, None)
        if self.random.random() < 0.5:
            client.goodbye()
            client.expect_closed()
        else:
            observer = self.pick()
            observer.watch(client.id)
            client.close()
            observer.wait_for(lambda f: f.type == PRESENCE and self.is_end_of(client, Presence.parse(f.payload)))
            if observer.id in self.presence:
                observer.watch(client.id, on=False)
                self.tell(LEFT, client)
                self.presence[observer.id].pop()  # it has just been taken
                self.gone.append(client.id)
                return
        self.tell(LEFT, client)
        self.gone.append(client.id)

    @staticmethod
    def is_end_of(client, presence):
        return presence.event == LEFT and presence.id == client.id

    def burst(self):
        """One client sends a handful of frames to anybody, in one segment."""
        client = self.pick()
        frames = bytearray()
        for _ in range(self.random.randrange(1, 20)):
            self.tag += 1
            self.n_in += 1
            payload = self.random.randbytes(self.random.choice((0, 1, 50, 1000, 65536)))
            kind = self.random.random()
            if kind < 0.2:
                target, receivers = EVERYONE, [c for c in self.clients if c is not client]
            elif kind < 0.3:
                target, receivers = self.random.choice([*self.gone, SERVICE, direct1.GROUP, 1 << 62]), []
                self.bounces[client.id] += 1
                self.n_bounces += 1
            else:
                receiver = self.pick()
                target, receivers = receiver.id, [receiver]
            frames += Frame(DATA, flags=WHOLE, source=self.pick().id, target=target, tag=self.tag, payload=payload).pack()
            for receiver in receivers:
                self.n_out += 1
                self.messages[receiver.id].setdefault(client.id, []).append((target, self.tag, payload))
                self.unread[receiver.id] += len(payload)
        client.send_bytes(frames)
        client.ping()
        for receiver in self.clients:
            if self.unread[receiver.id] > (UNREAD_WATCHER_MAX if receiver.id in self.presence else UNREAD_MAX):
                self.check(receiver)

    # What must hold

    def check(self, client):
        """All that this client had to see has come, and nothing else."""
        client.ping()
        barrier = client.new_tag()
        client.send(DATA, client.id, flags=WHOLE, kind=1, tag=barrier)
        client.wait_for(lambda f: f.type == DATA and f.source == client.id and f.kind == 1 and f.tag == barrier)
        self.n_in += 1
        self.n_out += 1
        messages, presence, bounces = {}, [], 0
        for frame in client.pending:
            if frame.type == DATA:
                messages.setdefault(frame.source, []).append((frame.target, frame.tag, frame.payload))
            elif frame.type == PRESENCE:
                p = Presence.parse(frame.payload)
                presence.append((p.epoch, p.event, p.id, p.name))
            elif frame.type == BOUNCE:
                bounces += 1
            else:
                self.test.fail(f"unexpected {frame}")
        client.pending.clear()
        self.test.assertEqual(messages, self.messages[client.id])
        self.test.assertEqual(presence, self.presence.get(client.id, []))
        self.test.assertEqual(bounces, self.bounces[client.id])
        self.messages[client.id], self.bounces[client.id], self.unread[client.id] = {}, 0, 0
        if client.id in self.presence:
            self.presence[client.id] = []

    def check_list(self):
        """LIST agrees with the model."""
        epoch, page = self.pick().list_page(0)
        self.test.assertEqual(epoch, self.epoch)
        self.test.assertEqual(page, sorted((c.id, direct1.STATE_ALIVE, c.name) for c in self.clients))

    def run(self, n):
        self.epoch = 0
        first = self.test.client()
        self.epoch = first.welcome.epoch
        self.messages[first.id], self.bounces[first.id], self.unread[first.id] = {}, 0, 0
        self.clients.append(first)
        for _ in range(n):
            if len(self.clients) < 3:
                self.join()
            else:
                steps = (self.join, self.leave, self.burst, self.watch, self.check_list, lambda: self.check(self.pick()))
                self.random.choices(steps, (3, 2 if len(self.clients) < 20 else 6, 20, 1, 1, 2))[0]()
        for client in self.clients:
            self.check(client)
        load = self.pick().load()
        self.test.assertEqual((load["messages_in"], load["messages_out"], load["bounces"], load["clients"], load["queued_bytes"]),
                              (self.n_in, self.n_out, self.n_bounces, len(self.clients), 0), "the counters reconcile")


class RandomSessions(ServiceTest):
    config = {"OutboxHighWater": "16M", "OutboxLowWater": "8M"}

    def test_sessions(self):
        seed = os.environ.get("DIRECTSERVER_SEED")
        seeds = [int(seed)] if seed else [*range(1, 4), random.SystemRandom().randrange(1 << 32)]
        for seed in seeds:
            with self.subTest(seed=seed):
                say(f"seed {seed}")
                self.service = self.start_service()
                Model(self, seed).run(1000)


if __name__ == "__main__":
    main()
