# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plots of what a message costs, by gnuplot: against its size, the number of clients, and the fan-out. Each has its data and
its script beside it, so that it can be drawn anew in another way."""

import os
import shutil
import subprocess

# file: (title, x axis, option that is x, what the others have to be)
PLOTS = {
    "cost-by-size": ("8 pairs, deep", "bytes of a message", "size", {"pairs": 8, "window": None}),
    "cost-by-clients": ("128 B, deep", "pairs", "pairs", {"size": 128, "window": None}),
    "cost-by-clients-window": ("128 B, one on its way for each pair", "pairs", "pairs",
                               {"size": 128, "window": 1, "one-processor": None, "own-processors": None}),
    "cost-by-fan-out": ("128 B, broadcast", "receivers", "broadcast", {"size": 128}),
}

SCRIPT = """set terminal svg size 800,500 dynamic background rgb 'white'
set output '{name}.svg'
set title '{title}'
set xlabel '{x}'
set ylabel 'processor seconds of the server for a million messages'
set logscale xy
set grid
set key outside right
set datafile separator '\\t'
plot for [server in '{servers}'] '{name}.tsv' using (column('{x_column}')):(column(server)) with linespoints title server
"""


def collect(results, x, others):
    """{x: {server: s/million}}"""
    points = {}
    for result in results:
        options = result.workload.options()
        if x in options and all(options.get(name) == value for name, value in others.items()):
            points[options[x]] = {name: result.median(name, "cpu_each") for name in result.servers()}
    return points


def write(directory, name, points):
    title, x, _, _ = PLOTS[name]
    servers = sorted({server for values in points.values() for server in values})
    with open(os.path.join(directory, f"{name}.tsv"), "w", encoding="utf-8") as file:
        file.write("\t".join(["x", *servers]) + "\n")
        for value in sorted(points):
            cells = [f"{points[value][server]:.4f}" if server in points[value] else "" for server in servers]
            file.write("\t".join([str(value), *cells]) + "\n")
    with open(os.path.join(directory, f"{name}.gnuplot"), "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(name=name, title=title, x=x, x_column="x", servers=" ".join(servers)))


def draw(directory, results):
    """The names of what was drawn; without gnuplot only the data is written"""
    drawn = []
    for name, (_, _, x, others) in PLOTS.items():
        points = collect(results, x, others)
        if len(points) < 2:
            continue
        write(directory, name, points)
        if shutil.which("gnuplot"):
            subprocess.run(["gnuplot", f"{name}.gnuplot"], cwd=directory, check=True)
            drawn.append(f"{name}.svg")
    return drawn
