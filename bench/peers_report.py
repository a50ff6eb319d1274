# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is made of the lines that bench-load writes: medians, ratios within rounds, tables, and files of comma-separated
values."""

import csv
import os
import platform
import time

import peers_plots

SLICE = ("messages", "lost", "elapsed", "cpu", "user", "system", "p50", "p90", "p99", "p999", "resident", "peak")
PARTS = ("sender", "receiver")  # s/million, at the library level
NOT_PEERS = ("direct", "against", "receive", "relay", "splice")
SUMMARY_HEAD = ["", "splice", "relay", "direct", "best peer", "worst peer", "/ relay", "goal", "/ best peer", "goal"]
DROPPING = ("mosquitto", "zeromq")  # known to, when a receiver is slow


def quartiles(values):
    """(low, median, high): all three have been measured"""
    values = sorted(values)
    last = len(values) - 1
    return values[last // 4], values[last // 2], values[last - last // 4]


class Result:
    """Of one workload"""

    def __init__(self, workload):
        self.workload = workload
        self.slices = {}   # server: {round: {figure: value}}
        self.single = {}   # server: what was measured once
        self.failures = {}  # server: why

    def fail(self, server, why):
        self.failures[server] = why

    def add(self, fields):
        kind, server = fields[:2]
        if kind == "failed":
            self.fail(server, ",".join(fields[2:]))
        elif kind == "slice":
            self.add_slice(server, int(fields[2]), dict(zip(SLICE, map(float, fields[3:]))))
        elif kind == "idle":
            n, before, after = map(float, fields[2:])
            self.single[server] = {"idle": (after - before) / n}
        elif kind == "stopped":
            names = ("due", "sent", "arrived", "receiver_closed", "sender_closed", "others", "grown", "held_back")
            self.single[server] = dict(zip(names, map(float, fields[2:])))

    def add_slice(self, server, k, one):
        if one["messages"] > 0:
            one["cpu_each"] = one["cpu"] / 1000 / one["messages"]  # us each is seconds for a million
            one["rate"] = one["messages"] * 1e9 / one["elapsed"]
            self.slices.setdefault(server, {})[k] = one

    def servers(self):
        return [name for name in self.slices if self.slices[name]]

    def spread(self, server, figure):
        return quartiles([one[figure] for one in self.slices[server].values()])

    def median(self, server, figure):
        return self.spread(server, figure)[1]

    def total(self, server, figure):
        return sum(one[figure] for one in self.slices[server].values())

    def value(self, server):
        """The figure that the goals are about; None if there is none"""
        figure = self.workload.figure()
        if figure == "idle":
            return self.single.get(server, {}).get("idle")
        if not self.slices.get(server):
            return None
        return self.median(server, {"cpu": "cpu_each", "p50": "p50"}[figure])

    def best_peer(self):
        values = {name: self.value(name) for name in (*self.slices, *self.single) if name not in NOT_PEERS}
        values = {name: value for name, value in values.items() if value is not None}
        return min(values, key=values.get) if values else None

    def worst_peer(self):
        values = {name: self.value(name) for name in (*self.slices, *self.single) if name not in NOT_PEERS}
        values = {name: value for name, value in values.items() if value is not None}
        return max(values, key=values.get) if values else None

    def ratio(self, server):
        """DirectServer's over that server's: (low, median, high) of the rounds that both have"""
        if server is None or self.value("direct") is None or self.value(server) is None:
            return None
        if self.workload.figure() == "idle":
            return (self.value("direct") / self.value(server),) * 3
        figure = {"cpu": "cpu_each", "p50": "p50"}[self.workload.figure()]
        ours, theirs = self.slices["direct"], self.slices[server]
        ratios = [ours[k][figure] / theirs[k][figure] for k in ours if k in theirs and theirs[k][figure] > 0]
        return quartiles(ratios) if ratios else None

    def is_wrong(self):
        lost = [name for name in self.servers() if self.total(name, "lost") > 0 and name not in DROPPING]
        return bool(lost or self.failures or not (self.slices or self.single))


def congestion_control():
    """Counts on the loopback, too: some pace what is sent"""
    try:
        with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "?"


def machine():
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as file:
        mib = int(file.readline().split()[1]) // 1024
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    kernel = f"{platform.system()} {platform.release()} {platform.machine()} ({congestion_control()})"
    return f"{kernel}, {os.cpu_count()} x {model}, {mib} MiB, load {load}"


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def with_goal(ratio, goal):
    if ratio is None:
        return "-"
    text = f"{ratio[1]:.2f} [{ratio[0]:.2f} .. {ratio[2]:.2f}]"
    return text + (f" (goal {goal:.2f}{'' if ratio[1] <= goal else ', missed'})" if goal else "")


def describe_stopped(one):
    """Who pays when a receiver stops"""
    what = []
    if one["receiver_closed"]:
        what.append("disconnects the receiver")
    if one["sender_closed"]:
        what.append("disconnects the sender")
    lost = one["sent"] - one["arrived"]
    if lost > 0:
        what.append(f"loses {lost / one['sent']:.0%} of what was sent to it")
    if one["held_back"] > one["due"] / 100:
        what.append(f"holds the sender back ({one['held_back'] / one['due']:.0%} at the end of the stop)")
    what.append(f"grows by {one['grown'] / 1024:.1f} MiB")
    what.append(f"others get {min(one['others'], 1):.0%} meanwhile")
    return ", ".join(what)


class Report:
    def __init__(self, options, versions, libraries, arguments):
        self.options, self.versions, self.libraries, self.arguments = options, versions, libraries, arguments
        self.begin = f"{time.strftime('%Y-%m-%d %H:%M %Z')}; {machine()}"

    def head_lines(self):
        here = ", ".join(" ".join(filter(None, (name, version, self.libraries[name] and f"({self.libraries[name]})")))
                         for name, version in self.versions.items() if version is not None)
        lines = [self.begin, f"{here}; {self.options.rounds} rounds of {self.options.slice_ms} ms"]
        missing = [name for name, version in self.versions.items() if version is None]
        if missing:
            lines.append("Not here, and so not compared: " + ", ".join(missing))
        return lines

    def head(self):
        print("\n".join(self.head_lines()))
        print("s/million: processor seconds of the server for a million messages, user and system, all threads;\n"
              "median [quartiles]. At the library level, those of sender and receiver. "
              "Ratios: DirectServer over that\nserver, within a round.\n")

    def print_result(self, result):
        print(result.workload.name)
        figure = result.workload.figure()
        trips = any(result.median(name, "p50") > 0 for name in result.servers())
        parts = result.workload.parts()
        if result.servers():
            print(f"  {'':10} {'s/million':>9} {'':19} {'user':>5} {'messages/s':>11} {'lost':>7} {'MiB':>6}" +
                  "".join(f" {part:>9}" for part in parts) +
                  (f" {'p50 us':>8} {'p99':>8} {'p99.9':>8}" if trips else "") +
                  f" {'ratio' if figure == 'cpu' else 'of p50':>7}")
        for name in result.servers():
            self.print_slices(result, name, trips)
        for name, one in result.single.items():
            self.print_single(result, name, one)
        for name, why in result.failures.items():
            print(f"  {name:10} {why}")
        self.print_ratios(result)
        print(flush=True)

    @staticmethod
    def print_slices(result, name, trips):
        low, median, high = result.spread(name, "cpu_each")
        cpu = result.total(name, "user") + result.total(name, "system")
        user = result.total(name, "user") / cpu if cpu else 0
        line = (f"  {name:10} {median:9.3f} {f'[{low:.3f} .. {high:.3f}]':19} {user:5.0%} "
                f"{result.median(name, 'rate'):11,.0f} {result.total(name, 'lost'):7,.0f} "
                f"{max(one['peak'] for one in result.slices[name].values()) / 1024:6.1f}")
        line += "".join(f" {result.median(name, part):9.3f}" for part in result.workload.parts())
        if trips:
            line += "".join(f" {result.median(name, figure):8.1f}" for figure in ("p50", "p99", "p999"))
        ratio = result.ratio(name)
        print(line + (f" {ratio[1]:7.2f}" if ratio and name != "direct" else ""))

    @staticmethod
    def print_single(result, name, one):
        if "idle" in one:
            ratio = result.ratio(name)
            print(f"  {name:10} {one['idle']:8.2f} KiB each" + (f", ratio {ratio[1]:.2f}" if ratio and name != "direct" else ""))
        else:
            print(f"  {name:10} {describe_stopped(one)}")

    @staticmethod
    def print_ratios(result):
        best, goals = result.best_peer(), result.workload.goals
        if result.ratio("relay"):
            print(f"  to the relay: {with_goal(result.ratio('relay'), goals['relay'])}")
        if result.ratio(best):
            print(f"  to the best peer, {best}: {with_goal(result.ratio(best), goals['peer'])}")
        if result.ratio("against"):
            print(f"  to the other build: {with_goal(result.ratio('against'), None)}")

    def finish(self, results):
        os.makedirs(self.options.output, exist_ok=True)
        self.write_rounds(results)
        self.write_results(results)
        table = [SUMMARY_HEAD] + [row for row in map(self.summary_row, results) if row]
        widths = [max(len(row[k]) for row in table) for k in range(len(SUMMARY_HEAD))]
        for row in table if len(table) > 1 else []:
            print("  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]))
        self.write_summary(table, results)
        drawn = peers_plots.draw(self.options.output, results)
        print(f"\n{self.options.output}: " + ", ".join(["summary.md", "results.csv", "rounds.csv", *drawn]))

    @staticmethod
    def summary_row(result):
        """None where there is no one figure"""
        if result.value("direct") is None:
            return None
        best, worst, goals = result.best_peer(), result.worst_peer(), result.workload.goals
        unit = {"cpu": "", "p50": ", us", "idle": ", KiB each"}[result.workload.figure()]
        row = [result.workload.name + unit]
        row += [number(result.value(name)) if result.value(name) is not None else "" for name in ("splice", "relay", "direct")]
        row += [f"{number(result.value(name))} {name}" if name else "" for name in (best, worst)]
        for name, goal in (("relay", goals["relay"]), (best, goals["peer"])):
            ratio = result.ratio(name)
            row += [f"{ratio[1]:.2f}" if ratio else "", f"{goal:.2f}" if goal else ""]
        return row

    def write_summary(self, table, results):
        """For a page: what it was made with stands above it"""
        with open(os.path.join(self.options.output, "summary.md"), "w", encoding="utf-8") as file:
            file.write("`" + " ".join(["bench/bench-peers.py", *self.arguments]) + "`\n\n")
            file.write("\n".join(self.head_lines()) + "\n\n")
            if len(table) > 1:
                file.write("Processor seconds of the server, or of what the row says, for a million messages; medians, and of\n"
                           "the ratios within rounds.\n\n")
                file.write("| " + " | ".join(table[0]) + " |\n| --- |" + " ---: |" * (len(table[0]) - 1) + "\n")
                for row in table[1:]:
                    file.write("| " + " | ".join(row) + " |\n")
            for result in results:
                for name, one in result.single.items():
                    if "due" in one:
                        file.write(f"\n* {result.workload.name}, {name}: {describe_stopped(one)}")
                for name, why in result.failures.items():
                    file.write(f"\n* {result.workload.name}, {name}: {why}")
            file.write("\n")

    def write_rounds(self, results):
        with open(os.path.join(self.options.output, "rounds.csv"), "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(["workload", "server", "round", *SLICE, *PARTS])
            for result in results:
                for name in result.servers():
                    for k, one in sorted(result.slices[name].items()):
                        out.writerow([result.workload.name, name, k, *(one.get(figure, "") for figure in (*SLICE, *PARTS))])

    def write_results(self, results):
        figures = ("cpu_each", "rate", "p50", "p90", "p99", "p999")
        with open(os.path.join(self.options.output, "results.csv"), "w", encoding="utf-8", newline="") as file:
            for line in self.head_lines():
                file.write(f"# {line}\n")
            out = csv.writer(file)
            out.writerow(["workload", "server", "s_per_million", "low", "high", "messages_per_s", "p50_us", "p90_us", "p99_us",
                          "p999_us", "user_s", "system_s", "lost", "resident_kib", "peak_kib", "idle_kib",
                          "sender_s_per_million", "receiver_s_per_million", "ratio", "ratio_low", "ratio_high", "failure"])
            for result in results:
                for name in dict.fromkeys((*result.slices, *result.single, *result.failures)):
                    row = [""] * 16
                    if result.slices.get(name):
                        low, median, high = result.spread(name, "cpu_each")
                        row[:3] = [f"{value:.4f}" for value in (median, low, high)]
                        row[3:8] = [f"{result.median(name, figure):.1f}" for figure in figures[1:]]
                        row[8:11] = [f"{result.total(name, 'user') / 1e9:.2f}", f"{result.total(name, 'system') / 1e9:.2f}",
                                     f"{result.total(name, 'lost'):.0f}"]
                        row[11:13] = [f"{max(one[figure] for one in result.slices[name].values()):.0f}"
                                      for figure in ("resident", "peak")]  # the former is the server's only
                        row[14:16] = [f"{result.median(name, part):.4f}" for part in result.workload.parts()] or ["", ""]
                    if "idle" in result.single.get(name, {}):
                        row[13] = f"{result.single[name]['idle']:.3f}"
                    ratio = result.ratio(name) or ()
                    row += [f"{ratio[k]:.4f}" for k in (1, 0, 2)] if ratio else ["", "", ""]
                    out.writerow([result.workload.name, name, *row, result.failures.get(name, "")])
