"""What the checks on a node share: images, volumes, a folder to work in, and commands run there."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import images
from api_server import Failure
from manifests import FOLDER, ROOT
from node import SANDBOX

MODELS = ROOT / "deploy/models"
RUN_SECONDS = 900
PATIENCE_SECONDS = 240
# Our pods ask for more than a small machine has.
SMALLER = {
    'cpu: "4"': "cpu: 100m",
    "memory: 2Gi": "memory: 256Mi",
    "--threads=4": "--threads=1",
}
CLAIMS = {
    "denoised-models": "ReadWriteMany",
    "state-denoised-training-0": "ReadWriteOncePod",
    "models-denoised-training-0": "ReadWriteOncePod",
}
MODEL_LOADER = "busybox:1.37"
HOSTS = pathlib.Path("/etc/hosts")
ALL_OF_US = ["-l", "app.kubernetes.io/name=denoised"]


def wait_until(what, condition, details=lambda: ""):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {PATIENCE_SECONDS} s: {what}\n{details()}")
        time.sleep(0.5)


def import_images(node, build, folder):
    files = images.installed(build, folder / "installed") | images.files_below(MODELS, "/models")
    deployment = (FOLDER / "base/deployment.yaml").read_text(encoding="utf-8")
    denoised = re.search(r"image: (denoised:\S+)", deployment)[1]
    sandbox = images.with_libraries(images.tools(["sleep"]))
    busybox = images.with_libraries(images.tools(images.TOOLS))
    for name, content, config in (
        (denoised, images.with_libraries(files), {"Entrypoint": ["denoised"], "User": "10001"}),
        (MODEL_LOADER, busybox, {}),
        ("denoised-models:1", images.files_below(MODELS, ""), {}),
        (SANDBOX, sandbox, {"Entrypoint": ["sleep", "infinity"]}),
    ):
        path = "PATH=/usr/local/bin:/usr/bin"
        name = f"docker.io/library/{name}"
        archive = images.write(folder / "image.tar", name, content, Env=[path], **config)
        node.import_image(archive)
        archive.unlink()
    shutil.rmtree(folder / "installed")


def volumes(folder):
    """Volumes for all that our pods claim: folders of this machine. The state's has little room."""
    state = folder / "state-denoised-training-0"
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", state], check=True)
    for claim, mode in CLAIMS.items():
        (folder / claim).mkdir(exist_ok=True)
        os.chown(folder / claim, 10001, 10001)
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": claim},
            "spec": {
                "accessModes": [mode],
                "capacity": {"storage": "500Gi"},
                "claimRef": {"namespace": "denoised", "name": claim},
                "hostPath": {"path": str(folder / claim)},
                "storageClassName": "",
            },
        }


class Names:
    """Does with /etc/hosts what the cluster's DNS does for headless services."""

    def __init__(self, node, folder):
        self._node = node
        self._file = folder / "hosts"
        self._file.touch()
        self._write([])
        subprocess.run(["mount", "--bind", self._file, HOSTS], check=True)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._over.set()
        self._thread.join()

    @staticmethod
    def wait_for(name):
        wait_until(f"{name} has an address", lambda: name in HOSTS.read_text(encoding="utf-8"))

    def _follow(self):
        while not self._over.wait(0.3):
            try:
                path = "/apis/discovery.k8s.io/v1/namespaces/denoised/endpointslices"
                slices = json.loads(self._node.get(path))["items"]
            except OSError:
                continue
            self._write([line for piece in slices for line in self._lines(piece)])

    @staticmethod
    def _lines(piece):
        service = piece["metadata"]["labels"]["kubernetes.io/service-name"]
        for endpoint in piece["endpoints"] or []:
            if endpoint["conditions"].get("ready"):
                yield f"{endpoint['addresses'][0]} {service}.denoised.svc"

    def _write(self, lines):
        """In one piece and always as long: a reader finds all of the old or all of the new."""
        text = "\n".join(["127.0.0.1 localhost", *lines]).ljust(4095, "\n") + "\n"
        with open(self._file, "r+b", buffering=0) as file:
            file.write(text.encode())


class World:
    def __init__(self, node, home, build, folder):
        self.node = node
        self.folder = folder
        self.manifests = folder / "deploy/kubernetes"
        self._environment = os.environ | {
            "PATH": f"{home / 'bin'}:{build / 'bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(node.kubeconfig),
            "HOME": str(folder),
        }
        shutil.copytree(ROOT / "deploy", folder / "deploy")
        for file in self.manifests.rglob("*.yaml"):
            text = file.read_text(encoding="utf-8")
            for large, small in SMALLER.items():
                text = text.replace(large, small)
            file.write_text(text, encoding="utf-8")

    def start(self, *command):
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def attempt(self, *command):
        """Returns the exit code and what was printed, on both streams."""
        process = self.start(*command)
        try:
            printed, _ = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failure(f"{' '.join(command)} takes more than {RUN_SECONDS} s") from None
        return process.returncode, printed

    def run(self, *command):
        """Returns what was printed; fails if the command did."""
        code, printed = self.attempt(*command)
        if code != 0:
            raise Failure(f"{' '.join(command)}:\n{printed}\n{self.describe()}")
        return printed

    def describe(self):
        pods = self._kubectl("get", "pods", "-o", "wide")
        events = self._kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()[-12:]
        return "\n".join([pods, *events, self._kubectl("logs", *ALL_OF_US, "--tail=5")])

    def _kubectl(self, *arguments):
        return self.node.kubectl("-n", "denoised", *arguments).stdout

    def denoise(self, *arguments, server="denoised", token="secrets/studio.token"):
        address = f"{server}.denoised.svc:50051"
        how = ["--server", address, "--tls-ca", "secrets/ca.crt", "--token-file", token]
        return ["denoise", *arguments, *how]

    def generate(self, out, *arguments):
        return self.denoise("generate", "--class-label", "people", "--out", out, *arguments)

    def apply(self, folder):
        self.run("kubectl", "apply", "--server-side", "-k", str(folder))

    def wait_for_rollout(self, workload="deployment/denoised"):
        limit = f"--timeout={RUN_SECONDS}s"
        self.run("kubectl", "-n", "denoised", "rollout", "status", workload, limit)

    def pods(self):
        """Those that stay."""
        pods = json.loads(self._kubectl("get", "pods", *ALL_OF_US, "-o", "json"))["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
