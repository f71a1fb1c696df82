"""The server that a soak runs against, and what it takes of the machine."""

import http.client
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = (REPOSITORY / "deploy/models/emoji-32", REPOSITORY / "tests/data/pipelines/sd15-like")
TENANTS = ("acme", "globex")
PATIENCE_SECONDS = 120

# Everything that the server keeps for a while has a small bound, so that it fills up early.
FLAGS = (
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--device=cpu",
    "--threads=1",
    "--poll-models=1",
    "--metrics-access=all",
    "--max-connection-rate=100000",
    "--max-write-seconds=4",
    "--keep-results-seconds=5",
    "--keep-results-mib=64",
    "--queue-size=1000",
    "--max-batch-rows=4",
    "--drain-seconds=20",
)

_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Usage:
    """What the process takes of the machine."""

    # That it has written to, resident or swapped out. Pages of files are left out: the kernel drops
    # and reads them as it likes.
    memory_mib: float
    resident_mib: float
    threads: int
    descriptors: int


class Metrics:
    """What /metrics says."""

    def __init__(self, text):
        self._series = {}
        for name, labels, value in _SERIES.findall(text):
            self._series[name, frozenset(_LABEL.findall(labels))] = float(value)

    def sum(self, name):
        return sum(self._values(name).values())

    def by(self, name, label):
        """The values of a metric, by the values of its only label."""
        return {dict(labels)[label]: value for labels, value in self._values(name).items()}

    def _values(self, name):
        values = {key[1]: value for key, value in self._series.items() if key[0] == name}
        if not values:
            raise KeyError(f"/metrics has no {name}")
        return values


class SoakedServer:
    """denoised on free ports, from construction to `stop`. `folder` is for its files."""

    def __init__(self, program, folder, environment):
        self._log_path = folder / "server.log"
        models = folder / "models"
        models.mkdir()
        for model in MODELS:
            (models / model.name).symlink_to(model)
        self.tokens = {}
        with open(folder / "tokens", "w", encoding="utf-8") as file:
            for tenant in TENANTS:
                self.tokens[tenant] = _new_token(program, tenant, "generate,train", file)
            self.guest_token = _new_token(program, "guests", "generate", file)
        command = [
            program,
            f"--models={models}",
            f"--state={folder / 'state'}",
            f"--tokens={folder / 'tokens'}",
            *FLAGS,
        ]
        with open(self._log_path, "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        try:
            self.grpc = self._expect("listening on ")
            self.http = self._expect("http on ")
        except BaseException:
            self.kill()
            raise
        self._scrapes = http.client.HTTPConnection(self.http, timeout=PATIENCE_SECONDS)

    def _expect(self, start):
        line = self._process.stdout.readline()
        if not line.startswith(start):
            raise RuntimeError(f"the server does not start: {self.log_end()}")
        return line[len(start) :].strip()

    def usage(self):
        process = Path(f"/proc/{self._process.pid}")
        status = dict(re.findall(r"^(\w+):\s+(\d+)", (process / "status").read_text(), re.M))
        kib = sum(int(status[name]) for name in ("RssAnon", "RssShmem", "VmSwap"))
        return Usage(
            memory_mib=kib / 1024,
            resident_mib=int(status["VmRSS"]) / 1024,
            threads=int(status["Threads"]),
            descriptors=len(os.listdir(process / "fd")),
        )

    def metrics(self):
        """Over a connection that stays open. Used by one thread at a time."""
        try:
            return self._scrape()
        except (OSError, http.client.HTTPException):  # it was idle for too long
            self._scrapes.close()
            return self._scrape()

    def _scrape(self):
        self._scrapes.request("GET", "/metrics")
        response = self._scrapes.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise RuntimeError(f"/metrics answers {response.status}: {text}")
        return Metrics(text)

    def is_running(self):
        return self._process.poll() is None

    def stop(self):
        """Returns the exit code after SIGTERM; None if the server had to be killed."""
        self._scrapes.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def log_end(self, lines=20):
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])


def _new_token(program, tenant, scopes, file):
    """Returns a token, whose entry is added to the file."""
    made = subprocess.run(
        [program, "new-token", tenant, "--tenant", tenant, "--scopes", scopes],
        capture_output=True,
        text=True,
        check=True,
    )
    file.write(made.stdout)
    return made.stderr.strip()
