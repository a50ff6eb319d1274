#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does a message cost at DirectServer, at its peers, and at a bare relay?

All servers run at the same time, each with the same clients, and bench-load gives them messages by turns in rounds of a
fraction of a second. The figure that counts is the server's processor time for a million messages: it holds on a machine
that does other things as well, and ratios are taken within one round. The workloads that begin with "library" are about the
client libraries: there it is the processor time of the two programs that use them. This starts the servers, and makes a
table and files of what was measured."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import peers_library
import peers_report
import peers_servers

SOURCE = os.path.dirname(os.path.abspath(__file__))


class Workload:
    """`relay` and `peer`: the goals, DirectServer's figure over that of the bare relay and of the best peer. `slow`: its rounds
    take so many times as long, because there are few messages in one"""

    def __init__(self, name, *shape, quick=False, relay=None, peer=None, slow=1):
        self.name, self.shape, self.quick, self.slow = name, list(shape), quick, slow
        self.goals = {"relay": relay, "peer": peer}

    def fits(self, server):
        if server.name == "relay":
            return not any(option.startswith(("--all", "--idle")) for option in self.shape)
        if server.name == "splice":
            return self.shape[0].startswith("--pairs")
        return True

    def options(self):
        """{name: number}; True for one without a number"""
        pairs = [option.lstrip("-").partition("=") for option in self.shape]
        return {name: int(value) if value else True for name, _, value in pairs}

    def figure(self):
        """What the goals are about"""
        return "idle" if "idle" in self.options() else "p50" if self.name.startswith("round trip") else "cpu"

    @staticmethod
    def parts():
        """What it is the sum of"""
        return ()


def size_name(size):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def pairs_name(pairs):
    return f"{pairs} pairs" if pairs > 1 else "1 pair"


def deep(size, pairs, **options):
    return Workload(f"{size_name(size)}, {pairs_name(pairs)}, deep", f"--pairs={pairs}", f"--size={size}", **options)


def window(messages, pairs, **options):
    shape = (f"--pairs={pairs}", "--size=128", f"--window={messages}")
    return Workload(f"128 B, {pairs_name(pairs)}, window {messages}", *shape, **options)


def broadcast(size, receivers, **options):
    return Workload(f"{size_name(size)}, broadcast to {receivers}", f"--broadcast={receivers}", f"--size={size}", **options)


def library(size, **options):
    return peers_library.Workload(size, size_name(size), **options)


EIGHTH = 1 / 8

WORKLOADS = [
    deep(16, 1),
    deep(16, 8, quick=True, relay=1.6, peer=EIGHTH),
    deep(16, 64, quick=True, relay=1.6, peer=EIGHTH),
    deep(16, 500),
    deep(128, 1),
    deep(128, 8, quick=True, relay=1.6, peer=EIGHTH),
    deep(128, 64, quick=True, relay=1.6, peer=EIGHTH),
    deep(128, 500),
    deep(1024, 1),
    deep(1024, 8, quick=True, relay=1.2, peer=1 / 4),
    deep(1024, 64),
    deep(1024, 500),
    deep(16384, 1),
    deep(16384, 8, quick=True, relay=1.15, peer=1 / 2),
    deep(16384, 64),
    deep(16384, 500),
    deep(1 << 20, 1, quick=True, relay=0.9, peer=0.9, slow=4),
    deep(256 << 20, 1, slow=4),
    window(1, 1),
    window(1, 8),
    window(1, 64, quick=True, relay=1.1, peer=0.75),
    window(1, 500),
    window(8, 1),
    window(8, 8),
    window(8, 64),
    window(8, 500),
    Workload("128 B, 64 senders to each of 64", "--all=64", "--size=128", quick=True, peer=1 / 5),
    broadcast(128, 10),
    broadcast(128, 100),
    broadcast(128, 1000, quick=True, peer=1 / 6),
    broadcast(1024, 10),
    broadcast(1024, 100),
    broadcast(1024, 1000, quick=True, peer=1 / 3),
    Workload("round trip, 128 B, one processor", "--pairs=1", "--size=128", "--window=1", "--one-processor", quick=True,
             relay=1.1, peer=0.9),
    Workload("round trip, 128 B, own CPUs", "--pairs=1", "--size=128", "--window=1", "--own-processors"),
    Workload("round trip, SpinUSec=50 at both ends, own CPUs", "--pairs=1", "--size=128", "--window=1", "--own-processors",
             "--spin-usec=50", quick=True, peer=1 / 3),
    Workload("round trip, 128 B, beside 8 deep", "--busy=8", "--size=128"),
    Workload("a receiver stops for 1 s", "--stop-ms=1000", "--size=4096"),
    Workload("a receiver stops for 5 s", "--stop-ms=5000", "--size=4096"),
    Workload("10,000 idle clients", "--idle=10000", quick=True, peer=1),
    library(128, quick=True, peer=1 / 2),
    library(16384),
    library(1 << 20, quick=True, peer=0.8, slow=4),
]


class Bench:
    def __init__(self, options, places, kinds):
        self.options, self.places, self.kinds = options, places, kinds
        self.directory = tempfile.mkdtemp(prefix="directserver-peers-")
        self.running = {}

    def close(self):
        self.stop(list(self.running))
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, workload, result):
        for kind in self.kinds:
            if workload.fits(kind) and kind.name not in self.running:
                self.running[kind.name] = server = kind(self.places, os.path.join(self.directory, kind.name))
                server.start(workload)
        servers = []
        for kind in self.kinds:
            if not workload.fits(kind):
                continue
            try:
                self.running[kind.name].wait_ready()
                servers.append(self.running[kind.name])
            except peers_servers.CannotStart as error:
                print(error, file=sys.stderr)
                result.fail(kind.name, "did not start")
        return servers

    def stop(self, names):
        for name in names:
            self.running.pop(name).stop()

    def load(self, workload, servers, result):
        command = [f"{self.places.build}/bench/bench-load", *workload.shape, f"--rounds={self.options.rounds}",
                   f"--slice-ms={self.options.slice_ms * workload.slow}"]
        with subprocess.Popen(command + [server.target() for server in servers], stdout=subprocess.PIPE, text=True) as load:
            for line in load.stdout:
                result.add(line.rstrip("\n").split(","))
        if load.returncode != 0:
            raise subprocess.CalledProcessError(load.returncode, command)
        return [result]

    def run(self, workload):
        """The results: one, or more where a workload shows more"""
        result = peers_report.Result(workload)
        servers = self.start(workload, result)
        try:
            if isinstance(workload, peers_library.Workload):
                return peers_library.measure(self.places, servers, workload, result, self.options)
            return self.load(workload, servers, result)
        finally:
            self.stop([name for name, server in self.running.items() if not server.keep or server.name in result.failures])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some of the workloads, briefly")
    parser.add_argument("--filter", default="", metavar="TEXT", help="only workloads whose name contains TEXT")
    parser.add_argument("--servers", metavar="NAME,…", default=",".join(kind.name for kind in peers_servers.ALL),
                        help="default: %(default)s")
    parser.add_argument("--against", metavar="PATH", help="another build of directserver, to see what a change gives")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured (default: 7, --quick 5)")
    parser.add_argument("--slice-ms", type=int, metavar="N", help="for how long each time (default: 250, --quick 120)")
    parser.add_argument("--build", default=os.path.join(SOURCE, "../build"), metavar="DIRECTORY")
    parser.add_argument("--peers", metavar="DIRECTORY", help="what unpack-peers has unpacked (default: peers in the build)")
    parser.add_argument("--output", metavar="DIRECTORY",
                        help="where tables, values and plots go (default: bench-results in the build)")
    parser.add_argument("--check", action="store_true",
                        help="fail if a server that drops nothing loses a message, or can't be measured")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 7)
    options.slice_ms = options.slice_ms or (120 if options.quick else 250)
    options.build = os.path.realpath(options.build)
    options.peers = os.path.realpath(options.peers or os.path.join(options.build, "peers"))
    options.against = options.against and os.path.realpath(options.against)
    options.output = options.output or os.path.join(options.build, "bench-results")
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then as well
    places = peers_servers.Places(options.build, options.peers, options.against)
    peers_servers.raise_descriptor_limit()
    wanted = options.servers.split(",")
    if options.against:
        peers_servers.ALL.insert(1, peers_servers.Against)
        wanted.append("against")
    versions = {kind.name: kind.version(places) for kind in peers_servers.ALL if kind.name in wanted}
    kinds = [kind for kind in peers_servers.ALL if versions.get(kind.name) is not None]
    libraries = {name: peers_library.version(places, name) for name in versions}
    report = peers_report.Report(options, versions, libraries, sys.argv[1:])
    report.head()
    bench = Bench(options, places, kinds)
    results = []
    try:
        for workload in WORKLOADS:
            if options.filter in workload.name and (workload.quick or not options.quick):
                for result in bench.run(workload):
                    results.append(result)
                    report.print_result(result)
    except KeyboardInterrupt:
        print("Interrupted: what follows is not all.", file=sys.stderr)
    finally:
        bench.close()
    if not results:
        sys.exit(f"No workload's name contains {options.filter!r}.")
    report.finish(results)
    return options.check and any(result.is_wrong() for result in results)


if __name__ == "__main__":
    sys.exit(main())
