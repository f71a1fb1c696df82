"""What the server in the container does: serve, draw, keep its state, drain."""

import contextlib
import filecmp
import os
import re
import subprocess
import time

from container import Container
from contents import PROGRAMS, USER
from steps import passed, require

DENOISED, DENOISE = PROGRAMS
PICTURES = ["generate", "--class-label=people", "--count=2", "--seed=117", "--sampler=dpmpp_2m",
            "--steps=20", "--guidance-scale=3", "--frames=10", "--no-picture"]  # fmt: skip
PICTURE_FILES = ["image-0.png", "image-1.png"]
# Takes seconds, so that it runs when its first frame is there.
SLOW = ["generate", "--class-label=people", "--seed=5", "--sampler=ddpm", "--steps=100",
        "--frames=1", "--json"]  # fmt: skip


def health_command(config):
    return config["Healthcheck"]["Test"][1:]


def volume(folder):
    """A folder that the server's user may write to, and nothing else of this machine's."""
    folder.mkdir(parents=True)
    os.chown(folder, USER, USER)
    return folder


def check_confined(container):
    """What the kernel says of the running server."""
    process = f"/proc/{container.pid()}"
    with open(f"{process}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    for kind, what in (("Uid", "user"), ("Gid", "group")):
        require(set(status[kind].split()) == {str(USER)}, f"its {what} is {status[kind]}")
    for name in ("CapEff", "CapPrm", "CapBnd"):
        require(int(status[name], 16) == 0, f"it has capabilities: {name} {status[name]}")
    require(status["NoNewPrivs"] == "1", "it can gain rights")
    with open(f"{process}/mountinfo") as file:
        mounts = {line.split()[4]: line.split()[5].split(",") for line in file}
    require("ro" in mounts["/"], "its root can be written to")


def check_serves(folder, root, config):
    """With the flags of the image. The volume is for the client: the server does not know it."""
    out = volume(folder / "out")
    with Container(folder, root, config, volumes={"/state": out}) as container:
        container.wait_until_healthy(health_command(config))
        passed(f"`{' '.join(health_command(config))}` succeeds")
        check_confined(container)
        passed("user 10001, no capability, no new rights, read-only root")
        check_refuses_to_write(container)
        check_draws(container, out / "pictures")
        check_http(container)
        container.kill("TERM")
        require_ended_well(container)


def check_refuses_to_write(container):
    tried = container.run(DENOISE, *PICTURES, "--out=/pictures")
    require(
        tried.returncode != 0 and "Read-only file system" in tried.stdout,
        f"the root can be written to: {tried.stdout}",
    )
    passed("the client inside cannot write to the root")


def check_draws(container, out):
    drawn = container.run(DENOISE, *PICTURES, f"--out=/state/{out.name}")
    require(
        drawn.returncode == 0, f"denoise generate ended with {drawn.returncode}: {drawn.stdout}"
    )
    for name in PICTURE_FILES:
        require((out / name).stat().st_size > 0, f"{name} is empty")
    passed(f"denoise generate wrote {len(list(out.iterdir()))} files")


def get(container, path):
    return subprocess.run(
        container.in_network("curl", "--silent", "--show-error", "--fail", "--compressed",
                             f"http://127.0.0.1:8080{path}"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def check_http(container):
    for path, wanted in {
        "/healthz": "",
        "/readyz": "",
        "/metrics": "denoised_build_info",
        "/": "<script",
        "/v1/models": "emoji-32",
    }.items():
        answer = get(container, path)
        require(answer.returncode == 0, f"GET {path}: {answer.stdout}")
        require(wanted in answer.stdout, f"GET {path} has no {wanted}")
    script = re.search(r'src="([^"]+\.js)"', get(container, "/").stdout)[1]
    require(len(get(container, script).stdout) > 10_000, "the page has no program")
    passed("HTTP serves the page, health, metrics and models")


def check_drains(container):
    """SIGTERM while an image is half-way: its caller still gets it, and then the server ends."""
    with subprocess.Popen(
        container.command(DENOISE, *SLOW, "--out=/state/slow"), stdout=subprocess.PIPE, text=True
    ) as client:
        frames = (line for line in client.stdout if '"frame"' in line)
        require(next(frames, None), "there was no frame")
        container.kill("TERM")
        later = len(list(frames))
    require(later > 10, "the generation had ended before SIGTERM")
    require(client.returncode == 0, f"the drain cut a generation short: {client.returncode}")
    require_ended_well(container)
    passed(f"after SIGTERM, {later} frames and an image later, it ended with 0")


def require_ended_well(container):
    code = container.process.wait()
    require(code == 0, f"the server ended with {code} after SIGTERM: {container.last_lines()}")
    require_quiet(container)


def require_quiet(container):
    errors = [
        line
        for line in container.log.read_text().splitlines()
        if re.search(r"\b(error|critical)\b", line)
    ]
    require(not errors, f"the server logged errors: {errors[:3]}")


def check_starts(folder, root, config):
    with Container(folder, root, config) as container:
        container.wait_until_healthy(health_command(config))
        check_confined(container)


def check_state(folder, root, config):
    """With --state, on a volume and nowhere else, and until it has drained."""
    state = volume(folder / "state")
    arguments = [*config["Cmd"], "--state=/state", "--drain-seconds=600"]
    with Container(folder, root, config, arguments, {"/state": state}) as container:
        container.wait_until_healthy(health_command(config))
        listed = container.run(DENOISE, "datasets", "list")
        require(listed.returncode == 0, f"denoise datasets list: {listed.stdout}")
        check_drains(container)
    written = {path.relative_to(state).parts[0] for path in state.rglob("*")} - {"slow"}
    require(written, "the server wrote nothing to --state")
    passed(f"--state /state holds {', '.join(sorted(written))}")


def check_same_bytes(folder, root, config, programs):
    """The same request to the server that was built on this machine gives the same files."""
    out = volume(folder / "out")
    with Container(folder, root, config, volumes={"/state": out}) as container:
        container.wait_until_healthy(health_command(config))
        check_draws(container, out / "inside")
        with local_server(container, programs) as address:
            subprocess.run(
                container.in_network(programs / "denoise", *PICTURES, "--server", address,
                                     "--out", out / "outside"),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
    names = sorted(path.name for path in (out / "inside").iterdir() if path.suffix == ".png")
    require(set(PICTURE_FILES) <= set(names), f"only {names} were drawn")
    same, different, missing = filecmp.cmpfiles(
        out / "inside", out / "outside", names, shallow=False
    )
    require(not different + missing, f"{different + missing} differ from a local server's")
    passed(f"{len(same)} pictures have the bytes of a server built on this machine")


@contextlib.contextmanager
def local_server(container, programs):
    address = "127.0.0.1:50061"
    server = subprocess.Popen(
        container.in_network(programs / "denoised", "--models=deploy/models",
                             f"--listen={address}", "--http=127.0.0.1:8090"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        health = container.in_network(programs / "denoise", "health", "--server", address)
        while subprocess.run(health, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             check=False).returncode:  # fmt: skip
            require(server.poll() is None, "the server built on this machine has ended")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()
