# SPDX-License-Identifier: LGPL-2.1-or-later
"""Section 6 of the protocol: questions and their answers, presence, and how the end of a link is told."""

import errno
import time

import direct1
from direct1 import (ANSWER, ANSWER_FAILED, ASK, ASK_ALIVE, ASK_LIST, ASK_LOAD, ASK_RESOLVE, ASK_WATCH, BACK, BOUNCE, CAME_ALIVE,
                     DATA, DIED, JOINED, LEAVING, LEFT, LINK_LOST, PING, PONG, PROTOCOL, STATE_ALIVE, STATE_AWAY, STATE_BUSY,
                     STATE_GONE, STATE_UNKNOWN, WENT_AWAY, WENT_BUSY, Client, Reader, u64, u8)
from service import Background, ServiceTest, main

class Questions(ServiceTest):
    def test_alive(self):
        a, b = self.client("asker"), self.client("answerer")
        for question in (b.id, "answerer"):
            with self.subTest(question=question):
                answer = a.alive(question)
                self.assertEqual((answer.id, answer.state, answer.name), (b.id, STATE_ALIVE, "answerer"))
                self.assertLess(answer.silence_ms, 10000)
                self.assertLess(answer.kernel_silence_ms, 10000)
                self.assertLess(answer.rtt_us, 1000000)
        self.assertEqual(a.alive(a.id).name, "asker")

    def test_alive_of_nobody(self):
        c = self.client()
        gone = self.client("gone")
        gone.goodbye()
        gone.expect_closed()
        for question in (c.id + 1000000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, gone.id,
                         "gone", "nobody", "x" * 63, "x" * 255, "no such name"):
            with self.subTest(question=question):
                self.assertIn(c.alive(question).state, (STATE_UNKNOWN, STATE_GONE))

    def test_alive_counts_silence(self):
        """Silence is of the program; its kernel answers meanwhile."""
        c, silent = self.client(), self.client("silent")
        time.sleep(0.3)  # the silence itself
        self.assertGreaterEqual(c.alive(silent.id).silence_ms, 250)
        silent.ping()
        self.assertLess(c.alive(silent.id).silence_ms, 250)

    def test_resolve(self):
        a, b = self.client("asker"), self.client("wanted")
        self.assertEqual(a.resolve("wanted"), (b.id, STATE_ALIVE))
        self.assertEqual(a.resolve("asker"), (a.id, STATE_ALIVE))
        for name in ("nobody", "", "WANTED", "wante", "wanted2", "x" * 63, "x" * 64, "x" * 255, "not a name"):
            with self.subTest(name=name):
                client_id, state = a.resolve(name)
                self.assertEqual(client_id, 0)
                self.assertIn(state, (STATE_UNKNOWN, STATE_GONE))

    def test_tag_and_kind_come_back(self):
        c = self.client()
        for tag in (0, 1, 0x80000000, 0xffffffff):
            c.send(ASK, payload=direct1.text8("nobody"), kind=ASK_RESOLVE, tag=tag)
            c.expect(ANSWER, kind=ASK_RESOLVE, tag=tag, flags=0)

    def test_more_fields_at_the_end_are_ignored(self):
        c = self.client("asker")
        more = b"a field of a later version"
        self.assertEqual(c.answer(ASK_RESOLVE, direct1.text8("asker") + more).u64(), c.id)
        self.assertEqual(direct1.Alive.parse(c.answer(ASK_ALIVE, u64(c.id) + more).payload).id, c.id)
        self.assertEqual(direct1.Alive.parse(c.answer(ASK_ALIVE, u64(0) + direct1.text8("asker") + more).payload).id, c.id)
        c.answer(ASK_LIST, u64(0) + more)
        c.answer(ASK_WATCH, u64(c.id) + u8(1) + more)
        c.answer(ASK_LOAD, more)

    def test_many_at_once(self):
        """Answers come in the order of their questions, none is left out."""
        c = self.client("asker")
        n = 3000
        c.send_bytes(b"".join(direct1.Frame(ASK, kind=ASK_ALIVE, tag=i, payload=u64(c.id)).pack() for i in range(n)))
        for i in range(n):
            c.expect(ANSWER, kind=ASK_ALIVE, tag=i, flags=0)

    def test_list_pages(self):
        """Long names, so that all of them cannot fit into one frame."""
        n = 300 if direct1.SANITIZED else 1200
        self.need_descriptors(n + 100)
        clients = [self.client(f"{i:05}".ljust(63, "x"), address=self.service.unix) for i in range(n)]
        asker = clients[0]
        wanted = {c.id: c.name for c in clients}
        pages, after = [], 0
        epochs = set()
        while True:
            epoch, page = asker.list_page(after)
            epochs.add(epoch)
            if not page:
                break
            pages.append(page)
            self.assertGreater(page[0][0], after)
            after = page[-1][0]
        listed = [entry for page in pages for entry in page]
        if not direct1.SANITIZED:
            self.assertGreater(len(pages), 1)
        self.assertEqual([entry[0] for entry in listed], sorted(wanted))
        self.assertTrue(all(state == STATE_ALIVE and wanted[client_id] == name for client_id, state, name in listed))
        self.assertEqual(epochs, {clients[-1].welcome.epoch})

        self.assertEqual([e[0] for e in asker.list_page(listed[9][0])[1]][:5], [e[0] for e in listed[10:15]])
        self.assertEqual([e[0] for e in asker.list_page(listed[9][0] - 1)[1]][0], listed[9][0], "after an id that is not there")
        for after in (listed[-1][0], (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1):
            self.assertEqual(asker.list_page(after)[1], [])

    def test_list_shows_who_is_away(self):
        c, away = self.client(), self.client("worker", address=self.service.tcp)
        c.watch(away.id)
        away.reset()
        c.expect_presence(WENT_AWAY, away.id)
        self.assertIn((away.id, STATE_AWAY, "worker"), c.list_page(0)[1])
        c.expect_presence(LEFT, away.id)
        self.assertEqual([e[0] for e in c.list_page(0)[1]], [c.id])

    def test_unknown_question(self):
        c = self.client()
        for kind in (0, 6, 7, 255, 256, 0x8000, 0xffff):
            for payload in (b"", bytes(100), bytes(65536)):
                frame = c.ask(kind, payload)
                self.assertFailed(frame, errno.EOPNOTSUPP)

    def test_truncated_questions(self):
        """A failed ANSWER; the connection lives."""
        whole = {ASK_ALIVE: [u64(1)[:n] for n in range(8)] + [u64(0), u64(0) + u8(5) + b"name"],
                 ASK_RESOLVE: [b"", u8(1), u8(255) + b"x" * 254, u8(2) + b"\xff\xfe", u8(1) + b"\n"],
                 ASK_LIST: [u64(0)[:n] for n in range(8)],
                 ASK_WATCH: [(u64(1) + u8(1))[:n] for n in range(9)]}
        c = self.client()
        for kind, payloads in whole.items():
            for payload in payloads:
                with self.subTest(kind=kind, payload=payload):
                    self.assertFailed(c.ask(kind, payload), errno.EINVAL)

    def assertFailed(self, answer, error):
        self.assertEqual(answer.flags, ANSWER_FAILED)
        r = Reader(answer.payload)
        self.assertEqual(r.u16(), error)
        self.assertNotEqual(r.text16(), "")

    def test_too_many_watches(self):
        """4,096 single clients, and no more; the limit is of each asker, and what is let go makes room."""
        n = 200 if direct1.SANITIZED else 4096
        self.need_descriptors(n + 100)
        c, other = self.client(), self.client()
        watched = [self.client(address=self.service.unix) for _ in range(n + 1)]
        for w in watched[:n]:
            c.watch(w.id)
        if not direct1.SANITIZED:
            self.assertFailed(c.ask(ASK_WATCH, u64(watched[n].id) + u8(1)), errno.ENOSPC)
            c.watch(watched[0].id)  # it has this one already
            other.watch(watched[n].id)
            watched[5].goodbye()
            c.expect_presence(LEFT, watched[5].id)
        c.watch(watched[n].id)
        c.watch(0)
        watched[n].goodbye()
        c.expect_presence(LEFT, watched[n].id)

    def test_extremes(self):
        """0, the limits of 63 and 64 bits, and neighbours, in every number of every question."""
        c = self.client()
        for value in (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 2,
                      (1 << 64) - 1):
            c.ask(ASK_ALIVE, u64(value) + b"\0")
            c.ask(ASK_LIST, u64(value))
            for on in (0, 1, 255, 0):
                c.ask(ASK_WATCH, u64(value) + u8(on))
        c.expect_nothing()


class QuestionsUnix(Questions):
    transport = "unix"


class Load(ServiceTest):
    def test_figures(self):
        a, b = self.client("a"), self.client("b")
        before = a.load()
        self.assertEqual((before["clients"], before["clients_away"], before["clients_paused"]), (2, 0, 0))
        for _ in range(10):
            a.data(b.id, bytes(1000))
            b.expect(DATA)
        a.data(a.id + 1000000)
        a.expect(BOUNCE)
        a.watch(b.id)
        b.reset()
        a.expect_presence(WENT_AWAY, b.id)
        offender = self.client()
        offender.send(0x77)
        offender.expect_goodbye(PROTOCOL)
        after = a.load()
        grown = {name: after[name] - before[name] for name in before}
        self.assertGreaterEqual(grown["messages_in"], 10)
        self.assertEqual(grown["messages_out"], 10)
        self.assertGreaterEqual(grown["bytes_in"], 10 * 1040)
        self.assertGreaterEqual(grown["bytes_out"], 10 * 1040)
        self.assertEqual((grown["bounces"], grown["protocol_errors"], grown["skipped_broadcasts"]), (1, 1, 0))
        self.assertGreater(grown["uptime_usec"], 0)
        self.assertEqual((after["clients"] - after["clients_away"], after["clients_away"]), (1, 1))
        self.assertEqual(after["queued_bytes"], 0)
        self.assertTrue(after["routing_p50_ns"] <= after["routing_p90_ns"] <= after["routing_p99_ns"] <= after["routing_p999_ns"]
                        <= after["routing_max_ns"])
        self.assertTrue(all(after[f"busy_permille_{s}s"] <= 1000 for s in (1, 10, 60)))


class PresenceOfAll(ServiceTest):
    def test_epochs(self):
        """joined and left each add one, for all watchers alike; nothing else does."""
        watchers = [self.client(f"watcher{i}") for i in range(3)]
        epoch = watchers[-1].welcome.epoch
        for w in watchers:
            self.assertEqual(w.watch(0)[0], epoch)

        def everyone_sees(event, client_id, grown, **fields):
            nonlocal epoch
            epoch += grown
            for w in watchers:
                w.expect_presence(event, client_id, epoch=epoch, **fields)

        for i in range(5):
            a = self.client(f"a{i}")
            everyone_sees(JOINED, a.id, 1, name=f"a{i}", reason=0)
            self.assertEqual(a.welcome.epoch, epoch)
            a.goodbye()
            everyone_sees(LEFT, a.id, 1, name=f"a{i}", reason=LEAVING)

            b = self.client(f"b{i}")
            everyone_sees(JOINED, b.id, 1)
            b.close()
            everyone_sees(LEFT, b.id, 1, reason=DIED, name=f"b{i}")

            c = self.client(f"c{i}")
            everyone_sees(JOINED, c.id, 1)
            c.reset()
            everyone_sees(WENT_AWAY, c.id, 0, reason=LINK_LOST, name=f"c{i}")
            c = self.client(resume=c.welcome)
            everyone_sees(BACK, c.id, 0, name=f"c{i}")
            c.send(0x77)
            everyone_sees(LEFT, c.id, 1, reason=PROTOCOL)
            self.assertEqual(watchers[0].list_page(0)[0], epoch)

    def test_who_is_refused_has_not_joined(self):
        w = self.client("watcher")
        epoch = w.watch(0)[0]
        link = self.link()
        link.send_bytes(direct1.hello("not valid").pack())
        link.expect_refused(direct1.REFUSED_NAME_INVALID)
        self.link().send(PING)
        self.link().close()
        c = self.client()
        w.expect_presence(JOINED, c.id, epoch=epoch + 1)

    def test_off(self):
        w = self.client("watcher")
        w.watch(0)
        c = self.client()
        w.expect_presence(JOINED, c.id)
        w.watch(0, on=False)
        self.client()
        c.goodbye()
        c.expect_closed()
        w.expect_nothing()
        w.watch(0)
        w.watch(0)  # twice is once
        c = self.client()
        w.expect_presence(JOINED, c.id)
        w.expect_nothing()

    def test_all_and_one(self):
        """Who watches everyone and one of them is told once."""
        w, c = self.client("watcher"), self.client()
        w.watch(0)
        w.watch(c.id)
        c.goodbye()
        w.expect_presence(LEFT, c.id)
        w.expect_nothing()

    def test_joins_are_told_before_the_first_message(self):
        """A watcher knows a newcomer by the time the newcomer writes to it."""
        w = self.client("watcher")
        w.watch(0)
        for _ in range(20):
            c = self.client()
            c.data(w.id, b"I am new")
            w.expect_presence(JOINED, c.id)
            w.expect(DATA, source=c.id)

    def test_watcher_that_has_gone(self):
        """The end of watchers, by each way, disturbs neither the watched nor other watchers."""
        w, c = self.client("watcher"), self.client()
        w.watch(c.id)
        for end in (Client.close, Client.reset, Client.goodbye, lambda x: x.send(0x77)):
            other = self.client()
            other.watch(c.id)
            other.watch(0)
            end(other)
        c.goodbye()
        w.expect_presence(LEFT, c.id)


class PresenceOfAllUnix(ServiceTest):
    transport = "unix"

    def test_ends(self):
        w = self.client("watcher")
        w.watch(0)
        for end, reason in ((Client.goodbye, LEAVING), (Client.close, DIED)):
            c = self.client()
            w.expect_presence(JOINED, c.id)
            end(c)
            w.expect_presence(LEFT, c.id, reason=reason)


class PresenceOfOne(ServiceTest):
    def test_only_that_one(self):
        w, a, b = self.client("watcher"), self.client("a"), self.client("b")
        self.assertEqual(w.watch(a.id), (b.welcome.epoch, STATE_ALIVE))
        self.client("c")
        b.goodbye()
        b.expect_closed()
        w.expect_nothing()
        a.goodbye()
        w.expect_presence(LEFT, a.id, reason=LEAVING, name="a")
        w.expect_nothing()

    def test_off(self):
        w, a = self.client("watcher"), self.client("a")
        w.watch(a.id)
        w.watch(a.id, on=False)
        a.goodbye()
        a.expect_closed()
        w.expect_nothing()

    def test_states(self):
        w, a = self.client("watcher"), self.client("a")
        self.assertEqual(w.watch(w.id)[1], STATE_ALIVE)
        self.assertEqual(w.watch(a.id)[1], STATE_ALIVE)
        a.reset()
        w.expect_presence(WENT_AWAY, a.id)
        self.assertEqual(w.watch(a.id)[1], STATE_AWAY)
        w.expect_presence(LEFT, a.id, reason=LINK_LOST)
        self.assertIn(w.watch(a.id)[1], (STATE_UNKNOWN, STATE_GONE))
        self.assertIn(w.watch(a.id + 1000000)[1], (STATE_UNKNOWN, STATE_GONE))
        w.expect_nothing()

    def test_watch_of_a_watcher_that_resumes(self):
        """A watch lasts as long as the session of the watcher."""
        w, a = self.client("watcher"), self.client("a")
        w.watch(a.id)
        r = self.client(resume=w.welcome)
        w.expect_goodbye(direct1.REPLACED)
        a.goodbye()
        r.expect_presence(LEFT, a.id)
        r.expect_nothing()
        r.watch(0)
        r.reset()
        r = self.client(resume=w.welcome)
        b = self.client("b")
        r.expect_presence(JOINED, b.id)

    def test_from_before_a_restart(self):
        w, back, lost = self.client("watcher"), self.client("back"), self.client("lost")
        self.service.kill()
        self.service.start(GraceSec="1500ms")
        w = self.client(resume=w.welcome)
        self.assertEqual(w.watch(back.id)[1], STATE_AWAY)
        self.assertEqual(w.watch(lost.id)[1], STATE_AWAY)
        back = self.client(resume=back.welcome)
        w.expect_presence(BACK, back.id, name="back")
        w.expect_presence(LEFT, lost.id)
        self.assertIn(w.watch(lost.id)[1], (STATE_UNKNOWN, STATE_GONE))
        self.assertEqual(w.watch(back.id)[1], STATE_ALIVE)
        w.expect_nothing()

    def test_watch_late_in_grace(self):
        """Nobody watched when the service started; the end of grace is told to who asks before it."""
        lost = self.client("lost")
        self.service.kill()
        self.service.start(GraceSec="1s")
        w = self.client()
        for _ in range(3):
            self.assertEqual(w.watch(lost.id)[1], STATE_AWAY)
        w.watch(lost.id, on=False)
        self.assertEqual(w.watch(lost.id)[1], STATE_AWAY)
        w.expect_presence(LEFT, lost.id)
        w.expect_nothing()


class BusyIsNotDead(ServiceTest):
    config = {"PingIntervalSec": "300ms", "KernelTimeoutSec": "1"}

    def test_busy_and_alive_again(self):
        """A program that is silent, as one that computes or is stopped: its kernel answers, so it stays."""
        w, one = self.client("watcher"), self.client("one")
        epoch = w.watch(0)[0]
        one.answer_pings = False
        for _ in range(2):
            w.expect_presence(WENT_BUSY, one.id, epoch=epoch, name="one")
            self.assertEqual(w.resolve("one"), (one.id, STATE_BUSY))
            self.assertEqual(w.watch(one.id), (epoch, STATE_BUSY))
            answer = w.alive("one")
            self.assertEqual(answer.state, STATE_BUSY)
            self.assertGreaterEqual(answer.silence_ms, 300)
            w.data(one.id, b"for later")
            with self.assertRaises(TimeoutError):
                w.receive(timeout=2)  # longer than KernelTimeoutSec=: nothing more happens to it
            ping = one.wait_for(lambda f: f.type == PING)
            self.assertEqual(one.pending.popleft().payload if one.pending else one.receive().payload, b"for later")
            one.send(PONG, payload=ping.payload, tag=ping.tag)
            w.expect_presence(CAME_ALIVE, one.id, epoch=epoch)
            self.assertEqual(w.resolve("one"), (one.id, STATE_ALIVE))

    def test_any_frame_is_a_sign_of_life(self):
        w, one = self.client("watcher"), self.client("one")
        one.answer_pings = False
        w.watch(one.id)
        w.expect_presence(WENT_BUSY, one.id)
        one.data(w.id, b"still here")
        frames = [w.receive(), w.receive()]
        self.assertEqual({f.type for f in frames}, {DATA, direct1.PRESENCE})
        presence = next(direct1.Presence.parse(f.payload) for f in frames if f.type == direct1.PRESENCE)
        self.assertEqual((presence.event, presence.id), (CAME_ALIVE, one.id))

    def test_busy_and_then_the_end(self):
        w, one = self.client("watcher"), self.client("one")
        one.answer_pings = False
        w.watch(one.id)
        w.expect_presence(WENT_BUSY, one.id)
        one.expect(PING)  # so that there is nothing unread, which would turn the end into a reset
        one.close()
        w.expect_presence(LEFT, one.id, reason=DIED)

    def test_clients_that_answer_are_never_busy(self):
        w = self.client("watcher")
        w.watch(0)
        others = [self.client() for _ in range(3)]
        for c in others:
            w.expect_presence(JOINED, c.id)

        def silent(client):
            with self.assertRaises(TimeoutError):
                client.receive(timeout=2)  # seven times PingIntervalSec=, and the PINGs are answered meanwhile

        for thread in [Background(silent, c) for c in (w, *others)]:
            thread.join()


if __name__ == "__main__":
    main()
