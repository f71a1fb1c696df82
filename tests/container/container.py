"""Runs the image with crun, as confined as a cluster runs it."""

import contextlib
import json
import os
import resource
import subprocess
import time

from steps import CheckFailed, output_of, require

START_SECONDS_MAX = 300
NAME = "denoised-check"
# What Docker and Kubernetes hide of the kernel.
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]  # fmt: skip
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def bundle_config(root, config, arguments, volumes):
    user, _, group = config["User"].partition(":")
    nothing = {
        kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    return {
        "ociVersion": "1.0.0",
        "hostname": "denoised",
        "root": {"path": str(root), "readonly": True},
        "process": {
            "user": {"uid": int(user or 0), "gid": int(group or 0)},
            "args": config["Entrypoint"] + (config["Cmd"] if arguments is None else arguments),
            "env": config["Env"],
            "cwd": "/",
            "capabilities": nothing,
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": open_files(), "hard": open_files()}],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "noexec", "mode=755", "size=64k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64m"]},
            {"destination": "/sys", "type": "bind", "source": "/sys",
             "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]},
            *({"destination": inside, "type": "bind", "source": str(outside),
               "options": ["bind", "rw", "nosuid", "nodev", "noexec"]}
              for inside, outside in volumes.items()),
        ],
        "linux": {
            # A network of its own has loopback only, so ports of this machine are not in the way.
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }  # fmt: skip


def open_files():
    """As deploy/compose.yaml has it, or as many as root itself may raise on this machine."""
    return min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def hide_hybrid_cgroups():
    """crun refuses a machine with both versions of control groups. This process needs one."""
    if os.path.ismount("/sys/fs/cgroup/unified"):
        output_of("umount", "/sys/fs/cgroup/unified")


class Container:
    """The server in its container. `with` ends it, whatever happens."""

    def __init__(self, folder, root, config, arguments=None, volumes=None):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.user = config["User"]
        description = bundle_config(root, config, arguments, volumes or {})
        folder.joinpath("config.json").write_text(json.dumps(description, indent=1))
        self.crun = ["crun", "--root", str(folder / "crun"), "--cgroup-manager=disabled"]
        self.log = folder / "log"

    def __enter__(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*self.crun, "run", "--bundle", self.folder, NAME],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def __exit__(self, *_):
        with contextlib.suppress(CheckFailed):
            self.kill("KILL")
        self.process.wait()
        subprocess.run(
            [*self.crun, "delete", "--force", NAME], stderr=subprocess.DEVNULL, check=False
        )

    def command(self, *words, folder="/"):
        """What runs a program inside, as the server's user."""
        return [*self.crun, "exec", "--user", self.user, "--cwd", folder, NAME, *words]

    def run(self, *words, folder="/"):
        return subprocess.run(
            self.command(*words, folder=folder),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def wait_until_healthy(self, health):
        """Runs the image's own health check until it succeeds."""
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            require(self.process.poll() is None, f"the server has ended: {self.last_lines()}")
            checked = self.run(*health)
            if checked.returncode == 0:
                return
            require(time.monotonic() < end, f"the server is not healthy: {checked.stdout}")
            time.sleep(0.2)

    def pid(self):
        state = subprocess.run([*self.crun, "state", NAME], stdout=subprocess.PIPE, check=True)
        return json.loads(state.stdout)["pid"]

    def in_network(self, *words):
        """A command of this machine, in the container's network."""
        return ["nsenter", f"--net=/proc/{self.pid()}/ns/net", *map(str, words)]

    def kill(self, signal):
        done = subprocess.run(
            [*self.crun, "kill", NAME, signal], stderr=subprocess.DEVNULL, check=False
        )
        require(done.returncode == 0, f"there is no server to send SIG{signal} to")

    def last_lines(self):
        return " | ".join(self.log.read_text().splitlines()[-3:])
