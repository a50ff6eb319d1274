# SPDX-License-Identifier: LGPL-2.1-or-later
"""The picture is the same, pixel for pixel, whatever happens to the workers."""

import os
import signal
import struct
import zlib

import programs


def read_png(path):
    """(width, height, rows of RGB) of a PNG file with 8 bits a channel and no interlacing."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, body, header = 8, b"", None
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        chunk = data[position + 8:position + 8 + length]
        assert zlib.crc32(kind + chunk) == struct.unpack_from(">I", data, position + 8 + length)[0]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", chunk)
        elif kind == b"IDAT":
            body += chunk
        position += 12 + length
    width, height, depth, color, _, _, interlace = header
    assert (depth, color, interlace) == (8, 2, 0)

    raw, stride = zlib.decompress(body), width * 3
    rows, above = [], bytes(stride)
    for y in range(height):
        line = raw[y * (stride + 1):(y + 1) * (stride + 1)]
        above = unfilter(line[0], line[1:], above)
        rows.append(above)
    return width, height, rows


def unfilter(kind, line, above):
    out = bytearray(line)
    for i, value in enumerate(line):
        left = out[i - 3] if i >= 3 else 0
        corner = above[i - 3] if i >= 3 else 0
        out[i] = (value + (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]) & 255
    return bytes(out)


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


class Mandelbrot(programs.ProgramTest):
    WIDTH, HEIGHT, TILE = 250, 170, 16  # so that there are tiles that are cut on both edges
    N_TILES = 16 * 11

    def coordinator(self, output, n_workers):
        return self.start("MANDELBROT", "coordinator", f"--server={self.address}", f"--size={self.WIDTH}x{self.HEIGHT}",
                          f"--tile={self.TILE}", f"--output={output}", f"--expect-workers={n_workers}")

    def worker(self):
        return self.start("MANDELBROT", "worker", f"--server={self.address}")

    def picture(self, name):
        return os.path.join(self.directory, name)

    def kill_in_the_middle(self):
        """Three workers, which come after the coordinator; one is killed in the middle, a fourth comes even later. Returns what
        the coordinator has said, or None where the picture was ready before the kill."""
        many = self.coordinator(self.picture("many.png"), 3)
        many.wait_line("waiting for workers", "stderr")
        workers = [self.worker() for _ in range(3)]
        many.wait_line(r"^tile \d+ of", "stderr")
        os.kill(workers[0].process.pid, signal.SIGKILL)
        # The kernel resets the connection of a program that dies with bytes that it has not read
        line = many.wait_line(rf"is lost \((died|link lost)\): its [12] tiles go to others|^tile {self.N_TILES} of",
                              "stderr")
        workers.append(self.worker())
        text = many.wait().decode()
        for worker in workers:
            worker.kill()
        return text if line[0].startswith("is lost") else None

    def test_a_worker_is_killed(self):
        # Undisturbed, by one worker, which is there before the coordinator
        worker = self.worker()
        one = self.coordinator(self.picture("one.png"), 1)
        self.assertIn(f"{self.N_TILES} tiles\n", one.wait().decode())
        worker.kill()

        text = self.kill_in_the_middle() or self.kill_in_the_middle() or self.kill_in_the_middle()
        self.assertIsNotNone(text, "the picture was ready too soon three times")
        self.assertRegex(text, r"taken over from workers that were lost")
        self.assertRegex(text, r"tiles \(lost\)")

        expected = read_png(self.picture("one.png"))
        self.assertEqual(expected[:2], (self.WIDTH, self.HEIGHT))
        self.assertGreater(len(set(expected[2])), self.HEIGHT // 2)  # it is a picture, not a surface
        self.assertEqual(read_png(self.picture("many.png")), expected)

    def test_two_coordinators(self):
        first = self.coordinator(self.picture("x.png"), 1)
        first.wait_line("waiting for workers", "stderr")
        second = self.coordinator(self.picture("y.png"), 1)
        second.wait(1)
        self.assertIn("cannot connect", "".join(second.lines("stderr")))

    def test_output_cannot_be_written(self):
        self.worker()
        coordinator = self.coordinator("/nonexistent/x.png", 1)
        coordinator.wait(1)
        self.assertIn("/nonexistent/x.png: No such file", "".join(coordinator.lines("stderr")))


if __name__ == "__main__":
    programs.main()
