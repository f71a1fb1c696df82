"""Images for containers, made of files of this machine, as archives that containerd imports.

No registry and no Docker are needed, but what is in them is not what the Dockerfile makes: the
release build as it is installed, with the libraries of this machine.
"""

import hashlib
import io
import json
import os
import pathlib
import platform
import re
import subprocess
import tarfile

from api_server import Failure

SYSTEM_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
TOOLS = ["sh", "sleep", "tar", "mv", "ls"]  # kubectl cp needs tar


def files_below(folder, place):
    folder = pathlib.Path(folder)
    return {
        f"{place}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()
    }


def libraries(program):
    """What the loader would load for a program from this machine's own folders, by its place."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    paths = re.findall(r"(/\S+) \(0x", listed.stdout)
    return {path: pathlib.Path(path) for path in paths if path.startswith(SYSTEM_FOLDERS)}


def with_libraries(files):
    found = {}
    for path in files.values():
        if isinstance(path, pathlib.Path) and (os.access(path, os.X_OK) or ".so" in path.name):
            found |= libraries(path)
    return found | files


def tools(names):
    places = {f"/usr/bin/{name}": pathlib.Path("/usr/bin") / name for name in names}
    return {
        place: path if path.exists() else pathlib.Path("/bin") / path.name
        for place, path in places.items()
    }


def installed(build, folder):
    """The files that the release build installs, below /usr/local."""
    if not (pathlib.Path(build) / "bin/denoised").exists():
        raise Failure(
            f"{build} has no denoised. Build it first: cmake --preset release && "
            "cmake --build --preset release --target denoised denoise"
        )
    done = subprocess.run(
        ["cmake", "--install", str(build), "--strip", "--prefix", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(f"cmake --install {build}: {done.stderr.strip()}")
    return files_below(folder, "/usr/local")


def _add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(data))


def _write_layer(path, files):
    folders = {str(parent) for place in files for parent in pathlib.PurePosixPath(place).parents}
    with tarfile.open(path, "w") as layer:
        for folder in sorted(folders - {"/"}):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o755
            layer.addfile(entry)
        for place, source in sorted(files.items()):
            if isinstance(source, bytes):
                _add(layer, place.lstrip("/"), source)
                continue
            with open(source, "rb") as content:
                entry = layer.gettarinfo(arcname=place.lstrip("/"), fileobj=content)
                entry.type = tarfile.REGTYPE  # a second name of a file is a file of its own here
                entry.linkname = ""
                entry.size = os.fstat(content.fileno()).st_size
                entry.uid = entry.gid = 0
                layer.addfile(entry, content)


def write(archive, name, files, **config):
    """Writes an image in the format of `docker save`."""
    archive = pathlib.Path(archive)
    layer = archive.with_suffix(".layer")
    _write_layer(layer, files)
    with open(layer, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(archive, "w") as output:
        _add(output, "config.json", json.dumps(image).encode())
        output.add(layer, f"{digest}/layer.tar")
        _add(output, "manifest.json", json.dumps(manifest).encode())
    layer.unlink()
    return archive
