# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the bus share: a private bus, the service over made-up clients, a stand-in for polkit. Everything waits for
lines that these print, nothing for time; WAIT_SECONDS only ends a test that hangs."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

WAIT_SECONDS = 60
BUILD = os.environ['BUS_TEST_BUILD']  # where meson puts the programs of this directory
DIRECTCTL = os.environ.get('DIRECTCTL')

NAME = 'org.directserver.DirectServer1'
PATH = '/org/directserver/DirectServer1'
MANAGER = NAME + '.Manager'
CLIENT = NAME + '.Client'
OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager'
NOBODY, DAEMON = 65534, 1  # two users that there are everywhere

CONFIGURATION = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
</busconfig>
'''


class Program:
    """A program whose lines are read one by one, and which ends with the test."""

    def __init__(self, test, arguments, environment, user=None, ends_with_input=False):
        self.ends_with_input = ends_with_input
        if user:
            arguments = [test.reachable(arguments[0]), *arguments[1:]]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment, bufsize=0, **as_user(user))
        self.rest = {self.process.stdout: b'', self.process.stderr: b''}
        test.addCleanup(self.stop)

    def line(self, stream):
        while b'\n' not in self.rest[stream]:
            with selectors.DefaultSelector() as selector:
                selector.register(stream, selectors.EVENT_READ)
                if not selector.select(WAIT_SECONDS):
                    raise AssertionError(f'{self.process.args} is silent')
            data = os.read(stream.fileno(), 65536)
            if not data:
                raise AssertionError(f'{self.process.args} ended: {self.rest}')
            self.rest[stream] += data
        line, _, self.rest[stream] = self.rest[stream].partition(b'\n')
        return line.decode()

    def wait_for(self, text, stream=None):
        """Reads on to the next line that contains `text`."""
        stream = stream or self.process.stdout
        while text not in (line := self.line(stream)):
            pass
        return line

    def command(self, text):
        """One line in, one line out"""
        self.process.stdin.write(text.encode() + b'\n')
        return self.line(self.process.stdout)

    def stop(self):
        self.process.stdin.close()
        if self.process.poll() is None and not self.ends_with_input:
            self.process.terminate()
        status = self.process.wait(WAIT_SECONDS)
        if self.ends_with_input and status not in (0, -signal.SIGKILL):  # of a sanitizer, for example
            raise AssertionError(f'{self.process.args} ended with {status}: {self.process.stderr.read().decode()}')
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


def as_user(user):
    return {} if user is None else {'user': user, 'group': user, 'extra_groups': []}


class BusTest(unittest.TestCase):
    """A private bus in a directory of its own. It is both the user bus and the system bus of what runs on it."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='directserver-bus-')
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        self.address = f'unix:path={self.directory}/bus'
        self.environment = dict(os.environ, LC_ALL='C.UTF-8', DBUS_SYSTEM_BUS_ADDRESS=self.address,
                                DBUS_SESSION_BUS_ADDRESS=self.address)
        self.environment.pop('NO_COLOR', None)
        self.configuration = f'{self.directory}/bus.conf'
        with open(self.configuration, 'w') as f:
            f.write(CONFIGURATION.format(path=f'{self.directory}/bus'))

    def reachable(self, program):
        """A copy that other users can start: the build directory may be below a home that is closed to them."""
        copy = f'{self.directory}/{os.path.basename(program)}'
        if not os.path.exists(copy):
            shutil.copy(program, copy)
        return copy

    def start_bus(self):
        self.bus = Program(self, ['dbus-daemon', f'--config-file={self.configuration}', '--nofork', '--nopidfile',
                                  '--print-address'], self.environment)
        self.bus.line(self.bus.process.stdout)

    def stop_bus(self):
        self.bus.process.terminate()
        self.bus.process.wait(WAIT_SECONDS)

    def start_service(self, kind='user', user=None, wait=True):
        self.service = Program(self, [f'{BUILD}/test-bus-service', f'--bus={kind}'], self.environment, user, True)
        if wait:
            self.log('is available')

    def log(self, text):
        """The next line of the service's log that contains `text`"""
        return self.service.wait_for(text, self.service.process.stderr)

    def start_polkit(self, answer):
        self.polkit = Program(self, [f'{BUILD}/test-bus-polkit'], self.environment, ends_with_input=True)
        self.assertEqual(self.polkit.line(self.polkit.process.stdout), 'ready')
        self.assertEqual(self.polkit.command(answer), 'ok')

    def caller(self, *arguments, user=None, bus='user'):
        return Program(self, [f'{BUILD}/test-bus-caller', f'--{bus}', *arguments], self.environment, user)

    def call(self, *arguments, **keywords):
        """Returns the time in µs and the outcomes."""
        return self.outcomes(self.caller(*arguments, **keywords))

    def outcomes(self, caller):
        """Of one that was started before"""
        output, errors = caller.process.communicate(timeout=WAIT_SECONDS)
        self.assertEqual(errors, b'')
        lines = output.decode().splitlines()
        return int(lines[0]), lines[1:]

    def outcome(self, *arguments, **keywords):
        _, outcomes = self.call(*arguments, **keywords)
        self.assertEqual(len(outcomes), 1)
        return outcomes[0].partition(' ')[2]

    def run_program(self, *arguments, status=0):
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=WAIT_SECONDS)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def busctl(self, *arguments):
        return self.run_program('busctl', '--user', *arguments).stdout

    def n_clients(self):
        return int(self.busctl('get-property', NAME, PATH, MANAGER, 'Clients').split()[1])


def main():
    missing = [program for program in ('dbus-daemon', 'busctl') if not shutil.which(program)]
    if missing:
        print(f'Skipped: there is no {" and no ".join(missing)}')
        sys.exit(77)
    unittest.main(verbosity=2)
