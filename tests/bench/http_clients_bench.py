#!/usr/bin/env python3
"""How long callers wait while many browser-like clients watch a generation over HTTP.

    build/release/python-venv/bin/python tests/bench/http_clients_bench.py build/release/bin/denoised [--clients 500]

Needs the Python client, which client/python/check installs. All clients run in this process, on the
same machine as the server. Prints the median and the longest waits of a gRPC caller, of /healthz and
of /metrics, without and with the watchers, and their ratios.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

import denoised

PROBES = 200
PAUSE_SECONDS = 0.02


def start(program, clients):
    server = subprocess.Popen(
        [program, "--models", "deploy/models", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
         "--threads", "1", "--max-connections", str(2 * clients + 100),
         "--max-connections-per-address", str(2 * clients + 100)],
        stdout=subprocess.PIPE, stderr=tempfile.TemporaryFile(), text=True)
    said = {}
    while len(said) < 2:
        word, _, address = server.stdout.readline().strip().partition(" on ")
        said[word] = address
    return server, said["listening"], said["http"]


def waits_of(ask):
    waits = []
    for _ in range(PROBES):
        begin = time.monotonic()
        ask()
        waits.append(1000 * (time.monotonic() - begin))
        time.sleep(PAUSE_SECONDS)
    return statistics.median(waits), max(waits)


def probe(client, http):
    def get(path):
        with urllib.request.urlopen(f"http://{http}{path}", timeout=60) as answer:
            answer.read()

    return {
        "gRPC GetModel": waits_of(lambda: client.models.get("emoji-32")),
        "HTTP /healthz": waits_of(lambda: get("/healthz")),
        "HTTP /metrics": waits_of(lambda: get("/metrics")),
    }


async def watch(http, name, counts):
    host, port = http.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"name": name}).encode()
    writer.write(
        b"POST /denoised.v1.Generations/WatchGeneration HTTP/1.1\r\nHost: " + http.encode() +
        b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    while not counts["stop"]:
        data = await reader.read(65536)
        if not data:
            break
        counts["bytes"] += len(data)
        counts["frames"] += data.count(b'"frame":')
    writer.close()


def read_to_end(events):
    with contextlib.suppress(denoised.Error):  # it is cancelled in the end
        for _ in events:
            pass


def watch_all(http, name, clients, counts):
    async def run():
        await asyncio.gather(*(watch(http, name, counts) for _ in range(clients)))

    asyncio.run(run())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("denoised", help="the server's program")
    parser.add_argument("--clients", type=int, default=500)
    flags = parser.parse_args()
    server, grpc, http = start(flags.denoised, flags.clients)
    try:
        with denoised.Client(grpc) as client:
            # Frames of 16 images at every step, for longer than the probes take.
            events = client.generate(model="emoji-32", class_label="people", count=16, steps=1000, frames=1)
            name = next(event.generation for event in events if isinstance(event, denoised.Accepted))
            threading.Thread(target=read_to_end, args=(events,), daemon=True).start()
            before = probe(client, http)
            counts = {"bytes": 0, "frames": 0, "stop": False}
            watchers = threading.Thread(
                target=watch_all, args=(http, name, flags.clients, counts), daemon=True)
            begin = time.monotonic()
            watchers.start()
            while counts["frames"] < flags.clients:
                time.sleep(0.1)
            during = probe(client, http)
            seconds = time.monotonic() - begin
            print(f"{flags.clients} watchers got {counts['frames'] / seconds:.0f} frames/s, "
                  f"{counts['bytes'] / seconds / 2**20:.1f} MiB/s")
            print("| Caller | alone: median | longest | with watchers: median | longest | ratio of medians |")
            print("|---|---|---|---|---|---|")
            for what, (median, longest) in before.items():
                median_during, longest_during = during[what]
                print(f"| {what} | {median:.1f} ms | {longest:.1f} ms | {median_during:.1f} ms | "
                      f"{longest_during:.1f} ms | {median_during / median:.1f} |")
            counts["stop"] = True
            client.generations.cancel(name)
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
