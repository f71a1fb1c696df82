"""Small versions of the attacks in http2_attacks.py: attack_test.py DENOISED.

The server limits how many lines it logs about attackers. So attacks that share a server have few
connections, and those that need many have a server to themselves.
"""

import contextlib
import io
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True  # the sources may be read-only
import http2_attacks  # noqa: E402

DENOISED = sys.argv.pop(1)
PATIENCE_SECONDS = 120
# Far more than the attacks below can take of a server that defends itself, sanitizers included.
MAX_GROWTH_MIB = 512

FLOOD = "--connections 1 --count 20000"
HEADER_BLOCK = "a header block of more than 65536 bytes"
CONTROL_FRAMES = "control frames a second"
NOT_ACKNOWLEDGED = "before it has acknowledged the server's SETTINGS"
NOT_IN_TIME = "it has not begun to speak HTTP/2 in time"

# Attacks after which the server has closed every connection, and what its log says. W9 is
# "rapid_reset", W10 is "continuation".
CLOSED = {
    "continuation": ("continuation --connections 1 --mib 4", HEADER_BLOCK),
    "empty_continuation": ("empty-continuation " + FLOOD, HEADER_BLOCK),
    "empty_data": ("empty-data " + FLOOD, CONTROL_FRAMES),
    "garbage": ("garbage --connections 6", "not HTTP/2"),
    "idle": ("idle-connections --connections 2 --hold 60", NOT_IN_TIME),
    "priority_flood": ("priority-flood " + FLOOD, CONTROL_FRAMES),
    # gRPC closes these, or may be the first to.
    "ping_flood": ("ping-flood " + FLOOD, None),
    "opening_too_many_streams": ("refused-streams " + FLOOD, NOT_ACKNOWLEDGED),
    "calling_unknown_methods": ("unknown-methods " + FLOOD, NOT_ACKNOWLEDGED),
    "making_the_server_reset": ("server-resets " + FLOOD, None),
    "rapid_reset": ("rapid-reset " + FLOOD, NOT_ACKNOWLEDGED),
    "settings_flood": ("settings-flood " + FLOOD, CONTROL_FRAMES),
    "slow_preface": ("slow-preface --connections 1 --hold 60", NOT_IN_TIME),
}


def wait_until(condition, message):
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(message())
        time.sleep(0.01)


class Server:
    """denoised with the starter model, on free ports."""

    def __init__(self, flags):
        self.log = tempfile.NamedTemporaryFile()
        command = [DENOISED, "--models", "deploy/models", "--listen", "127.0.0.1:0",
                   "--http", "127.0.0.1:0", "--device", "cpu", "--threads", "1", *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = self.expect("listening on ")
        self.http = self.expect("http on ")

    def expect(self, start):
        line = self.process.stdout.readline()
        if not line.startswith(start):
            raise AssertionError(f"denoised does not say {start!r}: {line!r}\n{self.log_text()}")
        return line[len(start):].strip()

    def log_text(self):
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def connect(self, source):
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), PATIENCE_SECONDS, (source, 0))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE_SECONDS)
        self.process.stdout.close()
        self.log.close()
        return code


class WithServer(unittest.TestCase):
    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.FLAGS)

    @classmethod
    def tearDownClass(cls):
        if cls.server.stop() != 0:
            raise AssertionError("the server does not shut down cleanly")

    def attack(self, attack, reason=None):
        """Runs it; fails unless the caller was served throughout, the memory has fallen again, all
        descriptors are closed again, and the log gives the reason."""
        server = self.server
        logged = len(server.log_text())
        result = subprocess.run(
            [sys.executable, http2_attacks.__file__, *attack.split(), "--address", server.address,
             "--http", server.http, "--pid", str(server.process.pid), "--json",
             "--max-growth-mib", str(MAX_GROWTH_MIB)], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0,
                         f"{result.stdout}\n{result.stderr}\n{server.log_text()}")
        report = json.loads(result.stdout)
        self.assertIn("attacker", report, "the attack has not come to its end")
        if reason is not None:
            wait_until(lambda: reason in server.log_text()[logged:], server.log_text)
        wait_until(lambda: server.descriptors() <= report["before"]["descriptors"],
                   lambda: "descriptors stay open")
        return report


class OneServer(WithServer):
    def test_millions_of_entries_are_refused(self):
        report = self.attack("many-repeated --count 4000000", "code=INVALID_ARGUMENT")
        self.assertEqual(report["attacker"]["grpc_statuses"], [3])
        growth = report["during"]["peak_mib"] - report["before"]["resident_mib"]
        self.assertLess(growth, MAX_GROWTH_MIB)

    # W6: scrapes are answered at once.
    def test_clients_that_say_nothing_do_not_delay_scrapes(self):
        for attack in ("http-idle", "http-slow-header"):
            with self.subTest(attack):
                report = self.attack(f"{attack} --connections 1000 --hold 4")
                before, during = (report[phase]["newcomers"] for phase in ("before", "during"))
                self.assertEqual(during["failed"], 0)
                self.assertLess(during["median_ms"], 20 * before["worst_ms"])

    def test_clients_may_be_silent_after_the_preface(self):
        report = self.attack("preface-only --connections 100 --hold 1")
        self.assertEqual(report["attacker"]["survived"], 100)


def add_closed(name, attack, reason):
    def test(self):
        report = self.attack(attack, reason)
        self.assertEqual(report["attacker"]["survived"], 0, report)
        self.assertGreater(report["attacker"]["closed_by_server"], 0)
    setattr(OneServer, f"test_{name}_is_closed", test)


for each, case in CLOSED.items():
    add_closed(each, *case)


class Limits(WithServer):
    FLAGS = ("--max-connections", "12", "--max-connections-per-address", "8")

    def test_of_all_addresses(self):
        self.attack("preface-only --connections 20 --addresses 5 --hold 1",
                    "there are 12 connections, the maximum")

    def test_connections_that_never_call_make_room_after_a_while(self):
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(self.server.connect(f"127.0.0.{2 + i // 6}"))
                      for i in range(12)]
            for connection in silent:
                connection.sendall(http2_attacks.PREFACE)
                self.assertNotEqual(connection.recv(9), b"")
            self.assert_closed_at_once("127.0.0.4")
            time.sleep(5.5)
            with self.server.connect("127.0.0.4") as newcomer:
                newcomer.sendall(http2_attacks.PREFACE)
                self.assertNotEqual(newcomer.recv(9), b"")
        self.assertIn("another connection needs its place", self.server.log_text())

    def assert_closed_at_once(self, source):
        # A reset may arrive before connect has returned, which then raises it.
        with contextlib.suppress(ConnectionError), self.server.connect(source) as connection:
            self.assertEqual(connection.recv(9), b"")


class ConnectionRate(WithServer):
    FLAGS = ("--max-connection-rate", "1")

    def test_is_that_of_the_flag(self):
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                # The server resets those above the rate, some before connect has returned.
                with contextlib.suppress(ConnectionResetError):
                    stack.enter_context(self.server.connect("127.0.0.2"))
            wait_until(lambda: "more than 1 new connections a second" in self.server.log_text(),
                       self.server.log_text)


class UnreadAnswers(WithServer):
    FLAGS = ("--max-write-seconds", "2")

    def test_their_calls_are_cancelled(self):
        report = self.attack("unread-answers --connections 1 --count 100", "answer not read")
        self.assertEqual(report["attacker"].get("calls_cancelled"), 100, report)


class Descriptors(WithServer):
    # W11: file descriptors run out for a while.
    def test_the_server_accepts_again_once_there_are_some(self):
        process = self.server.process.pid
        limit = resource.prlimit(process, resource.RLIMIT_NOFILE)
        self.attack("descriptors --connections 60 --hold 2", "Too many open files")
        self.assertEqual(resource.prlimit(process, resource.RLIMIT_NOFILE), limit)


class Usage(unittest.TestCase):
    def assert_refused(self, flag, value, message):
        errors = io.StringIO()
        with self.subTest(flag=flag, value=value), self.assertRaises(SystemExit) as end, \
                contextlib.redirect_stderr(errors):
            http2_attacks.parse(["garbage", "--pid", str(os.getpid()), flag, value])
        self.assertEqual(end.exception.code, 2)
        self.assertIn(message, errors.getvalue())

    def test_only_loopback_is_attacked(self):
        for address in ("192.0.2.1:50051", "0.0.0.0:50051", "[::]:50051", "localhost:50051",
                        "[::ffff:192.0.2.1]:50051", "127.0.0.1", "127.0.0.1:0", ""):
            for flag in ("--address", "--http"):
                self.assert_refused(flag, address, "is not a loopback address")

    def test_every_number_has_a_limit(self):
        for flag in ("--connections", "--count", "--mib", "--hold", "--seconds", "--addresses"):
            for value in ("1000000000", "-1", "nan", "many"):
                self.assert_refused(flag, value, flag)


if __name__ == "__main__":
    unittest.main()
