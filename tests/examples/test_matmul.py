# SPDX-License-Identifier: LGPL-2.1-or-later
"""The product is right, in each element, also when a worker dies."""

import programs


class Matmul(programs.ProgramTest):
    def coordinator(self, *arguments):
        return self.start("MATMUL", "coordinator", f"--server={self.address}", "--check=full", *arguments)

    def worker(self):
        return self.start("MATMUL", "worker", f"--server={self.address}")

    def test_product(self):
        workers = [self.worker() for _ in range(2)]
        text = self.coordinator("--size=301", "--block=37", "--expect-workers=2").wait().decode()
        self.assertIn("correct", text)
        self.assertRegex(text, r"GFLOP/s, [1-9]\d* MB moved")
        # Another job by the same workers
        self.assertIn("correct", self.coordinator("--size=64", "--block=64", "--expect-workers=2").wait().decode())
        # Blocks that each fill the send buffer of either side
        self.assertIn("correct", self.coordinator("--size=1100", "--block=550", "--check=vectors").wait().decode())
        for worker in workers:
            self.assertIsNone(worker.process.poll())

    def test_a_worker_is_killed(self):
        workers = [self.worker() for _ in range(3)]
        coordinator = self.coordinator("--size=700", "--block=10", "--expect-workers=3")
        coordinator.wait_line(r"^block \d+ of 70", "stderr")
        workers[0].kill()
        text = coordinator.wait().decode()
        self.assertIn("correct", text)
        self.assertIn("(lost)", text)


if __name__ == "__main__":
    programs.main()
