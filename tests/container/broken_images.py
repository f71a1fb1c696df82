"""Images that are broken on purpose, and the check that has to notice."""

import json
import os
import shutil

import contents
import sbom


def library(image, name):
    return next(image.root.glob(f"usr/lib/*/{name}"))


def remove_library(image):
    library(image, "libsodium.so.23").unlink()


def add_library(image):
    shutil.copy(library(image, "libsodium.so.23"), image.root / "usr/lib/libunused.so.1")


def change_library(image):
    append(library(image, "libsodium.so.23").resolve())


def change_wheel(image):
    append(image.root / contents.WHEELS / "torch/lib/libc10.so")


def append(path):
    with path.open("ab") as file:
        file.write(b"\0")


def add_shell(image):
    image.root.joinpath("usr/bin").mkdir()
    shutil.copy("/bin/sh", image.root / "usr/bin/sh")


def add_setuid(image):
    image.root.joinpath("usr/local/bin/denoise").chmod(0o4755)


def give_to_user(image):
    os.chown(image.root / "models", contents.USER, contents.USER)


def grow(image):
    with image.root.joinpath("models/large").open("wb") as file:
        file.truncate(image.bytes_max)


def run_as_root(image):
    image.config["User"] = "0:0"


def forget_health(image):
    image.config.pop("Healthcheck")


def start_through_shell(image):
    image.config["Entrypoint"] = ["/bin/sh", "-c", "/usr/local/bin/denoised"]


def forget_revision(image):
    image.config["Labels"]["org.opencontainers.image.revision"] = "unknown"


def forget_component(image):
    def drop(components):
        return [component for component in components if component["name"] != "torch"]

    change_sbom(image, lambda found: found | {"components": drop(found["components"])})


def misspell_sbom(image):
    change_sbom(image, lambda found: found | {"componets": []})


def change_sbom(image, change):
    path = image.root / sbom.PLACE
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


BROKEN_CONTENTS = {
    "a missing library": (remove_library, contents.check_libraries),
    "a library too many": (add_library, contents.check_libraries),
    "a changed library of Debian's": (change_library, contents.check_packages),
    "a changed library of LibTorch's": (change_wheel, contents.check_wheels),
    "a shell": (add_shell, contents.check_no_shell),
    "a setuid program": (add_setuid, contents.check_modes),
    "a folder that the server's user may change": (give_to_user, contents.check_modes),
    "an image that is too large": (grow, contents.check_size),
    "root as its user": (run_as_root, contents.check_user),
    "no health check": (forget_health, contents.check_health_check),
    "a start through a shell": (start_through_shell, contents.check_start),
    "a label without a value": (forget_revision, contents.check_labels),
    "an SBOM without LibTorch": (forget_component, sbom.check_sbom),
    "an SBOM with a key of its own": (misspell_sbom, sbom.check_sbom),
}
BROKEN_RUNS = {
    "a server that lacks a library": remove_library,
    "a server that runs as root": run_as_root,
}
