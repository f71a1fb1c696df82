"""The objects of deploy/kubernetes, as users apply them: built by the kustomize of kubectl."""

import pathlib
import subprocess
import textwrap

import yaml
from api_server import Failure

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
LOADER = FOLDER / "model-loader.yaml"
ALERTS = ROOT / "deploy/prometheus/rules.yml"

OVERLAY_WITH_COMPONENT = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: denoised
resources:
  - {overlay}
components:
  - {component}
"""


class Manifests:
    def __init__(self, kubectl, scratch):
        self._kubectl = kubectl
        self._scratch = pathlib.Path(scratch)

    def all(self):
        """The objects of everything that can be applied, by its name."""
        overlays = sorted(path.parent for path in FOLDER.glob("overlays/*/kustomization.yaml"))
        built = {"base": self.build(FOLDER / "base")}
        for overlay in overlays:
            built[f"overlays/{overlay.name}"] = self.build(overlay)
        built["example"] = self.build(FOLDER / "example")
        built["overlays/cpu with components/models-image"] = self.build(
            overlay_with("models-image", "cpu", self._scratch)
        )
        built["model-loader.yaml beside overlays/gpu"] = [
            *built["overlays/gpu"],
            yaml.safe_load(LOADER.read_text(encoding="utf-8")),
        ]
        built["deploy/prometheus/rules.yml as a PrometheusRule"] = [
            *built["overlays/monitoring"],
            yaml.safe_load(prometheus_rule()),
        ]
        return built

    def build(self, folder):
        done = subprocess.run(
            [self._kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
        )
        # Kustomize writes what is deprecated to standard error, and succeeds.
        if done.returncode != 0 or done.stderr:
            raise Failure(f"kubectl kustomize {folder}: {done.stderr.strip()}")
        return list(yaml.safe_load_all(done.stdout))


def overlay_with(component, overlay, scratch, manifests=FOLDER):
    """Writes a kustomization of one of our overlays and a component into a new folder."""
    folder = pathlib.Path(scratch).resolve() / f"{overlay}-{component}"
    folder.mkdir()
    up = "/".join([".."] * len(folder.parts[1:]))  # kustomize takes no absolute paths
    text = OVERLAY_WITH_COMPONENT.format(
        overlay=f"{up}{manifests}/overlays/{overlay}",
        component=f"{up}{manifests}/components/{component}",
    )
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return folder


def prometheus_rule():
    """As docs/operate.md makes it."""
    head = (FOLDER / "overlays/monitoring/prometheus-rule.yaml").read_text(encoding="utf-8")
    return head + textwrap.indent(ALERTS.read_text(encoding="utf-8"), "  ")


def name_of(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def of_kind(objects, *kinds):
    return [thing for thing in objects if thing["kind"] in kinds]


def workloads(objects):
    return of_kind(objects, "Deployment", "StatefulSet", "Job")


def pod_of(workload):
    """The pod that a workload makes, with claims for what a StatefulSet makes claims for."""
    template = workload["spec"]["template"]
    spec = dict(template["spec"])
    spec["volumes"] = list(spec.get("volumes", []))
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        source = {"claimName": f"{name}-{workload['metadata']['name']}-0"}
        spec["volumes"].append({"name": name, "persistentVolumeClaim": source})
    metadata = dict(template["metadata"])
    metadata |= {
        "name": workload["metadata"]["name"],
        "namespace": workload["metadata"]["namespace"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pods(objects):
    return [pod_of(workload) for workload in workloads(objects)] + of_kind(objects, "Pod")


def differences(sent, stored, path=""):
    """Where `stored` lacks something of `sent`, or has something else in its place."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        for key, value in sent.items():
            if key in stored:
                yield from differences(value, stored[key], f"{path}.{key}")
            elif value is not None:
                yield f"{path}.{key} was dropped"
    elif isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        for index, (one, other) in enumerate(zip(sent, stored, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif sent != stored:
        yield f"{path} was sent as {sent!r} and is stored as {stored!r}"
