#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service and its clients as real processes, and a nemesis that kills, stops and cuts them off while they work. What the
clients have noted is then checked. DIRECTSERVER_EXECUTABLE and NEMESIS_CLIENT_EXECUTABLE name the programs.

The seed decides what is done at which point of the work, so that a run with the same seed is alike, though never the same."""

import argparse
import bisect
import collections
import hashlib
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import check
import records
import world
from world import Failure, Impossible

SKIP_STATUS = 77
PREFIX = "peer-"
PROGRESS_SECONDS = 60  # that each outcome may take when all is healed
POLL_SECONDS = 0.002
STANDSTILL_SECONDS = 0.2
PIECES_AHEAD = 3  # of the work, by what is allowed: it must not be over before all that is planned is done

# What is done beside kills of the service
LOCAL = ("kill client", "stop service", "stop client", "reset link")
NETWORK = ("partition", "loss")
ENDING = ("kill client", "partition", "partition", "partition")
STALLING = {"stop service", "stop client", "partition", "loss"}
LOSS_PERCENT = 10
NO_LIMIT = 1 << 62  # bytes


def say(text):
    print(text, flush=True)


class Trial:
    """One service, its clients, and what happens to them. `progress` returns how far the work is, `total` how far it goes."""

    def __init__(self, what, arguments, network, seed):
        self.what, self.arguments, self.network = what, arguments, network
        self.rng = random.Random(seed)
        self.directory = tempfile.mkdtemp(prefix=f"nemesis-{what}-", dir=arguments.directory)
        self.service = world.Service(os.environ["DIRECTSERVER_EXECUTABLE"], self.directory,
                                     world.NEAR if network else "127.0.0.1",
                                     world.SHORT_GRACE if arguments.sessions_end else world.GRACE)
        self.clients = []
        self.undo = []  # (when, function)
        self.restarts = []  # (killed, accepts connections), nanoseconds
        self.resets = []  # (nanoseconds, client)
        self.disturbed = []  # (from, to) when something was stopped or cut off
        self.settled = []  # seconds from there until all clients were connected, where that was waited for
        self.longest_rest = 0
        self.done = collections.Counter()
        self.n_late = 0  # of those, when the work was over
        self.impossible = set()
        self.problems = []

    def add_client(self, name, mode):
        """Some on the local socket, some over TCP, and every second one of those on the other host, if there is one."""
        i = len(self.clients)
        client = world.Client(os.environ["NEMESIS_CLIENT_EXECUTABLE"], self.directory, name,
                              self.service.unix if i % 4 == 3 else self.service.tcp, mode, self.network if i % 2 == 0 else None)
        self.clients.append(client)
        return client

    # The actions

    def kill_service(self):
        killed = time.monotonic_ns()
        before = [(client, client.n_connections) for client in self.clients if client.connected]
        disturbed = bool(self.undo)
        self.service.kill()
        self.service.start()
        self.restarts.append((killed, time.monotonic_ns()))
        # Links come back at different times, and most kills hit only the first of them; some shall hit all
        if self.rng.random() * 100 < self.arguments.settle:
            self.wait(lambda: self.all_connected() and all(client.n_connections > n for client, n in before))
            if not disturbed:
                self.settled.append((time.monotonic_ns() - self.restarts[-1][1]) / 1e9)

    def kill_client(self):
        client = self.rng.choice(self.clients)
        client.kill()
        self.restart(client)

    def for_a_while(self, seconds, undo):
        self.undo.append((time.monotonic() + seconds, undo))
        self.disturbed.append((time.monotonic_ns(), time.monotonic_ns() + int(seconds * 1e9)))

    def stop(self, program):
        if not program.stopped:
            process = program.process
            program.stop()
            self.for_a_while(self.rng.uniform(0.1, 1.2), lambda: program.process is process and program.proceed())

    def stop_service(self):
        self.stop(self.service)

    def stop_client(self):
        self.stop(self.rng.choice(self.clients))

    def reset_link(self):
        """Who is not back 0.9 s after a reset has lost its session, and rightly so. So nobody is stopped or cut off meanwhile.
        And who is not accepted waits longer each time before it tries again: only reset_link_twice() takes a link from one that
        is not back."""
        self.wait(lambda: not self.undo)
        victim = self.rng.choice(self.over_tcp())
        self.wait(victim.is_back)
        self.take_link(victim)
        return victim

    def reset_link_twice(self):
        """The next link as soon as there is one. In half of the cases the service is stopped until then, and can't have accepted
        the client over it; in the others it has, mostly, and what was not acknowledged is being sent again."""
        is_stopped = self.rng.random() < 0.5
        if is_stopped:
            self.wait(self.all_back)
        victim = self.reset_link()
        if not is_stopped:
            self.take_link(victim)
            return
        begin = time.monotonic_ns()
        self.service.stop()
        try:
            self.take_link(victim)
        finally:
            self.service.proceed()
        self.disturbed.append((begin, self.resets[-1][0]))

    def take_link(self, victim):
        at_service = self.rng.random() < 0.5

        def is_done():
            link, now = victim.link(), time.monotonic_ns()
            if not link or link == victim.taken or not victim.take_link(link, at_service):
                return False
            self.resets.append((now, victim))
            return True

        self.wait(is_done)

    def over_tcp(self):
        return [client for client in self.clients if client.port]

    def partition(self):
        self.network.heal()
        self.network.cut()
        self.for_a_while(self.rng.uniform(*((2.0, 5.0) if self.arguments.sessions_end else (1.0, 3.0))), self.network.heal)

    def loss(self):
        self.network.heal()
        self.network.lose(LOSS_PERCENT)
        self.for_a_while(self.rng.uniform(1.0, 3.0), self.network.heal)

    def act(self, action):
        if action in self.impossible:
            return
        if action in STALLING:
            self.wait(self.all_back)
        self.n_late += self.all_finished()
        with open(os.path.join(self.directory, "actions"), "a", encoding="ascii") as f:
            f.write(f"{time.monotonic_ns()} {action}\n")  # the clock of the logs
        try:
            getattr(self, action.replace(" ", "_"))()
            self.done[action] += 1
        except Impossible as e:
            self.impossible.add(action)
            say(f"SKIP: {action}: {e}")

    def plan(self):
        """[(point of the work, from 0 to 1, action)], by the seed: one in each of as many pieces of equal size as there are."""
        others = ENDING if self.arguments.sessions_end else LOCAL + (NETWORK if self.network else ())
        n_twice = self.arguments.links // 4
        actions = ["kill service"] * self.arguments.kills + [others[i % len(others)] for i in range(self.arguments.others)]
        actions += ["reset link twice"] * n_twice + ["reset link"] * (self.arguments.links - 2 * n_twice)
        self.rng.shuffle(actions)
        return [((i + self.rng.random()) / (len(actions) + 1), action) for i, action in enumerate(actions)]

    # The run

    def look(self):
        """What is due is undone, and nobody has ended by itself."""
        now = time.monotonic()
        for entry in [entry for entry in self.undo if entry[0] <= now]:
            self.undo.remove(entry)
            entry[1]()
        for client in self.clients:
            client.listen()
            if not client.lives:
                raise Failure(f"{client.name} exited with {client.process.returncode}:\n{client.errors()}")
        if not self.service.lives:
            raise Failure(f"the service exited with {self.service.process.returncode}:\n{self.service.tail()}")

    def wait(self, condition):
        moved, seen = time.monotonic(), None
        while not condition():
            self.look()
            progress = sum(client.log_size() for client in self.clients)
            if progress != seen or self.undo:
                moved, seen = time.monotonic(), progress
            elif time.monotonic() - moved > PROGRESS_SECONDS:
                waiting = [client.name for client in self.clients if not client.finished]
                raise Failure(f"nothing has moved for {PROGRESS_SECONDS} s; not finished: {' '.join(waiting)}")
            self.rest()

    def rest(self):
        """Where this program stands still, for want of a processor, all others may. That says nothing of the library."""
        begin = time.monotonic_ns()
        time.sleep(POLL_SECONDS)
        end = time.monotonic_ns()
        self.longest_rest = max(self.longest_rest, (end - begin) / 1e9)
        if end - begin > STANDSTILL_SECONDS * 1e9:
            self.disturbed.append((begin, end))

    def all_connected(self):
        return all(client.is_back() for client in self.clients)

    def all_back(self):
        """Those whose links were taken away."""
        return all(client.is_back() for client in self.clients if client.taken)

    def all_finished(self):
        return all(client.finished for client in self.clients)

    def run(self):
        begin = time.monotonic()
        try:
            self.service.start()
            self.begin()
            plan = self.plan()
            for i, (point, action) in enumerate(plan):
                self.allow((i + PIECES_AHEAD) / (len(plan) + 1))
                self.wait(lambda: self.progress() >= point * self.total or self.all_finished())
                self.act(action)
            self.allow(1)
            self.wait(lambda: not self.undo and self.all_connected() and self.all_finished())
            self.end_clients()
            self.service.end()
        except Failure as e:
            self.problems.append(str(e))
        finally:
            self.end_all()
        self.seconds = time.monotonic() - begin
        self.judge()

    def end_clients(self):
        for client in self.clients:
            client.let_end()
        for client in self.clients:
            status = client.end()
            if status or client.errors():
                self.problems.append(f"{client.name} exited with {status}: {client.errors()}")

    def end_all(self):
        if self.network:
            self.network.heal()
        for program in (*self.clients, self.service):
            if program.lives:
                program.kill()

    # What has come of it

    def logs(self):
        return [log for client in self.clients for log in client.logs if os.path.exists(log)]

    def judge(self):
        self.checker = check.check(self.logs(), self.arguments.sessions_end)
        self.problems += [f"the service: {line}" for line in self.service.reports()]
        say(f"-- {self.what}: {self.seconds:.1f} s, " + ", ".join(f"{n} x {action}" for action, n in sorted(self.done.items())))
        self.checker.report()
        if self.n_late:
            say(f"{self.n_late} of these when all was sent and received")
        self.report_gaps()
        self.judge_again()
        self.report()
        say(f"memory at its highest: service {self.service.peak >> 20} MiB, "
            f"clients at most {max(client.peak for client in self.clients) >> 20} MiB")
        if self.longest_rest > STANDSTILL_SECONDS:
            say(f"this machine stood still: {self.longest_rest:.3f} s, for a rest of {POLL_SECONDS} s")
        for problem in self.problems:
            say(f"PROBLEM: {problem}")

    def report_gaps(self):
        """From the moment at which the service accepts connections again to the next that anyone receives. Where something else
        is stopped or cut off at that time, it says nothing of the restart."""
        received = sorted(record[4] for log in self.logs() for record in records.read(log)
                          if not isinstance(record, int) and record[0] in (records.RECEIPT, records.PART))
        gaps, i = [], 0
        for n, (killed, ready) in enumerate(self.restarts):
            while i < len(received) and received[i] < ready:
                i += 1
            if i == len(received):
                break
            again = n + 1 < len(self.restarts) and self.restarts[n + 1][0] < received[i]
            if not again and not any(begin < received[i] and killed < end for begin, end in self.disturbed):
                gaps.append((received[i] - ready) / 1e9)
        self.report_seconds("after a restart, all clients were connected", self.settled, 0)
        self.report_seconds("after a restart, traffic", gaps, self.arguments.gap)
        self.report_seconds("after a reset, traffic to that client", self.reset_gaps(), self.arguments.gap)

    def report_seconds(self, what, seconds, allowed):
        if not seconds:
            return
        seconds.sort()
        say(f"{what}: median {seconds[len(seconds) // 2]:.3f} s, longest {seconds[-1]:.3f} s, of {len(seconds)}")
        if 0 < allowed < seconds[-1]:
            self.problems.append(f"{what}: not for {seconds[-1]:.3f} s, {allowed} s are allowed")

    def reset_gaps(self):
        """From the moment at which a link is taken away to the next that its client receives over another. Where something else
        has come between, it says nothing of the reset."""
        gaps, n_early = [], 0
        for client in self.clients:
            resets = [time for time, victim in self.resets if victim is client] + [math.inf]
            connected, received = self.times(client, records.CONNECTED), self.times(client, records.RECEIPT, records.PART)
            for n, reset in enumerate(resets[:-1]):
                back = after(connected, reset)
                n_early += n > 0 and after(connected, resets[n - 1]) > reset
                seen = after(received, back)
                others = self.restarts + self.disturbed
                if seen < resets[n + 1] and not any(begin < seen and reset < end for begin, end in others):
                    gaps.append((seen - reset) / 1e9)
        if self.resets:
            say(f"links taken away: {len(self.resets)}, {n_early} of them before the client was accepted over it")
        return gaps

    @staticmethod
    def times(client, *types):
        return [record[4] for log in client.logs if os.path.exists(log) for record in records.read(log)
                if not isinstance(record, int) and record[0] in types]

    def judge_again(self):
        """A flow is sent again no more often than something was done that its frames may be lost by: the service killed, or a
        link of one of the two taken away. All else may have more than one such effect."""
        if not set(self.done) <= {"kill service", "reset link", "reset link twice"}:
            return
        of_log = {os.path.basename(log): client for client in self.clients for log in client.logs}
        owner = {client_id: of_log[process.name] for client_id, process in self.checker.process_of.items()}
        kills = [killed for killed, _ in self.restarts]
        for (source, target, stream), turns in self.checker.again.items():
            ends = (owner.get(source), owner.get(target))
            causes = sorted(kills + [time for time, client in self.resets if client in ends])
            for n, (over, _) in enumerate(turns):
                if bisect.bisect(causes, over) <= n:
                    self.problems.append(f"{source} -> {target}, stream {stream}: sent again {n + 1} times, for {n} reasons")
                    break

    @property
    def is_good(self):
        return not self.problems and not self.checker.violations and self.checker.counts["delivered"] > 0


class Exchange(Trial):
    """Everyone to everyone."""

    def begin(self):
        n, arguments = self.arguments.clients, self.arguments
        self.total = arguments.messages * 3 * records.LAYOUT.size
        self.share = 0  # of the messages that may be sent by now
        for i in range(n):
            self.add_client(f"{PREFIX}{i}", "exchange")
        for i, client in enumerate(self.clients):
            client.n_messages, client.n_sent = arguments.messages // n + (i < arguments.messages % n), 0
            self.start(client)

    def n_allowed(self, client):
        """That its present process may send: what those before it have sent is gone."""
        return max(0, int(self.share * client.n_messages) - client.n_sent)

    def start(self, client):
        client.start(f"--prefix={PREFIX}", f"--clients={len(self.clients)}", f"--seed={self.rng.randrange(1 << 32)}",
                     n_messages=self.n_allowed(client))

    def restart(self, client):
        if os.path.exists(client.logs[-1]):
            client.n_sent += sum(record[0] == records.SEND for record in records.read(client.logs[-1])
                                 if not isinstance(record, int))
        self.start(client)

    def allow(self, share):
        self.share = min(share, 1)
        for client in self.clients:
            client.allow(self.n_allowed(client))

    def progress(self):
        return sum(client.log_size() for client in self.clients)

    def report(self):
        say(f"{self.checker.counts['delivered'] / self.seconds:.0f} messages/s delivered")


class File(Trial):
    """One large file from one client to another."""

    def begin(self):
        self.total = self.arguments.size_file
        room = shutil.disk_usage(self.directory).free
        if room < 2 * self.total + (1 << 30):
            raise Failure(f"{room >> 20} MiB are free in {self.directory}, twice {self.total >> 20} MiB and 1 GiB are needed")
        self.source = os.path.join(self.directory, "file")
        self.make_source()
        self.share = 0  # of all that may be received by now
        self.sender, self.receiver = self.add_client("sender", "file-send"), self.add_client("receiver", "file-receive")
        for client in self.clients:
            self.restart(client)

    def make_source(self):
        """Holes, and between them noise that is nowhere the same."""
        chunk = 1 << 20
        with open(self.source, "wb") as f:
            for offset in range(0, self.total, 2 * chunk):
                f.seek(offset)
                f.write(self.rng.randbytes(min(chunk, self.total - offset)))
            f.truncate(self.total)

    def restart(self, client):
        if client is self.sender:
            client.start("--target=receiver", f"--file={self.source}")
        else:
            client.start(f"--file={self.directory}/received.{len(client.logs)}", n_messages=self.n_allowed(len(client.logs)))

    def n_allowed(self, n_before):
        """Bytes that the receiver may take that so many were before: what those have got is gone, but was a part of the work."""
        if self.share >= 1:
            return NO_LIMIT
        gone = sum(os.stat(path).st_size for path in self.received() if int(path.rsplit(".", 2)[1]) < n_before)
        return max(0, int(self.share * self.total) - gone)

    def allow(self, share):
        self.share = share
        self.receiver.allow(self.n_allowed(len(self.receiver.logs) - 1))

    def over_tcp(self):
        return [self.receiver] if self.arguments.links else super().over_tcp()

    def received(self):
        return [os.path.join(self.directory, name) for name in os.listdir(self.directory) if name.startswith("received.")]

    def progress(self):
        return sum(os.stat(path).st_size for path in self.received())

    def report(self):
        wanted = digest(self.source)
        whole = [path for path in self.received() if os.stat(path).st_size == self.total and digest(path) == wanted]
        if not whole:
            self.problems.append("nothing that was received is the file that was sent")
        say(f"{self.total / self.seconds / 1e6:.0f} MB/s, {len(whole)} whole, SHA-256 {wanted[:16]}...")
        ended = [record for record in records.read(self.sender.logs[-1])
                 if not isinstance(record, int) and record[0] == records.ENDED]
        if ended and len(self.sender.logs) == 1:
            more, n = ended[0][7] - self.total, len(self.restarts) + len(self.resets)
            say(f"beside the payload {more} bytes were sent ({100 * more / self.total:.2f} %): headers, and what was sent again"
                + (f", {more / n / 1024:.0f} KiB for each kill and reset" if n else ""))


def after(times, time):
    """The next of them, which are sorted; math.inf: none."""
    i = bisect.bisect(times, time)
    return times[i] if i < len(times) else math.inf


def digest(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as f:
        while data := f.read(1 << 20):
            sha256.update(data)
    return sha256.hexdigest()


TRIALS = {"exchange": Exchange, "file": File}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=(*TRIALS, "all"), default="all")
    parser.add_argument("--kills", type=int, default=10, help="of the service (%(default)s)")
    parser.add_argument("--settle", type=int, default=30, metavar="PERCENT",
                        help="of the kills after which all clients connect before anything else is done (%(default)s)")
    parser.add_argument("--links", type=int, default=0,
                        help="that are taken away by ss -K: of the file's receiver, or of any client of the exchange "
                             "(%(default)s)")
    parser.add_argument("--others", type=int, default=12, help="other actions, of all kinds in turn (%(default)s)")
    parser.add_argument("--clients", type=int, default=6, help="of the exchange (%(default)s)")
    parser.add_argument("--messages", type=int, default=30000, help="of the exchange, all together (%(default)s)")
    parser.add_argument("--size-file", type=int, default=256 << 20, metavar="BYTES", help="%(default)s")
    parser.add_argument("--seed", type=int, default=None, help="(random)")
    parser.add_argument("--gap", type=float, default=0, metavar="SECONDS", help="without traffic after a restart are a failure")
    parser.add_argument("--directory", help="to work below (that for temporary files)")
    parser.add_argument("--sessions-end", action="store_true",
                        help="partitions outlast the time that sessions are kept; else none does")
    parser.add_argument("--keep", action="store_true", help="the directory, also when all is well")
    parser.add_argument("--no-network", action="store_true", help="no partitions and no loss")
    return parser.parse_args()


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nobody is left behind, stopped ones neither
    for variable in ("DIRECTSERVER_EXECUTABLE", "NEMESIS_CLIENT_EXECUTABLE"):
        if not os.access(os.environ.get(variable, ""), os.X_OK):
            say(f"SKIP: {variable} does not name the program")
            return SKIP_STATUS
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    say(f"seed {seed}")

    missing = "--no-network" if arguments.no_network else world.Network.missing()
    if missing:
        say(f"SKIP: partition, loss: {missing}")
    if missing and arguments.sessions_end:
        return SKIP_STATUS
    network = None if missing else world.Network()
    good = True
    try:
        for what in TRIALS if arguments.what == "all" else (arguments.what,):
            trial = TRIALS[what](what, arguments, network, f"{seed} {what}")
            trial.run()
            good &= trial.is_good
            if not trial.is_good:
                say(f"FAILED: {what} with --seed={seed}; what there is to see is in {trial.directory}")
            elif not arguments.keep:
                shutil.rmtree(trial.directory)
    finally:
        if network:
            network.end()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
