# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first program: one receives, one sends."""

import programs


class Hello(programs.ProgramTest):
    def test_hello(self):
        environment = {"DIRECTSERVER": self.address}
        alice = self.start("HELLO", "alice", environment=environment)
        # It says nothing before a message comes, so it is called until it is there
        for _ in range(1000):
            bob = self.start("HELLO", "bob", "alice", "How are you?", environment=environment)
            bob.process.wait(programs.TIMEOUT)
            if bob.process.returncode == 0:
                break
            bob.wait(1)
            self.assertEqual(bob.lines("stderr"), ["hello: cannot send to alice: nobody has that name"])
        self.assertEqual(alice.wait(), b"How are you?\n")

    def test_no_service(self):
        hello = self.start("HELLO", "alice", environment={"DIRECTSERVER": f"unix:{self.directory}/nothing"})
        hello.wait(1)
        self.assertTrue(hello.lines("stderr")[0].startswith("hello: "))


if __name__ == "__main__":
    programs.main()
