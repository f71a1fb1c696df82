"""Runs denoised on a node as docs/operate.md says, and looks whether it keeps its promises.

The first process of its namespaces: `node.isolated` starts it. Arguments: the folder of programs,
the folder of the release build, a temporary folder, the name of a control group.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import threading
import time

import yaml
from api_server import Failure
from manifests import ROOT, overlay_with
from node import Node
from world import Names, World, import_images, volumes, wait_until

GUIDE = ROOT / "docs/operate.md"
TRAINING = "statefulset/denoised-training"
# For other names than anybody asks by.
WRONG_CERTIFICATE = """\
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout wrong.key -out wrong.crt \
  -subj /CN=elsewhere -addext subjectAltName=DNS:elsewhere
kubectl -n denoised create secret generic denoised-tls --from-file=tls.crt=wrong.crt \
  --from-file=tls.key=wrong.key --from-file=ca.crt=wrong.crt --dry-run=client -o yaml |
  kubectl replace -f -
"""
RIGHT_CERTIFICATE = """\
kubectl -n denoised create secret generic denoised-tls --from-file=secrets/tls.crt \
  --from-file=secrets/tls.key --from-file=secrets/ca.crt --dry-run=client -o yaml |
  kubectl replace -f -
"""
SMALL_JOB = """\
--height 32 --width 32 --block-out-channels 32,32 --layers-per-block 1 --no-attention
--batch-size 8 --max-steps 100000 --checkpoint-every 20 --sample-every 0
"""


def say(text):
    print(f"ok: {text}", flush=True)


def follow_the_guide(world):
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    token, kept = world.folder / "secrets/studio.token", world.folder / "leaked.token"
    for block in blocks:
        world.run("bash", "-euo", "pipefail", "-c", block)
        if token.exists() and not kept.exists():
            shutil.copy(token, kept)  # the guide replaces it later
    say(f"{len(blocks)} blocks of commands of {GUIDE.relative_to(ROOT)}")


def a_leaked_token_is_refused(world):
    said = []

    def is_refused():
        code, printed = world.attempt(*world.denoise("models", token="leaked.token"))
        said.append(printed)
        return code != 0 and "the credentials are not valid" in printed

    wait_until("the old token is refused", is_refused, lambda: said[-1])
    world.run(*world.denoise("models"))
    say("a replaced secret changes who may call, without a restart")


def long_request(steps):
    return ["--count", "16", "--seed", "117", "--steps", str(steps)]


def steps_that_outlast_a_rollout(world):
    began = time.monotonic()
    world.run(*world.generate("measured", *long_request(100)))
    seconds = time.monotonic() - began
    return max(100, min(1000, round(100 * 150 / seconds)))


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("image-*.png")
    }


class ShortCalls:
    """Calls, one after the other, during a `with` block."""

    def __init__(self, world):
        self.count = 0
        self.failures = []
        self._world = world
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._over.set()
        self._thread.join()

    def _call(self):
        while not self._over.is_set():
            self.count += 1
            call = self._world.generate(f"short-{self.count}", "--steps", "2")
            code, printed = self._world.attempt(*call)
            if code != 0:
                self.failures.append(printed)


def a_rolling_update_loses_nothing(world):
    """A generation whose pod is replaced ends with the bytes that it has without."""
    steps = steps_that_outlast_a_rollout(world)
    world.run(*world.generate("undisturbed", *long_request(steps)))
    with ShortCalls(world) as calls:
        generation = world.start(*world.generate("disturbed", *long_request(steps)))
        world.run("kubectl", "-n", "denoised", "rollout", "restart", "deployment/denoised")
        world.wait_for_rollout()
        printed, _ = generation.communicate()
    if generation.returncode != 0:
        raise Failure(f"a generation does not survive a rolling update:\n{printed}")
    if "continues on another server" not in printed:
        raise Failure(f"{steps} steps ended before their pod did")
    if calls.failures:
        raise Failure(f"{len(calls.failures)} of {calls.count} calls fail: {calls.failures[0]}")
    images = digests(world.folder / "undisturbed")
    if len(images) != 16 or digests(world.folder / "disturbed") != images:
        raise Failure("a rolling update changes the bytes of images")
    say(f"a rolling update: 16 images of {steps} steps continue elsewhere, with the same bytes")
    say(f"meanwhile {calls.count} short calls, none of which failed")


def status_of(world, name):
    """Of the only container of a pod. Empty until the kubelet has looked at it."""
    found = [pod for pod in world.pods() if pod["metadata"]["name"] == name]
    return next(iter(found[0]["status"].get("containerStatuses", [])), {}) if found else {}


def liveness_probes_passed(world, name):
    metrics = world.run("kubectl", "get", "--raw", "/api/v1/nodes/node/proxy/metrics/probes")
    lines = [
        line
        for line in metrics.splitlines()
        if line.startswith("prober_probe_total{")
        and all(
            label in line
            for label in (f'pod="{name}"', 'probe_type="Liveness"', 'result="successful"')
        )
    ]
    return sum(float(line.split()[-1]) for line in lines)


def a_wrong_certificate_restarts_no_pod(world):
    """A pod with it gets no calls, and starts and stays: no restart would repair it."""
    old = [pod["metadata"]["name"] for pod in world.pods()]
    world.run("bash", "-euo", "pipefail", "-c", WRONG_CERTIFICATE)
    for name in old:
        wait_until(
            f"{name} gets no calls",
            lambda name=name: status_of(world, name).get("ready") is False,
        )
    before = {name: liveness_probes_passed(world, name) for name in old}
    for name in old:
        wait_until(
            f"{name} passes its liveness probe twice",
            lambda name=name: liveness_probes_passed(world, name) >= before[name] + 2,
        )

    world.run("kubectl", "-n", "denoised", "delete", "pod", old[0])
    added = []

    def a_new_pod_has_started():
        added[:] = [pod["metadata"]["name"] for pod in world.pods()]
        return any(status_of(world, name).get("started") for name in set(added) - set(old))

    wait_until("a new pod passes its startup probe", a_new_pod_has_started, lambda: added)
    if any(status_of(world, name).get("ready") for name in added):
        raise Failure("a pod whose certificate has the wrong name is ready")

    world.run("bash", "-euo", "pipefail", "-c", RIGHT_CERTIFICATE)
    world.wait_for_rollout()
    say("a wrong certificate takes pods out of service, and restarts none")


def on_training_server(world, *arguments):
    return world.run(*world.denoise(*arguments, server="denoised-training"))


def job(world):
    return json.loads(on_training_server(world, "train", "get", "1", "--json"))


def newest_checkpoint(world):
    return int(job(world)["latest_checkpoint"].rpartition("/")[2] or 0)


def training_survives_its_pod(world):
    world.apply(world.manifests / "overlays/training")
    world.wait_for_rollout(TRAINING)
    Names.wait_for("denoised-training")
    pictures = world.folder / "pictures"
    pictures.mkdir()
    for path in (world.folder / "undisturbed").glob("image-*.png"):
        shutil.copy(path, pictures)
    on_training_server(world, "datasets", "upload", "pictures")
    on_training_server(world, "train", "create", "--dataset", "pictures", *SMALL_JOB.split())
    wait_until("the job saves a checkpoint", lambda: newest_checkpoint(world) > 0)

    before = newest_checkpoint(world)
    world.run("kubectl", "-n", "denoised", "delete", "pod", "denoised-training-0")
    world.wait_for_rollout(TRAINING)
    Names.wait_for("denoised-training")
    if int(job(world)["steps_done"]) < before:
        raise Failure(f"the job has lost its checkpoint {before}: {job(world)}")
    wait_until("the job saves another one", lambda: newest_checkpoint(world) > before)
    say("a job resumes from its checkpoint when the pod that trains is replaced")


def a_full_disk_pauses_training(world, state):
    filler = state / "filler"
    with open(filler, "wb") as file:
        free = os.statvfs(state).f_bavail * os.statvfs(state).f_frsize
        # No room for a checkpoint, but enough to write down why the job pauses.
        os.posix_fallocate(file.fileno(), 0, free - (2 << 20))
    wait_until("the job pauses", lambda: job(world)["state"] == "PAUSED", lambda: job(world))
    call = world.denoise("generate", "--class-label", "people", "--steps", "2", "--out", "full")
    world.run(*call)
    filler.unlink()
    wait_until("the job resumes", lambda: job(world)["state"] == "RUNNING", lambda: job(world))
    say("a full disk pauses training, and room resumes it")


def models_come_from(world, component):
    world.apply(overlay_with(component, "cpu", world.folder, world.manifests))
    world.wait_for_rollout()
    for pod in world.pods():
        names = [volume["name"] for volume in pod["spec"]["volumes"]]
        if "training" not in pod["metadata"]["name"] and "models" not in names:
            raise Failure(f"{pod['metadata']['name']} mounts no models")
    world.run(*world.generate(component, "--steps", "2"))
    say(f"{component}: pods serve the models that they mount")


def no_probe_ends_a_busy_pod(world):
    for pod in world.pods():
        for status in pod["status"]["containerStatuses"]:
            if status["restartCount"]:
                raise Failure(f"{pod['metadata']['name']} was restarted:\n{world.describe()}")
    say("no pod was restarted by its probes, however busy it was")


def main():
    home, build, folder = (pathlib.Path(argument) for argument in sys.argv[1:4])
    with Node(home, folder, sys.argv[4]) as node:
        import_images(node, build, folder)
        node.start_kubelet()
        claimed = yaml.safe_dump_all(volumes(folder / "volumes"))
        node.must("apply", "--server-side", "-f", "-", stdin=claimed)
        say("a node is ready")
        (folder / "work").mkdir()
        world = World(node, home, build, folder / "work")
        follow_the_guide(world)
        with Names(node, folder):
            a_leaked_token_is_refused(world)
            a_rolling_update_loses_nothing(world)
            no_probe_ends_a_busy_pod(world)
            a_wrong_certificate_restarts_no_pod(world)
            no_probe_ends_a_busy_pod(world)
            training_survives_its_pod(world)
            a_full_disk_pauses_training(world, folder / "volumes/state-denoised-training-0")
            models_come_from(world, "models-image")
            models_come_from(world, "models-pvc")
            no_probe_ends_a_busy_pod(world)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"check-kubernetes: {failure}")
