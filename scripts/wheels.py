"""Pinned wheels from the Python package index, unpacked into a cache that all clones share.

Names of wheels and their SHA-256 sums are in lock files, in pip's format. pip downloads them and
checks the sums. What is unpacked is whole: an interrupted run is resumed by the next one.
"""

import contextlib
import fcntl
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile

PROGRAM = pathlib.Path(sys.argv[0]).name


def fail(message):
    sys.exit(f"{PROGRAM}: {message}")


def read_lock(lock, sections):
    """The lines of these sections, by the name==version that they begin with."""
    section, wheels = None, {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"# \[(\w+)\]", line):
            section = header[1]
        elif line and not line.startswith("#") and section in sections:
            wheels[line.split()[0]] = line
    return wheels


def version_of(wheels, name):
    return next(wheel.split("==")[1] for wheel in wheels if wheel.startswith(name + "=="))


def cache_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(cache) / "denoised"


def pip():
    """The first Python that has pip: the one that runs this script need not."""
    for python in (sys.executable, "/usr/bin/python3"):
        if (
            subprocess.run(
                [python, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return [python, "-m", "pip"]
    fail("pip is missing. Install it with: apt-get install python3-pip")


def download(wheel, line, folder):
    """Returns the downloaded wheel. One that a former run downloaded is checked and taken."""
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(line + "\n", encoding="utf-8")
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, 29)] + [
        f"manylinux2014_{machine}"
    ]
    command = pip() + [
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--implementation=cp",
        "--python-version=3.11",
        "--abi=cp311",
        "--abi=none",
        *[f"--platform={tag}" for tag in tags],
        f"--dest={folder}",
        f"--requirement={requirements}",
    ]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        fail(
            f"{wheel} could not be downloaded; what pip printed above says why. Then run this again."
        )
    name = wheel.split("==")[0].replace("-", "_")
    return next(path for path in folder.glob("*.whl") if path.name.startswith(name + "-"))


def unpack(wheel, root, wanted):
    """Unpacks the files whose names are `wanted` beside their goals and renames them, so that every
    file in `root` is whole."""
    unfinished = root / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        entries = [
            entry
            for entry in archive.infolist()
            if not entry.is_dir() and wanted(entry.filename)
        ]
        size = sum(entry.file_size for entry in entries)
        if shutil.disk_usage(root).free < size + (64 << 20):
            fail(
                f"{root} needs {size >> 20} MiB more than its disk has free. Make room, or set XDG_CACHE_HOME."
            )
        for entry in entries:
            path = archive.extract(entry, unfinished)
            if entry.external_attr >> 16 & 0o111:
                os.chmod(path, 0o755)
        for entry in entries:
            goal = root / entry.filename
            goal.parent.mkdir(parents=True, exist_ok=True)
            os.replace(unfinished / entry.filename, goal)
    shutil.rmtree(unfinished, ignore_errors=True)


def fetch(what, wheels, root, wanted):
    """Downloads and unpacks what `root` does not have yet, and prints how that goes. Two runs at once
    wait for each other."""
    done = root / ".unpacked"
    with reported(root):
        done.mkdir(parents=True, exist_ok=True)
        with open(root / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            missing = {wheel: line for wheel, line in wheels.items() if not (done / wheel).exists()}
            for number, (wheel, line) in enumerate(missing.items(), 1):
                print(f"Fetching {what} ({number} of {len(missing)}): {wheel}", file=sys.stderr)
                downloaded = download(wheel, line, root / ".downloads")
                unpack(downloaded, root, wanted)
                (done / wheel).touch()
                downloaded.unlink()
            if missing:
                shutil.rmtree(root / ".downloads", ignore_errors=True)
                print(f"{what} is in {root}", file=sys.stderr)


@contextlib.contextmanager
def reported(root):
    try:
        yield
    except OSError as error:
        fail(f"{error.filename or root}: {error.strerror}. Then run this again.")
    except zipfile.BadZipFile as error:
        fail(f"a wheel is damaged: {error}. Remove {root / '.downloads'} and run this again.")
    except KeyboardInterrupt:
        fail("interrupted; run it again to go on")
