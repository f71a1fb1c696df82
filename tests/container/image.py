"""Builds the image with buildah, without a daemon and without a registry."""

import json
import os
import pathlib
import shutil
import subprocess

from steps import heading, output_of, require

BASE = "localhost/debian:12"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
# Trusted by pip and npm in the build, beside what they bring along: a machine may be behind a proxy
# that shows a certificate of its own.
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
CERTIFICATES_IN_BASE = "/etc/host-certificates.crt"


class Builder:
    """A storage of images of its own. Its mounts are in the mount namespace of this process."""

    def __init__(self, storage, cache):
        self.storage = storage
        self.cache = cache  # of downloads and compiled files, for the next run
        storage.mkdir(parents=True, exist_ok=True)
        share_compiler_cache(cache)

    def buildah(self, *words):
        return output_of(*self.command(*words), env=self.environment()).strip()

    def command(self, *words):
        flags = ["--root", self.storage / "images", "--runroot", self.storage / "run"]
        return ["buildah", *flags, "--storage-driver=overlay", *words]

    def environment(self):
        """buildah keeps the caches of `RUN --mount=type=cache` in TMPDIR."""
        return os.environ | {"TMPDIR": str(self.cache)}

    def has(self, image):
        images = json.loads(self.buildah("images", "--json"))
        return any(image in (known.get("names") or []) for known in images)

    def make_base(self):
        """What registries call debian:12, or near enough: the smallest set of packages."""
        heading(f"{BASE}, with debootstrap")
        if self.has(BASE):
            print("   kept from an earlier run")
            return
        container = self.buildah("from", "scratch")
        root = pathlib.Path(self.buildah("mount", container))
        # As in the registries' image: nobody misses half a package after a loss of power.
        dpkg = root / "etc/dpkg/dpkg.cfg.d"
        dpkg.mkdir(parents=True)
        dpkg.joinpath("unsafe-io").write_text("force-unsafe-io\n")
        packages = self.cache / "debootstrap"
        packages.mkdir(exist_ok=True)
        output_of(
            "debootstrap", "--variant=minbase", f"--cache-dir={packages}", SUITE, root, MIRROR
        )
        root.joinpath("etc/apt/sources.list").write_text(
            f"deb {MIRROR} {SUITE} main\n"
            f"deb {MIRROR} {SUITE}-updates main\n"
            f"deb {SECURITY_MIRROR} {SUITE}-security main\n"
        )
        if CERTIFICATES.exists():
            root.joinpath(CERTIFICATES_IN_BASE.lstrip("/")).write_bytes(CERTIFICATES.read_bytes())
            for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS"):
                self.buildah("config", "--env", f"{name}={CERTIFICATES_IN_BASE}", container)
        self.buildah("umount", container)
        self.buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, repository, name, arguments):
        heading(f"{name}, with buildah")
        flags = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        # Docker's format, because OCI's has no health check.
        built = subprocess.run(
            self.command(
                "bud", "--isolation=chroot", "--format=docker", "--layers", "--pull-never", *flags,
                f"--build-arg=BASE={BASE}", f"--tag={name}", repository,
            ),
            env=self.environment(), check=False,
        )  # fmt: skip
        require(built.returncode == 0, "the image was not built; what is above says why")

    def config(self, image):
        return json.loads(self.buildah("inspect", "--type=image", image))["Docker"]["config"]

    def mount(self, image):
        """A copy of the image that can be changed, and the folder where it is."""
        container = self.buildah("from", "--pull-never", image)
        return container, pathlib.Path(self.buildah("mount", container))

    def remove(self, container):
        self.buildah("rm", container)

    def compressed_bytes(self, image):
        """What a registry holds of the image, and what a machine downloads of it."""
        folder = self.storage / "pushed"
        shutil.rmtree(folder, ignore_errors=True)
        self.buildah("push", "--quiet", image, f"oci:{folder}")
        return sum(blob.stat().st_size for blob in folder.glob("blobs/sha256/*"))


def share_compiler_cache(cache):
    """Lets the build take what this machine has compiled before, and the other way round."""
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    shared = home / "ccache"
    shared.mkdir(parents=True, exist_ok=True)
    for name in ("buildah-cache", f"buildah-cache-{os.getuid()}"):  # depends on buildah's version
        goal = cache / name / "denoised-cache/ccache"
        goal.mkdir(parents=True, exist_ok=True)
        output_of("mount", "--bind", shared, goal)
