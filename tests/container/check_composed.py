"""Starts the server and Prometheus of deploy/compose.yaml. check_image.py runs it, in a network of
its own."""

import argparse
import contextlib
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import time

import yaml
from compose import TOOLS
from container import hide_hybrid_cgroups, open_files
from steps import CheckFailed, output_of, passed, require

HEALTHY_SECONDS_MAX = 120
STARTED = ("denoised", "prometheus")


class Composed:
    def __init__(self, file, storage, folder):
        # podman keeps the folders of its first run here, and refuses any others.
        shutil.rmtree(storage / "images/libpod", ignore_errors=True)
        flags = {
            "root": storage / "images",
            "runroot": storage / "run",
            "tmpdir": folder / "podman",
            "network-backend": "netavark",  # knows containers by the names of their services
            "network-config-dir": folder / "networks",
            "volumepath": folder / "volumes",
            "storage-driver": "overlay",
            "cgroup-manager": "cgroupfs",
        }
        self.flags = [f"--{name}={value}" for name, value in flags.items()]
        # What the file asks for and podman sets by itself, where root may not raise its own limits.
        limits = {"nofile": open_files(), "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1]}
        services = {service: {"ulimits": limits} for service in STARTED}
        override = folder / "override.yaml"
        override.write_text(yaml.safe_dump({"services": services}))
        self.compose = [TOOLS / "podman-compose", "--podman-args", " ".join(self.flags),
                        "--file", file, "--file", override]  # fmt: skip

    def podman(self, *words, **options):
        return subprocess.run(
            ["podman", *self.flags, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options,
        )  # fmt: skip

    def run(self, *words):
        """podman complains that there is no systemd to run the health checks, and goes on."""
        return subprocess.run(
            [*self.compose, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def started(self):
        try:
            up = self.run("up", "--detach", "--no-build", *STARTED)
            require(up.returncode == 0, f"it does not start: {up.stdout}")
            yield
        finally:
            self.run("down", "--volumes")

    def wait_until_healthy(self, service):
        end = time.monotonic() + HEALTHY_SECONDS_MAX
        name = f"denoised_{service}_1"
        while (checked := self.podman("healthcheck", "run", name)).returncode != 0:
            state = self.podman("inspect", "--format={{.State.Status}}", name).stdout.strip()
            logs = self.podman("logs", "--tail=3", name).stdout
            require(state == "running", f"{service} is {state}: {logs}")
            require(time.monotonic() < end, f"{service} is not healthy: {checked.stdout} {logs}")
            time.sleep(0.2)

    def exit_code(self, service):
        """After SIGTERM and, at most, the file's stop_grace_period."""
        stopped = self.run("stop", service)
        require(stopped.returncode == 0, f"{service} does not stop: {stopped.stdout}")
        code = "--format={{.State.ExitCode}}"
        return int(self.podman("inspect", code, f"denoised_{service}_1").stdout)


def fetch(url):
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def check_scraped():
    """Prometheus finds the server by its name in the file, and reads its metrics."""
    query = "http://127.0.0.1:9090/api/v1/query?query=denoised_models_loaded"
    end = time.monotonic() + HEALTHY_SECONDS_MAX
    while True:
        answer = fetch(query).stdout
        with contextlib.suppress(json.JSONDecodeError, LookupError):
            if json.loads(answer)["data"]["result"][0]["value"][1] == "1":
                return
        if time.monotonic() > end:
            targets = fetch("http://127.0.0.1:9090/api/v1/targets").stdout
            raise CheckFailed(f"Prometheus has not scraped the server: {targets}")
        time.sleep(0.2)


def check_composed(composed):
    with composed.started():
        for service in STARTED:
            composed.wait_until_healthy(service)
            passed(f"{service} is healthy, by the health check of the file")
        page = fetch("http://127.0.0.1:8080/readyz")
        require(page.returncode == 0, f"the published port does not answer: {page.stdout}")
        check_scraped()
        passed("Prometheus scrapes the server")
        code = composed.exit_code("denoised")
        require(code == 0, f"the server ended with {code}")
        passed("the server stops with 0")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("file", "storage", "folder"):
        parser.add_argument(name, type=pathlib.Path)
    flags = parser.parse_args()
    output_of("mount", "-t", "tmpfs", "tmpfs", "/run")  # where podman would leave things
    output_of("ip", "link", "set", "lo", "up")
    hide_hybrid_cgroups()
    try:
        check_composed(Composed(flags.file, flags.storage, flags.folder))
    except CheckFailed as failure:
        sys.exit(f"check-container: {failure}")


if __name__ == "__main__":
    main()
