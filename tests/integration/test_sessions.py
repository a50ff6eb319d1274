# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sections 3 and 5 of the protocol: sessions, which outlive their links and the service; names that change hands."""

import time

import direct1
from direct1 import (BACK, DATA, DIED, JOINED, LEFT, LINK_LOST, PING, PONG, PROTOCOL, REFUSED_NAME_TAKEN, REFUSED_RESUME,
                     REPLACED, STATE_ALIVE, STATE_AWAY, STATE_GONE, STOPPING, WENT_AWAY, Client, hello)
from service import Background, ServiceTest, main


class Takeover(ServiceTest):
    """A program that was restarted gets its name back at once."""

    def test_from_an_away_session(self):
        watcher = self.client("watcher")
        old = self.client("worker")
        watcher.watch(0)
        old.reset()
        away = watcher.expect_presence(WENT_AWAY, old.id)
        new = self.client("worker")
        self.assertNotEqual(new.id, old.id)
        left = watcher.expect_presence(LEFT, old.id, epoch=away.epoch + 1)
        self.assertNotEqual(left.reason, 0)
        watcher.expect_presence(JOINED, new.id, epoch=away.epoch + 2, name="worker")
        self.assertEqual(watcher.resolve("worker"), (new.id, STATE_ALIVE))
        with self.assertRaises(direct1.Refused) as caught:
            self.client(resume=old.welcome)
        self.assertEqual(caught.exception.code, REFUSED_RESUME)

    def test_probe_of_a_link_that_is_up(self):
        """Five holders of a name behave differently when a newcomer asks for it; all at one time."""
        def old_client(name):
            old = self.client(name)
            old.answer_pings = False
            return old

        def newcomer(name):
            link = self.link()
            link.send_bytes(hello(name).pack())
            return link

        old = {name: old_client(name) for name in ("answers", "silent", "resets", "ends", "leaves")}
        begin = time.monotonic()
        new = {name: newcomer(name) for name in old}
        pings = {name: client.expect(PING) for name, client in old.items()}
        for name, ping in pings.items():
            self.assertLessEqual(len(ping.payload), direct1.PING_MAX, name)

        old["answers"].send(PONG, payload=pings["answers"].payload, tag=pings["answers"].tag)
        new["answers"].expect_refused(REFUSED_NAME_TAKEN)
        self.assertLess(time.monotonic() - begin, 0.9, "the answer to the probe has to be enough")

        old["resets"].reset()
        old["ends"].close()
        old["leaves"].goodbye()
        for name in ("resets", "ends", "leaves"):
            w = direct1.Welcome.parse(new[name].expect(direct1.WELCOME).payload)
            self.assertEqual(w.name, name)
            self.assertNotEqual(w.id, old[name].id)

        new["silent"].expect_refused(REFUSED_NAME_TAKEN)
        self.assertTrue(0.7 <= time.monotonic() - begin <= 3, f"refused after {time.monotonic() - begin:.3f} s")
        for name in ("answers", "silent"):
            old[name].expect_nothing()

    def test_many_newcomers(self):
        """All want the name of one that is not heard of any more: one gets it, the others are told that it is taken."""
        old = self.client("worker")
        old.answer_pings = False
        links = [self.link() for _ in range(10)]
        for link in links:
            link.send_bytes(hello("worker").pack())
        old.expect(PING)
        old.reset()
        welcomed = [link for link in links if link.receive().type == direct1.WELCOME]
        self.assertEqual(len(welcomed), 1)

    def test_newcomer_that_does_not_wait(self):
        """The newcomer goes while the probe is out; nobody is harmed, and the next one can ask."""
        old = self.client("worker")
        old.answer_pings = False
        for _ in range(5):
            link = self.link()
            link.send_bytes(hello("worker").pack())
            ping = old.expect(PING)
            link.reset()
            old.send(PONG, payload=ping.payload, tag=ping.tag)
        old.expect_nothing()


class Identity(ServiceTest):
    """Ids, tokens and instances are never seen twice, whatever happens to the service."""

    def test_across_restarts(self):
        ids, tokens, instances = [], [], []

        def collect():
            for _ in range(50):
                c = self.client()
                ids.append(c.id)
                tokens.append(c.welcome.resume_token)
                c.close()
            instances.append(c.welcome.instance)

        collect()
        for crash in (False, True, True, False, True):
            if crash:
                self.service.kill()
            else:
                self.service.stop()
            self.service.start()
            collect()
        self.service.kill()
        self.service.start()
        self.service.stop()  # nobody came: nothing may go back
        self.service.start()
        collect()
        self.assertEqual(len(set(ids)), len(ids))
        self.assertEqual(ids, sorted(ids), "ids grow")
        self.assertEqual(len(set(tokens)), len(tokens))
        self.assertEqual(len(set(instances)), len(instances))

    def test_two_services_with_one_state_directory(self):
        """As while one is replaced by the next: no id is given twice."""
        second = self.start_service(state=self.service.state)
        ids = []
        for _ in range(300):
            for service in (self.service, second):
                with Client(service.unix) as c:
                    ids.append(c.id)
        self.assertEqual(len(set(ids)), len(ids))

    def test_many_in_one_run(self):
        """More than any block of ids that may have been reserved at once."""
        ids = []
        for _ in range(3000):
            with Client(self.service.unix) as c:
                ids.append(c.id)
        self.assertEqual(len(set(ids)), len(ids))
        self.service.kill()
        self.service.start()
        self.assertGreater(self.client().id, max(ids))


class Resume(ServiceTest):
    def lose(self, watcher, client):
        """Resets the link of a client that the watcher watches."""
        client.reset()
        watcher.expect_presence(WENT_AWAY, client.id)

    def test_same_session(self):
        watcher = self.client("watcher")
        c = self.client("worker")
        watcher.watch(0)
        for _ in range(3):
            epoch = self.client_epoch(watcher)
            self.lose(watcher, c)
            self.assertEqual(watcher.resolve("worker"), (c.id, STATE_AWAY))
            r = self.client(resume=c.welcome)
            self.assertEqual((r.id, r.name), (c.id, "worker"))
            self.assertEqual(r.welcome.epoch, epoch)
            watcher.expect_presence(BACK, c.id, epoch=epoch, name="worker")
            self.assertEqual(watcher.resolve("worker"), (c.id, STATE_ALIVE))
            watcher.data(c.id, b"hello again")
            r.expect(DATA, source=watcher.id, payload=b"hello again")
            c = r

    @staticmethod
    def client_epoch(client):
        return client.list_page(direct1.GROUP)[0]

    def test_first_token_stays_good(self):
        """A client that was cut off before it had read a WELCOME has only the token of the one before."""
        watcher = self.client("watcher")
        first = c = self.client("worker")
        watcher.watch(first.id)
        for _ in range(3):
            self.lose(watcher, c)
            c = self.client(resume=first.welcome)
            watcher.expect_presence(BACK, first.id)

    def test_refused(self):
        """What is not exactly this session's id, token and name is refused, and harms neither its owner nor anybody else."""
        other = self.client("other")
        c = self.client("worker")
        w = c.welcome

        def refused(**fields):
            with self.subTest(**fields):
                own = {"name": "worker", "resume_id": c.id, "resume_token": w.resume_token}
                self.assertRefused(REFUSED_RESUME, **(own | fields))

        def all_refused():
            for i in (0, 1, 15, 16, 31):
                wrong = bytearray(w.resume_token)
                wrong[i] ^= 0x80
                refused(resume_token=bytes(wrong))
            refused(resume_token=bytes(32))
            refused(resume_token=b"\xff" * 32)
            refused(resume_token=other.welcome.resume_token)
            refused(resume_id=other.id)
            refused(resume_id=other.id, name="other")
            refused(name="else")
            refused(name="other")
            for resume_id in (c.id + 1000000, 1 << 62, direct1.GROUP - 1, direct1.GROUP, direct1.EVERYONE):
                refused(resume_id=resume_id)

        all_refused()
        c.expect_nothing()
        other.expect_nothing()
        other.watch(c.id)
        self.lose(other, c)
        refused(resume_token=bytes(32))
        refused(resume_id=other.id)
        r = self.client(resume=w)
        self.assertEqual(r.id, c.id)
        other.expect_presence(BACK, c.id)

    def test_after_the_end(self):
        """A session that has ended does not come back, however it ended."""
        watcher = self.client("watcher")
        ended = {name: self.client(name) for name in ("goodbye", "died", "offended", "lost")}
        for c in ended.values():
            watcher.watch(c.id)
        ended["lost"].reset()
        watcher.expect_presence(WENT_AWAY, ended["lost"].id)
        begin = time.monotonic()
        ended["goodbye"].goodbye()
        watcher.expect_presence(LEFT, ended["goodbye"].id)
        ended["died"].close()
        watcher.expect_presence(LEFT, ended["died"].id, reason=DIED)
        ended["offended"].send(0x77)
        watcher.expect_presence(LEFT, ended["offended"].id, reason=PROTOCOL)
        left = watcher.expect_presence(LEFT, ended["lost"].id, reason=LINK_LOST)
        self.assertTrue(0.8 <= time.monotonic() - begin <= 3, "a link that was reset is waited for 0.9 s")
        self.assertEqual(left.name, "lost")
        for name, c in ended.items():
            with self.subTest(name=name):
                self.assertRefused(REFUSED_RESUME, resume=c.welcome)

    def test_newest_link_wins(self):
        """Also when the service has not noticed that the old link is dead: here it is not even dead."""
        watcher = self.client("watcher")
        c = self.client("worker")
        watcher.watch(c.id)
        for _ in range(3):
            r = self.client(resume=c.welcome)
            self.assertEqual(r.id, c.id)
            c.expect_goodbye(REPLACED)
            events = [direct1.Presence.parse(watcher.expect(direct1.PRESENCE).payload)]
            if events[0].event == WENT_AWAY:
                events.append(direct1.Presence.parse(watcher.expect(direct1.PRESENCE).payload))
            self.assertEqual((events[-1].event, events[-1].id), (BACK, c.id))
            watcher.data(c.id, b"to the newest")
            r.expect(DATA, payload=b"to the newest")
            c = r
        watcher.expect_nothing()

    def test_many_links_for_one_session(self):
        """All resume at one time; the session has one link in the end. Every other is told, perhaps in place of its WELCOME."""
        c = self.client("worker")
        links = [self.link() for _ in range(10)]
        for link in links:
            link.send_bytes(hello("worker", resume_id=c.id, resume_token=c.welcome.resume_token).pack())
        c.expect_goodbye(REPLACED)
        other = self.client()
        for link in links:
            frame = link.receive()
            if frame.type == direct1.WELCOME:
                self.assertEqual(direct1.Welcome.parse(frame.payload).id, c.id)
            else:
                self.assertEqual((frame.type, frame.kind), (direct1.GOODBYE, REPLACED))
                link.pending.append(frame)
        other.data(c.id, b"which one?")
        last = []
        for link in links:
            frame = link.receive()
            if frame.type == DATA:
                last.append(link)
            else:
                self.assertEqual((frame.type, frame.kind), (direct1.GOODBYE, REPLACED))
        self.assertEqual(len(last), 1)

    def test_resume_of_a_name_that_is_probed(self):
        """A newcomer asks for the name of a client that just then comes back over a new link: the name stays with it."""
        c = self.client("worker")
        c.answer_pings = False
        newcomer = self.link()
        newcomer.send_bytes(hello("worker").pack())
        c.expect(PING)
        r = self.client(resume=c.welcome)
        self.assertEqual(r.id, c.id)
        reader = Background(newcomer.expect_refused, REFUSED_NAME_TAKEN)
        while reader.is_alive():
            r.ping()
        reader.join()
        self.assertEqual(r.resolve("worker"), (c.id, STATE_ALIVE))

    def test_old_link_that_does_not_read(self):
        """The old link is full and its program stopped: the resume does not wait for it."""
        sender = self.client("sender")
        c = self.client("worker", socket_options={"receive_buffer": 4096})
        n = 1000
        sent = Background(lambda: [sender.data(c.id, bytes(65536), tag=i) for i in range(n)])
        c.expect(DATA, tag=0)  # it flows; now nobody reads any more
        begin = time.monotonic()
        r = self.client(resume=c.welcome)
        self.assertLess(time.monotonic() - begin, 5)
        tags = []
        while tags[-1:] != [n - 1]:
            tags.append(r.expect(DATA, source=sender.id).tag)
        self.assertEqual(tags, list(range(tags[0], n)), "what comes over the new link is whole and in order")
        sent.join()

    def test_across_restarts(self):
        c = self.client("worker")
        other = self.client("other")
        for crash in (True, False):
            if crash:
                self.service.kill()
                c.expect_closed()
            else:
                self.service.stop()
                c.expect_goodbye(STOPPING)
            self.service.start()
            self.assertRefused(REFUSED_RESUME, "worker", resume_id=c.id, resume_token=other.welcome.resume_token)
            self.assertRefused(REFUSED_RESUME, "wrong", resume_id=c.id, resume_token=c.welcome.resume_token)
            r = self.client(resume=c.welcome)
            self.assertEqual((r.id, r.name), (c.id, "worker"))
            self.assertNotEqual(r.welcome.instance, c.welcome.instance)
            o = self.client(resume=other.welcome)
            self.assertEqual((o.id, o.name), (other.id, "other"))
            new = self.client()
            self.assertGreater(new.id, o.id)
            new.data(c.id, b"found")
            r.expect(DATA, source=new.id, payload=b"found")
            c = r

    def test_end_after_a_restart(self):
        """A session that was resumed in this run and then ended is gone, like any other."""
        watcher_old = self.client("watcher")
        c = self.client("worker")
        self.service.kill()
        self.service.start()
        watcher = self.client(resume=watcher_old.welcome)
        r = self.client(resume=c.welcome)
        watcher.watch(c.id)
        r.goodbye()
        watcher.expect_presence(LEFT, c.id)
        self.assertRefused(REFUSED_RESUME, resume=c.welcome)

    def test_name_that_was_given_away_after_a_restart(self):
        """Names are unique: of the new program and the old session, only one can have it."""
        c = self.client("worker")
        self.service.kill()
        self.service.start()
        new = self.client("worker")
        with self.assertRaises(direct1.Refused):
            self.client(resume=c.welcome)
        new.expect_nothing()
        self.assertEqual(new.resolve("worker"), (new.id, STATE_ALIVE))


class Final(ServiceTest):
    """Who was said to be gone does not come back, also after the service was started again."""

    config = {"GraceSec": 2}

    def restart(self, kills):
        if kills:
            self.service.kill()
        else:
            self.service.stop()
        self.service.start()

    def test_ends(self):
        for kills in (True, False):
            watcher = self.client("watcher")
            kept = self.client("kept")
            ended = {name: self.client(name) for name in ("goodbye", "died", "offended", "lost", "replaced")}
            for c in ended.values():
                watcher.watch(c.id)
            ended["replaced"].reset()
            watcher.expect_presence(WENT_AWAY, ended["replaced"].id)
            self.client("replaced").close()
            ended["goodbye"].goodbye()
            ended["died"].close()
            ended["offended"].send(0x77)
            ended["lost"].reset()
            waited_for = {c.id for c in ended.values()}
            while waited_for:
                presence = direct1.Presence.parse(watcher.expect(direct1.PRESENCE).payload)
                if presence.event == LEFT:
                    waited_for.remove(presence.id)
            self.restart(kills)
            watcher = self.client(resume=watcher.welcome)
            for name, c in ended.items():
                with self.subTest(name=name, kills=kills):
                    watcher.watch(c.id)
                    self.assertEqual(watcher.alive(c.id).state, STATE_GONE)
                    self.assertRefused(REFUSED_RESUME, resume=c.welcome)
            kept = self.client(resume=kept.welcome)
            for c in (kept, watcher):
                c.goodbye()

    def test_not_back_in_time(self):
        """It was not seen by the service that came next, whether somebody waited for it or not; the service after
        that one knows."""
        clients = {name: self.client(name) for name in ("watcher", "back", "watched", "unknown")}
        self.restart(True)
        watcher = self.client(resume=clients["watcher"].welcome)
        back = self.client(resume=clients["back"].welcome)
        for c in clients.values():
            watcher.watch(c.id)
        watcher.watch(clients["unknown"].id, False)
        watcher.expect_presence(LEFT, clients["watched"].id, reason=LINK_LOST)
        for kills in (True, False, True):
            self.restart(kills)
            for name in ("watched", "unknown"):
                self.assertRefused(REFUSED_RESUME, resume=clients[name].welcome)
            back = self.client(resume=back.welcome)

    def test_killed_before_the_grace_is_over(self):
        """Nobody was told anything yet."""
        c = self.client("worker")
        for _ in range(5):
            self.restart(True)
        self.assertEqual(self.client(resume=c.welcome).id, c.id)

    def test_a_machine_that_is_started_again(self):
        self.service.stop()
        self.service.environment = {"DIRECTSERVER_BOOT_ID": "aa"}
        self.service.start()
        c = self.client("worker")
        self.service.stop()
        self.service.environment = {"DIRECTSERVER_BOOT_ID": "bb"}
        self.service.start()
        c = self.client(resume=c.welcome)  # the service had ended in order before
        self.service.kill()
        self.service.environment = {"DIRECTSERVER_BOOT_ID": "cc"}
        self.service.start()
        self.service.wait_line("can't resume: this machine was started again")
        self.assertRefused(REFUSED_RESUME, resume=c.welcome)


if __name__ == "__main__":
    main()
