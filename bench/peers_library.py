# SPDX-License-Identifier: LGPL-2.1-or-later
"""The other level: what a message costs the two programs that use a library, one sends and the other receives. The same small
program is there for each library (library-*.c); all run at the same time and are told to send by turns."""

import json
import os
import subprocess

import peers_report
import peers_servers

WARM_UP_MS = 100
STOP_SEC = 10
UNRELIABLE_MAX = 65536  # of direct_send_with(): one frame


class Failed(Exception):
    pass


def path(places, server):
    """The program of a server's library; the other build has its own"""
    if server == "direct":
        return f"{places.build}/bench/library-direct"
    if server == "against":
        return f"{os.path.dirname(os.path.dirname(places.against))}/bench/library-direct"
    return f"{places.peers}/library-{server}"


def version(places, server):
    """The library's; "" where there is none, or where it is that of the server"""
    program = path(places, server)
    if server in peers_report.NOT_PEERS or not os.path.exists(program):
        return ""
    return peers_servers.first_line([program, "--version"], places.environment, r"(.+)")


class Workload:
    """Two results are made of it: libdirectclient as it is by itself, and with unreliable messages, against the same peers.
    "receive" is libdirectclient with direct_receive() in place of a handler."""

    def __init__(self, size, size_name, way="reliable", quick=False, peer=None, slow=1):
        self.size, self.size_name, self.quick, self.slow = size, size_name, quick, slow
        self.name = f"library: {way} {size_name}, sender plus receiver"
        self.goals = {"relay": None, "peer": peer}

    def unreliable(self):
        return Workload(self.size, self.size_name, "unreliable")

    @staticmethod
    def fits(server):
        return server.name in ("direct", "against", "nats", "redis", "mosquitto", "zeromq")

    @staticmethod
    def options():
        return {}

    @staticmethod
    def figure():
        return "cpu"

    @staticmethod
    def parts():
        return ("sender", "receiver")


class Program:
    """A sender and a receiver"""

    def __init__(self, places, server, size, *way):
        command = [path(places, server.name), ":".join(map(str, server.ports)), str(size), *way]
        if not os.path.exists(command[0]):
            raise Failed("its program is not built")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=server.environment(),
                                        text=True)

    def run(self, duration_ms):
        """One round, as a slice of peers_report"""
        try:
            self.process.stdin.write(f"{duration_ms}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has said why
        figures = json.loads(self.process.stdout.readline() or '{"failed": "it died"}')
        if "failed" in figures:
            raise Failed(figures["failed"])
        one = dict.fromkeys(peers_report.SLICE, 0.0)
        one.update({"messages": figures["messages"], "lost": figures["lost"], "elapsed": figures["elapsed_nsec"],
                    "peak": figures["peak_kib"]})
        for kind in ("user", "system"):
            one[kind] = sum(figures[f"{part}_{kind}_usec"] for part in Workload.parts()) * 1000
        one["cpu"] = one["user"] + one["system"]
        for part in Workload.parts():
            one[part] = sum(figures[f"{part}_{kind}_usec"] for kind in ("user", "system")) / max(figures["messages"], 1)
        return one

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SEC)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def run_rounds(programs, result, options, slow):
    """Who fails is left out from then on"""
    running = dict(programs)
    for k in range(-1, options.rounds):
        names = list(running)
        for name in names[k % len(names):] + names[:k % len(names)]:  # each is first by turns
            try:
                one = running[name].run(WARM_UP_MS if k < 0 else options.slice_ms * slow)
                if k >= 0:
                    result.add_slice(name, k, one)
            except Failed as error:
                result.fail(name, str(error))
                del running[name]
        if not running:
            break


def measure(places, servers, workload, result, options):
    """The results: `result`, and one for unreliable messages where there are such"""
    programs = {}
    wanted = [(server.name, server, ()) for server in servers]
    for way in ("receive", "unreliable") if workload.size <= UNRELIABLE_MAX else ("receive",):
        wanted += [(way, server, (way,)) for server in servers if server.name == "direct"]
    try:
        for name, server, way in wanted:
            try:
                programs[name] = Program(places, server, workload.size, *way)
            except Failed as error:
                result.fail(name, str(error))
        run_rounds(programs, result, options, workload.slow)
    finally:
        for program in programs.values():
            program.stop()
    if "unreliable" not in programs:
        return [result]
    unreliable = peers_report.Result(workload.unreliable())
    slices = result.slices.pop("unreliable", {})
    peers = {name: result.slices[name] for name in result.slices if name not in peers_report.NOT_PEERS}
    unreliable.slices = {"direct": slices, **peers}
    if "unreliable" in result.failures:
        unreliable.fail("direct", result.failures.pop("unreliable"))
    return [result, unreliable]
