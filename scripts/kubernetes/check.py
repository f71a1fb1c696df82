"""Applies deploy/kubernetes to an API server; scripts/check-kubernetes runs it."""

import json
import os
import pathlib
import signal
import sys
import tempfile

import controls
import node
import programs
import rules
import yaml
from api_server import ApiServer, Failure
from kubernetes_validate import utils as schemas
from manifests import Manifests, differences, name_of, pods

# preStop.sleep came with 1.30. Volumes of images came with 1.33, switched off until 1.35.
OLDEST = (1, 30)
OLDEST_WITH_IMAGE_VOLUMES = (1, 33)
# Kubernetes has no schemas of these; their definitions are applied to the API server.
GROUPS_OF_OTHERS = {"gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com"}
STRICT = ["--server-side", "--validate=strict", "--warnings-as-errors"]


def refuse_warnings(done, what):
    if done.returncode != 0 or "Warning" in done.stderr:
        raise Failure(f"{what}: {done.stderr.strip()}")


def apply(server, objects):
    text = yaml.safe_dump_all(objects)
    refuse_warnings(server.kubectl("apply", *STRICT, "-f", "-", stdin=text), "kubectl apply")
    read = json.loads(server.must("get", "-o", "json", "-f", "-", stdin=text))
    stored = read["items"] if read["kind"] == "List" else [read]
    for sent, got in zip(objects, stored, strict=True):
        if found := list(differences(sent, got)):
            raise Failure(f"{name_of(sent)}: {'; '.join(found)}")


def admit_pods(server, objects):
    """Asks whether the pods would be admitted, which the controllers ask only later."""
    for pod in pods(objects):
        done = server.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-",
            stdin=yaml.safe_dump(pod | {"metadata": pod["metadata"] | {"name": "admitted"}}),
        )  # fmt: skip
        refuse_warnings(done, f"{name_of(pod)} as a pod")


def check(server, objects):
    try:
        apply(server, objects)
        admit_pods(server, objects)
    finally:
        remove(server, objects)
    if complaints := rules.broken(objects):
        raise Failure("; ".join(complaints))


def remove(server, objects):
    """Leaves the namespaces empty: no controller is there to delete them."""
    others = [thing for thing in objects if thing["kind"] != "Namespace"]
    server.must(
        "delete",
        "--cascade=background",
        "--ignore-not-found",
        "-f",
        "-",
        stdin=yaml.safe_dump_all(others),
    )


def check_controls(server, built):
    for change, target, expected in controls.CONTROLS:
        bad = controls.spoiled(change, built[target])
        try:
            check(server, bad)
        except Failure as failure:
            if expected not in str(failure):
                raise Failure(
                    f"{change.__name__} failed for another reason than {expected!r}: {failure}"
                ) from failure
        else:
            raise Failure(f"the check accepts {target} with {change.__name__}")


def versions():
    """Every version of Kubernetes that the manifests are for, and whose schemas are known."""
    known = {tuple(int(part) for part in text.split(".")[:2]) for text in schemas.all_versions()}
    return sorted(version for version in known if version >= OLDEST)


def is_defined_in(thing, version):
    if thing["apiVersion"].split("/")[0] in GROUPS_OF_OTHERS:
        return False
    volumes = (
        thing["spec"].get("template", {}).get("spec", {}).get("volumes", [])
        if "spec" in thing
        else []
    )
    return version >= OLDEST_WITH_IMAGE_VOLUMES or not any("image" in volume for volume in volumes)


def validate(objects, version):
    """Returns how many objects this version of Kubernetes defines; fails if one is not valid."""
    text = f"{version[0]}.{version[1]}"
    defined = [thing for thing in objects if is_defined_in(thing, version)]
    for thing in defined:
        try:
            schemas.validate(thing, text, strict=True)
        except schemas.ValidationError as error:
            raise Failure(f"{name_of(thing)} in Kubernetes {text}: {error.message}") from error
    return len(defined)


def unique(built):
    return list(
        {json.dumps(thing, sort_keys=True): thing for thing in sum(built.values(), [])}.values()
    )


def check_everything(server, built, definitions):
    for definition in sorted(definitions.glob("*.yaml")):
        server.must("apply", "--server-side", "-f", str(definition))
        names = server.must("get", "-f", str(definition), "-o", "name")
        server.must("wait", "--for=condition=Established", "--timeout=60s", *names.split())
    for name, objects in built.items():
        check(server, objects)
        print(f"ok: {name}: {len(objects)} objects applied and read back", flush=True)
    check_controls(server, built)
    print(f"ok: {len(controls.CONTROLS)} bad manifests refused, each for its reason", flush=True)


def check_manifests():
    home = programs.prepare(programs.OF_A_SERVER)
    with tempfile.TemporaryDirectory(prefix="check-kubernetes-") as folder:
        built = Manifests(home / "bin/kubectl", folder).all()
        flags = [
            "--feature-gates=ImageVolume=true",
            # It keeps claims until a controller says that no pod uses them, and none is there.
            "--disable-admission-plugins=StorageObjectInUseProtection",
        ]
        with ApiServer(home / "bin", folder, flags=flags) as server:
            print(f"ok: Kubernetes {programs.version()} serves", flush=True)
            check_everything(server, built, home / "definitions")
    for version in versions():
        count = validate(unique(built), version)
        print(f"ok: {count} objects are valid in Kubernetes {version[0]}.{version[1]}", flush=True)


def check_node(build):
    if os.geteuid() != 0:
        raise Failure("a node needs root")
    home = programs.prepare(programs.OF_A_NODE)
    group = f"check-kubernetes-{os.getpid()}"
    with (
        tempfile.TemporaryDirectory(prefix="check-kubernetes-") as folder,
        node.control_group(group),
    ):
        main_program = pathlib.Path(__file__).with_name("node_check.py")
        command = [sys.executable, main_program, home, build, folder, group]
        with node.isolated(command) as process:
            try:
                code = process.wait()
            finally:
                process.kill()  # and with it all that runs there
    if code != 0:
        sys.exit(1)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    check_manifests()
    if sys.argv[1:2] == ["--node"]:
        check_node(pathlib.Path(*sys.argv[2:3] or ["build/release"]).resolve())


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"check-kubernetes: {failure}")
