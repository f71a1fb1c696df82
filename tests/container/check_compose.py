"""Checks deploy/compose.yaml. scripts/check-container runs it."""

import pathlib
import sys
import tempfile

import compose
from steps import CheckFailed, heading, must_fail, passed

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
# What is broken on purpose: (what, before, after, which check notices)
BREAKS = [
    ("an unknown key", "    pids_limit:", "    pids_max:", compose.check_schema),
    ("a root that can be written to", "  read_only: true", "  read_only: false",
     compose.check_services),
    ("an image without a version", "prom/prometheus:v3.5.0", "prom/prometheus:latest",
     compose.check_services),
    ("a port for everybody", '"127.0.0.1:3000:3000"', '"3000:3000"', compose.check_services),
    ("a folder that is not there", "./prometheus:", "./prometeus:", compose.check_services),
    ("a dashboard in another place", "/etc/grafana/dashboards/denoised.json:ro",
     "/etc/grafana/denoised.json:ro", compose.check_provisioning),
]  # fmt: skip


def check_compose():
    heading("deploy/compose.yaml")
    file = DEPLOY / "compose.yaml"
    compose.check_schema(file)
    compose.check_services(file)
    compose.check_provisioning(file)
    passed("valid, confined, pinned, with files that are there")
    for what, before, after, check in BREAKS:
        must_fail(what, check_broken, check, file.read_text(), before, after)


def check_broken(check, text, before, after):
    if before.strip() not in text:
        raise SystemExit(f"{before.strip()!r} is not in compose.yaml any more: nothing was broken")
    with tempfile.TemporaryDirectory() as folder:
        for path in DEPLOY.iterdir():
            pathlib.Path(folder, path.name).symlink_to(path)
        broken = pathlib.Path(folder, "compose.yaml")
        broken.unlink()
        broken.write_text(text.replace(before.strip(), after.strip()))
        check(broken)


if __name__ == "__main__":
    try:
        check_compose()
    except CheckFailed as failure:
        sys.exit(f"check-container: {failure}")
