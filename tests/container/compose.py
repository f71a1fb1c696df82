"""deploy/compose.yaml: as the specification has it, confined, and with files that exist."""

import pathlib
import re
import subprocess
import sys

import yaml
from steps import require

TOOLS = pathlib.Path(sys.executable).parent


def check_schema(file):
    """The Compose Specification's own schema."""
    checked = subprocess.run(
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    require(checked.returncode == 0, f"{file.name} is not a compose file: {checked.stdout}")


def resolved(file):
    """The services as podman-compose would start them."""
    parsed = subprocess.run(
        [TOOLS / "podman-compose", "--profile", "gpu", "--file", file, "config"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    require(parsed.returncode == 0, f"podman-compose cannot read {file.name}: {parsed.stdout}")
    return yaml.safe_load(parsed.stdout)["services"]


def check_services(file):
    services = resolved(file)
    require(
        set(services) == {"denoised", "denoised-gpu", "prometheus", "grafana"},
        f"the services are {sorted(services)}",
    )
    for name, service in services.items():
        require(service.get("read_only") is True, f"{name} can write to its root")
        require(service.get("cap_drop") == ["ALL"], f"{name} keeps capabilities")
        require("no-new-privileges:true" in service.get("security_opt", []), f"{name} gains rights")
        require("healthcheck" in service, f"{name} has no health check")
        require(
            re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", service["image"]),
            f"{name} has no pinned version: {service['image']}",
        )
        for port in service["ports"]:
            require(
                str(port).startswith("127.0.0.1:"), f"{name} listens beyond this machine: {port}"
            )
        for volume in service["volumes"]:
            source = str(volume).rpartition(":/")[0].partition(":/")[0]
            if source.startswith("."):
                require(
                    (file.parent / source).exists(), f"{name} mounts {source}, which is not there"
                )
    for name in ("denoised", "denoised-gpu"):
        require(services[name]["ulimits"]["nofile"] == 65536, f"{name} has few open files")
    require("gpu" in services["denoised-gpu"]["profiles"], "denoised-gpu starts by itself")


def check_provisioning(file):
    """Grafana reads the dashboard from where it is mounted, with the data source that there is."""
    services = yaml.safe_load(file.read_text())["services"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    folder = file.parent / "grafana/provisioning"
    providers = yaml.safe_load(folder.joinpath("dashboards/denoised.yaml").read_text())["providers"]
    path = providers[0]["options"]["path"]
    require(f"{path}/denoised.json" in mounted, f"no dashboard is mounted in {path}")
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    require(home in mounted, f"the home dashboard {home} is not mounted")
    sources = yaml.safe_load(folder.joinpath("datasources/prometheus.yaml").read_text())
    require(
        [source["url"] for source in sources["datasources"]] == ["http://prometheus:9090"],
        "the data source is not the Prometheus of compose.yaml",
    )
