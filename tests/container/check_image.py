"""Builds the image, looks into it and runs it. scripts/check-container runs it, in namespaces."""

import argparse
import contextlib
import copy
import pathlib
import shutil
import subprocess
import sys

import contents
import sbom
import serving
import yaml
from broken_images import BROKEN_CONTENTS, BROKEN_RUNS
from check_compose import check_compose
from container import hide_hybrid_cgroups
from image import BASE, Builder
from steps import CheckFailed, heading, must_fail, output_of, passed, require

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / "build/release/bin"
COMPOSE = REPOSITORY / "deploy/compose.yaml"
BYTES_MAX = {"cpu": 1_200_000_000, "cuda": 8_000_000_000}
CHECKS = {
    contents.check_size: "no larger than it may be",
    contents.check_start: "starts denoised, with its ports",
    contents.check_user: "runs as user 10001",
    contents.check_health_check: "asks denoise health for its health",
    contents.check_labels: "labels",
    contents.check_no_shell: "no shell, and no program but denoised and denoise",
    contents.check_modes: "nothing setuid, nothing that its user may change",
    contents.check_libraries: "every library that it loads, and no other",
    contents.check_wheels: "LibTorch's files are those of the official wheels",
    contents.check_packages: "every file of Debian's with its package and license",
    sbom.check_sbom: "a valid SBOM that lists every package, wheel and npm package",
}


class Checker:
    def __init__(self, builder, name, kind):
        self.builder = builder
        self.name = name
        self.kind = kind
        self.config = builder.config(name)
        self.runs = 0
        shutil.rmtree(builder.storage / "runs", ignore_errors=True)

    @contextlib.contextmanager
    def image(self):
        """A copy of the image, which may be broken."""
        container, root = self.builder.mount(self.name)
        try:
            config = copy.deepcopy(self.config)
            yield contents.Image(root, config, self.version(), BYTES_MAX[self.kind])
        finally:
            self.builder.remove(container)

    def version(self):
        text = REPOSITORY.joinpath("CMakeLists.txt").read_text()
        return text.partition("project(denoised VERSION ")[2].split()[0]

    def folder(self):
        """A new one, for one run of the container."""
        self.runs += 1
        return self.builder.storage / f"runs/{self.runs}"

    def check_contents(self):
        heading("what is in the image")
        with self.image() as image:
            rows = contents.sizes(image.root)
            compressed = self.builder.compressed_bytes(self.name)
            for what, size in [
                *rows,
                ("in all", sum(size for _, size in rows)),
                ("compressed, to download", compressed),
            ]:
                if size:
                    print(f"   {size / 1e6:8.1f} MB  {what}")
            print(f"   of Debian: {', '.join(sorted(contents.debian_packages(image.root)))}")
            for check, what in CHECKS.items():
                check(image)
                passed(what)

    def check_serving(self):
        heading("the server in the container")
        hide_hybrid_cgroups()
        with self.image() as image:
            serving.check_serves(self.folder(), image.root, image.config)
            serving.check_state(self.folder(), image.root, image.config)
            if PROGRAMS.joinpath("denoised").exists():
                serving.check_same_bytes(self.folder(), image.root, image.config, PROGRAMS)
            else:
                print("   not compared with a server of this machine: build/release has none")

    def check_composed(self):
        heading("deploy/compose.yaml, started by podman-compose")
        services = yaml.safe_load(COMPOSE.read_text())["services"]
        self.builder.buildah("tag", self.name, f"localhost/{services['denoised']['image']}")
        folder = self.folder()
        folder.mkdir(parents=True)
        make_prometheus(self.builder, folder, services["prometheus"]["image"])
        # A network of its own, so that ports of this machine are not in the way.
        script = pathlib.Path(__file__).with_name("check_composed.py")
        command = ["unshare", "--net", "--mount", sys.executable, script]
        done = subprocess.run([*command, COMPOSE, self.builder.storage, folder], check=False)
        require(done.returncode == 0, "deploy/compose.yaml does not start")

    def check_checks(self):
        heading("broken on purpose")
        for what, (break_it, check) in BROKEN_CONTENTS.items():
            with self.image() as image:
                break_it(image)
                must_fail(what, check, image)
        for what, break_it in BROKEN_RUNS.items():
            with self.image() as image:
                break_it(image)
                must_fail(what, serving.check_starts, self.folder(), image.root, image.config)


def make_prometheus(builder, folder, name):
    """What the compose file pulls, made of Debian's packages: there need be no registry. They are
    unpacked and not installed, because Prometheus's starts it."""
    download(["prometheus", "busybox-static"], folder)
    for package in folder.glob("*.deb"):
        output_of("dpkg-deb", "--extract", package, folder / "files")
    (folder / "files/bin/wget").symlink_to("busybox")
    container = builder.buildah("from", "--pull-never", BASE)
    for programs in ("usr/bin", "bin"):
        builder.buildah("copy", container, folder / "files" / programs, "/usr/bin")
    builder.buildah("run", "--isolation=chroot", container, "install", "--directory",
                    "--owner=nobody", "/prometheus")  # fmt: skip
    builder.buildah("config", "--user=nobody", '--entrypoint=["/bin/prometheus"]', container)
    builder.buildah("commit", "--quiet", "--rm", container, name)


def download(packages, folder):
    # apt reads as a user of its own, who cannot write to the folder.
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
    if subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        output_of("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "update")
        output_of(*command, cwd=folder)


def build(cache, kind):
    builder = Builder(cache / "storage", cache)
    builder.make_base()
    commit, date = output_of("git", "-C", REPOSITORY, "log", "-1", "--format=%H %cI").split()
    name = f"localhost/denoised:{kind}"
    arguments = {"CUDA": int(kind == "cuda"), "REVISION": commit, "CREATED": date}
    builder.build(REPOSITORY, name, arguments)
    return Checker(builder, name, kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--cuda", action="store_true")
    flags = parser.parse_args()
    try:
        checker = build(flags.cache, "cuda" if flags.cuda else "cpu")
        checker.check_contents()
        checker.check_serving()
        checker.check_composed()
        checker.check_checks()
        check_compose()
    except CheckFailed as failure:
        sys.exit(f"check-container: {failure}")
    print("\ncheck-container: passed")


if __name__ == "__main__":
    main()
