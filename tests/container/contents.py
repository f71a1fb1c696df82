"""What is in the image, and what is not."""

import base64
import csv
import dataclasses
import hashlib
import os
import pathlib
import re
import stat
import subprocess

from steps import require

USER = 10001
PROGRAMS = ["/usr/local/bin/denoised", "/usr/local/bin/denoise"]
SHELLS = re.compile(r"(ba|da|a|z|k|c|tc|fi)?sh|busybox|toybox|perl.*|python.*|apt.*|dpkg.*|env")
LABELS = ("title", "description", "licenses", "version", "revision", "created")
# The driver's, which the host brings along.
FROM_THE_DRIVER = {"libcuda.so.1", "libnvidia-ml.so.1"}
WHEELS = "usr/local/lib/denoised"
PACKAGES = "var/lib/dpkg/status.d"


@dataclasses.dataclass
class Image:
    root: pathlib.Path  # where it is mounted
    config: dict
    version: str  # of the programs in it
    bytes_max: int


def check_user(image):
    user = image.config.get("User")
    require(user == f"{USER}:{USER}", f"the image runs as {user!r}, not as {USER}, by number")


def check_health_check(image):
    check = (image.config.get("Healthcheck") or {}).get("Test") or []
    require(check[:3] == ["CMD", PROGRAMS[1], "health"], f"the health check is {check}")


def check_labels(image):
    labels = image.config.get("Labels") or {}
    for name in LABELS:
        require(
            labels.get(f"org.opencontainers.image.{name}", "unknown") not in ("", "unknown"),
            f"the label {name} is missing",
        )
    labelled = labels["org.opencontainers.image.version"]
    require(labelled == image.version, f"the label says {labelled}, and denoised {image.version}")


def check_start(image):
    config = image.config
    require(config["Entrypoint"] == PROGRAMS[:1], f"the image starts {config['Entrypoint']}")
    require(set(config["ExposedPorts"]) == {"50051/tcp", "8080/tcp"}, "the ports are not exposed")
    require(config["Env"] == ["PATH=/usr/local/bin"], f"the environment is {config['Env']}")


def entries(root):
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            yield "/" + os.path.relpath(path, root), os.lstat(path)


def check_no_shell(image):
    """Nothing can be started but the two programs, by name or as an executable file."""
    for path, status in entries(image.root):
        name = os.path.basename(path)
        folder = os.path.dirname(path)
        shell = SHELLS.fullmatch(name) and not stat.S_ISDIR(status.st_mode)
        if folder.endswith("bin") or shell:
            require(path in PROGRAMS, f"the image has {path}")
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111 and ".so" not in name:
            require(path in PROGRAMS, f"{path} is executable")


def check_modes(image):
    """Nobody gains rights through a file, and the server's user can change nothing but /state."""
    for path, status in entries(image.root):
        mode = status.st_mode
        require(not mode & 0o6000, f"{path} is setuid or setgid")
        require(
            stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode),
            f"{path} is neither a file, a folder nor a link",
        )
        require(stat.S_ISLNK(mode) or not mode & 0o002, f"everybody can write to {path}")
        owner = USER if path == "/state" else 0
        require((status.st_uid, status.st_gid) == (owner, owner), f"{path} is not {owner}'s")
        if stat.S_ISREG(mode):
            attributes = os.listxattr(f"{image.root}{path}")
            require("security.capability" not in attributes, f"{path} has capabilities")


def loaded_libraries(root):
    """The files that the image's own dynamic linker loads for its programs and modules."""
    modules = [f"/{path.relative_to(root)}" for path in root.glob(f"{WHEELS}/*.so")]
    loaded = set()
    for program in PROGRAMS + modules:
        listed = subprocess.run(
            ["chroot", root, linker(root), "--list", program],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        missing = set(re.findall(r"(\S+) => not found", listed.stdout))
        missing |= set(re.findall(r"(\S+): cannot open shared object", listed.stdout))
        missing -= FROM_THE_DRIVER
        require(not missing, f"{program} needs {', '.join(sorted(missing))}")
        require(listed.returncode == 0, f"{program} cannot be loaded: {listed.stdout.strip()}")
        for path in re.findall(r"(/\S+) \(0x", listed.stdout):
            real = os.path.realpath(os.path.join(root, os.path.relpath(path, "/")))
            loaded.add(real.removeprefix(str(root)))
    return loaded


def linker(root):
    return f"/{next(root.glob('usr/lib*/ld-linux-*.so.*')).relative_to(root)}"


def check_libraries(image):
    """Each library that a program needs is there, and of Debian's no other."""
    loaded = loaded_libraries(image.root)
    for path, status in entries(image.root):
        if path.startswith("/usr/lib/") and ".so" in path and stat.S_ISREG(status.st_mode):
            require(path in loaded, f"no program loads {path}")


def check_wheels(image):
    """LibTorch's and NVIDIA's libraries are the bytes that their makers published."""
    folder = image.root / WHEELS
    recorded = {}
    for record in folder.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            recorded.update({name: checksum for name, checksum, _ in csv.reader(lines)})
    for name in ("torch", "nvidia"):
        for path in folder.glob(f"{name}/**/*.so*"):
            relative = str(path.relative_to(folder))
            require(relative in recorded, f"{relative} is not a file of any wheel")
            require(
                checksum_of(path) == recorded[relative], f"{relative} is not as it was published"
            )
    for metadata in folder.glob("*.dist-info/METADATA"):
        for name in re.findall(r"^License-File: (.*)$", metadata.read_text(), re.M):
            found = list(metadata.parent.rglob(name))
            require(found, f"{metadata.parent.name} lacks its license, {name}")


def checksum_of(path):
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def debian_packages(root):
    """{name: version} of the packages of which something is in the image."""
    packages = {}
    for path in root.joinpath(PACKAGES).iterdir():
        if path.suffix != ".md5sums":
            packages[path.name] = re.search(r"^Version: (.*)$", path.read_text(), re.M)[1]
    return packages


def check_packages(image):
    """Every file of Debian's is as its package has it, and every package has its license."""
    owned = set()
    for package in debian_packages(image.root):
        terms = image.root / "usr/share/doc" / package / "copyright"
        require(terms.is_file(), f"the license of {package} is missing")
        for line in image.root.joinpath(PACKAGES, f"{package}.md5sums").read_text().splitlines():
            checksum, path = line.split("  ", 1)
            require(
                hashlib.md5(image.root.joinpath(path).read_bytes()).hexdigest() == checksum,
                f"{path} is not as {package} has it",
            )
            owned.add(f"/{path}")
    for path, status in entries(image.root):
        if path.startswith("/usr/lib/") and stat.S_ISREG(status.st_mode):
            require(path in owned, f"{path} is of no package")


def sizes(root):
    """[what, bytes], the largest first."""
    groups = {
        "LibTorch, for the CPU": ["usr/local/lib/denoised/torch/lib/libtorch_cpu.so",
                                  "usr/local/lib/denoised/torch/lib/libc10.so",
                                  "usr/local/lib/denoised/torch/lib/libgomp.so.1"],
        "LibTorch and our module, for CUDA": ["usr/local/lib/denoised/torch/lib",
                                              "usr/local/lib/denoised/libdenoise_cuda.so"],
        "NVIDIA's libraries": ["usr/local/lib/denoised/nvidia"],
        "licenses and lists of files of the wheels": ["usr/local/lib/denoised"],
        "denoised": ["usr/local/bin/denoised"],
        "denoise": ["usr/local/bin/denoise"],
        "Debian's libraries": ["usr/lib", "usr/lib64"],
        "the starter model": ["models"],
        "licenses, certificates, SBOM": ["usr/share", "etc", "var"],
    }  # fmt: skip
    counted = set()
    table = []
    for what, places in groups.items():
        size = 0
        for path, status in entries(root):
            place = path[1:]
            inside = any(place == name or place.startswith(f"{name}/") for name in places)
            if inside and path not in counted and stat.S_ISREG(status.st_mode):
                counted.add(path)
                size += status.st_size
        table.append((what, size))
    rest = [path for path, status in entries(root) if stat.S_ISREG(status.st_mode)]
    require(set(rest) == counted, f"unknown: {sorted(set(rest) - counted)[:5]}")
    return sorted(table, key=lambda row: -row[1])


def check_size(image):
    total = sum(size for _, size in sizes(image.root))
    require(
        total <= image.bytes_max, f"{total / 1e6:.0f} MB, more than {image.bytes_max / 1e6:.0f}"
    )
