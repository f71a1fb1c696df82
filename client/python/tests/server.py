"""A denoised server in its own process."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
STARTER_MODEL = REPOSITORY / "deploy" / "models" / "emoji-32"
PIPELINES = REPOSITORY / "tests" / "data" / "pipelines"


class Server:
    """Runs from construction until `stop` or `kill`."""

    def __init__(
        self, models: Path, log: Path, arguments: Sequence[str] = (), http: str = "off"
    ) -> None:
        self.models = models
        self._log = log
        self._arguments = arguments
        self._http = http
        self.address = ""
        self.http_address = ""
        self.start("127.0.0.1:0")

    def start(self, address: str) -> None:
        command = [
            _binary(),
            f"--models={self.models}",
            f"--listen={address}",
            f"--http={self._http}",
            "--poll-models=0.2",
            *self._arguments,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPOSITORY
            )
        assert self._process.stdout
        # A server that cannot start ends, and with it the line.
        line = self._process.stdout.readline()
        listening = re.fullmatch(r"listening on (\S+)\n", line)
        if not listening:
            self.kill()
            raise AssertionError(f"the server did not start: {self._log.read_text()}")
        self.address = listening[1]
        if self._http != "off":
            self.http_address = self._process.stdout.readline().removeprefix("http on ").strip()

    def stop(self) -> None:
        self._process.terminate()
        self._reap()

    def kill(self) -> None:
        self._process.kill()
        self._reap()

    def _reap(self) -> None:
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


def link_models(folder: Path, *models: Path) -> Path:
    folder.mkdir()
    for model in models:
        (folder / model.name).symlink_to(model)
    return folder


def handover_key(folder: Path) -> str:
    """A flag with a new key: servers with the same one continue each other's generations."""
    path = folder / "handover.key"
    path.write_bytes(subprocess.check_output([_binary(), "new-handover-key"]))
    return f"--handover-key={path}"


def _binary() -> str:
    binary = os.environ.get("DENOISED_BIN")
    assert binary, "set DENOISED_BIN to the server, for example build/release/bin/denoised"
    return str((REPOSITORY / binary).resolve())
