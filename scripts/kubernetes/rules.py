"""What the manifests promise that Kubernetes does not check: each rule returns what is wrong."""

import re

from manifests import ROOT, name_of, of_kind, pods, workloads

SECRETS = {"denoised-tokens", "denoised-handover"}
GRPC = {"grpc": {"port": 50051}}
# The kubelet verifies no certificate. The client does.
HTTPS = {"httpGet": {"scheme": "HTTPS", "port": "http", "path": "/healthz"}}
CLIENT = {"exec": {"command": ["denoise", "health"]}}
PROBES = {
    "startupProbe": {"plaintext": GRPC, "TLS": HTTPS},
    "readinessProbe": {"plaintext": GRPC, "TLS": CLIENT},
    "livenessProbe": {
        "plaintext": {"grpc": {"port": 50051, "service": "liveness"}},
        "TLS": HTTPS,
    },
}


def flag(container, name):
    values = [
        arg.split("=", 1)[1] for arg in container.get("args", []) if arg.startswith(name + "=")
    ]
    return values[0] if values else None


def containers(objects):
    for workload in workloads(objects):
        spec = workload["spec"]["template"]["spec"]
        yield workload, spec, spec["containers"][0]


def is_rank(container):
    return container["args"][:1] == ["rank"]


def servers(objects):
    return [found for found in containers(objects) if not is_rank(found[2])]


def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


def flags_in(path):
    return set(re.findall(r'add_(?:option|flag)\w*(?:<[^(]*>)?\(\s*"(--[a-z-]+)"', source(path)))


def flags_exist(objects):
    for workload, _, container in containers(objects):
        program, args = "denoised", container["args"]
        known = flags_in("server/server_flags.cc")
        if is_rank(container):
            program, args = "denoised rank", args[1:]
            known = flags_in("server/rank_command.cc")
        for arg in args:
            if arg.split("=")[0] not in known:
                yield f"{name_of(workload)}: {program} has no flag {arg}"


def ranks_join_the_server_that_leads(objects):
    for workload, _, rank in containers(objects):
        if not is_rank(rank):
            continue
        leaders = {}
        for leader, _, container in servers(objects):
            name = f"{leader['metadata']['name']}-0.{leader['spec'].get('serviceName')}"
            port = (flag(container, "--rank-listen") or "").rpartition(":")[2]
            leaders[f"{name}:{port}"] = flag(container, "--ranks")
        address = flag(rank, "--join")
        if address not in leaders:
            yield f"{name_of(workload)}: no server leads ranks at {address}"
        elif leaders[address] != str(workload["spec"]["completions"] + 1):
            yield f"{name_of(workload)}: the server expects {leaders[address]} ranks with itself"


def seconds_after_the_drain():
    """What calls may take beyond the drain to get their last bytes."""
    return int(re.search(r"kStopGrace = absl::Seconds\((\d+)\)", source("server/main.cc"))[1])


def the_drain_ends_before_the_pod_is_killed(objects):
    for workload, spec, container in servers(objects):
        stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = int(flag(container, "--drain-seconds") or 30)
        needed = stop + drain + seconds_after_the_drain()
        if stop == 0:
            yield f"{name_of(workload)}: nothing waits until clients know that the pod leaves"
        if spec["terminationGracePeriodSeconds"] < needed:
            yield f"{name_of(workload)}: terminationGracePeriodSeconds is less than {needed}"


def question_of(probe):
    """How a probe asks and what, without what it does with the answer."""
    asked = {key: probe[key] for key in ("exec", "grpc", "httpGet", "tcpSocket") if key in probe}
    if "exec" in asked:
        command = asked["exec"]["command"]
        words = [word for word in command if not word.startswith("--")]
        services = [word for word in command if word.startswith("--service")]
        asked["exec"] = {"command": words + services}
    return asked


def probes_restart_only_what_a_restart_repairs(objects):
    """A new connection each, to the health service; and no restart repairs a certificate."""
    for workload, _, container in servers(objects):
        speaks = "TLS" if flag(container, "--tls-cert") else "plaintext"
        for probe, expected in PROBES.items():
            asked = question_of(container.get(probe, {}))
            if asked.keys() != expected[speaks].keys():
                yield (
                    f"{name_of(workload)}: {probe} is {' and '.join(asked) or 'missing'}, and a"
                    f" server that speaks {speaks} needs {' and '.join(expected[speaks])}"
                )
            elif asked != expected[speaks]:
                yield f"{name_of(workload)}: {probe} asks the wrong service"
        if flag(container, "--tls-client-ca"):
            yield f"{name_of(workload)}: the kubelet's probes have no certificate to show"
        startup = container.get("startupProbe", {})
        if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 600:
            yield f"{name_of(workload)}: large models have less than ten minutes to load"


def a_rollout_waits_as_long_as_the_startup_probe(objects):
    for workload, _, container in servers(objects):
        startup = container["startupProbe"]
        patience = startup["periodSeconds"] * startup["failureThreshold"]
        if workload["spec"].get("progressDeadlineSeconds", patience + 1) <= patience:
            yield f"{name_of(workload)}: progressDeadlineSeconds is not more than {patience}"


def pods_hold_no_token_of_kubernetes(objects):
    for thing in of_kind(objects, "ServiceAccount"):
        if thing.get("automountServiceAccountToken") is not False:
            yield f"{name_of(thing)} gives its pods a token"
    for pod in pods(objects):
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name_of(pod)} gets a token"
        if pod["spec"].get("serviceAccountName") != "denoised":
            yield f"{name_of(pod)} runs as another account"


def containers_write_only_where_they_must(objects):
    for pod in pods(objects):
        for container in pod["spec"]["containers"]:
            if not container["securityContext"].get("readOnlyRootFilesystem"):
                yield f"{name_of(pod)}: the root file system can be written"
            if "memory" not in container["resources"].get("limits", {}):
                yield f"{name_of(pod)}: memory has no limit"


def secrets_come_from_secrets(objects):
    for workload, spec, container in servers(objects):
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        for name in ("--tokens", "--handover-key"):
            folder = (flag(container, name) or "").rpartition("/")[0]
            if folder not in paths:
                yield f"{name_of(workload)}: {name} names no file of a secret"
        sources = [
            volume["projected"]["sources"] for volume in spec["volumes"] if "projected" in volume
        ]
        if {source["secret"]["name"] for group in sources for source in group} != SECRETS:
            yield f"{name_of(workload)}: mounts other secrets than {sorted(SECRETS)}"
        if flag(container, "--tls-cert") and not any(
            volume.get("secret", {}).get("secretName") == "denoised-tls"
            for volume in spec["volumes"]
        ):
            yield f"{name_of(workload)}: the certificate is in no secret"


def selectors_find_the_pods(objects):
    for workload, _, _ in servers(objects):
        labels = workload["spec"]["template"]["metadata"]["labels"].items()
        budgets = of_kind(objects, "PodDisruptionBudget")
        if not any(thing["spec"]["selector"]["matchLabels"].items() <= labels for thing in budgets):
            yield f"{name_of(workload)} has no disruption budget"
        headless = [
            thing
            for thing in of_kind(objects, "Service")
            if thing["spec"].get("clusterIP") == "None"
            and thing["spec"]["selector"].items() <= labels
        ]
        if not headless:
            yield f"{name_of(workload)} has no headless service"


def nothing_is_reached_unless_it_is_allowed(objects):
    if not workloads(objects):
        return
    denials = [
        policy
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    ]
    if not denials:
        yield "no network policy denies everything by default"
    for namespace in of_kind(objects, "Namespace"):
        for mode in ("enforce", "audit", "warn"):
            label = f"pod-security.kubernetes.io/{mode}"
            if namespace["metadata"].get("labels", {}).get(label) != "restricted":
                yield f"{name_of(namespace)}: {mode} is not restricted"


def scaling_counts_cost(objects):
    for thing in of_kind(objects, "HorizontalPodAutoscaler"):
        names = [
            metric.get("pods", {}).get("metric", {}).get("name")
            for metric in thing["spec"]["metrics"]
        ]
        if names != ["denoised_outstanding_cost_seconds"]:
            yield f"{name_of(thing)} scales by {names}"
    for thing in of_kind(objects, "ScaledObject"):
        queries = [trigger["metadata"]["query"] for trigger in thing["spec"]["triggers"]]
        if not all("denoised_outstanding_cost_seconds" in query for query in queries):
            yield f"{name_of(thing)} scales by {queries}"
    scaled = of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    for workload in of_kind(objects, "Deployment") if scaled else []:
        if "replicas" in workload["spec"]:
            yield f"{name_of(workload)} would undo what the autoscaler chose"


def metrics_exist(objects):
    known = source("server/telemetry/telemetry.cc")
    for name in set(
        re.findall(
            r"\bdenoised_\w+", str(of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"))
        )
    ):
        if f'"{name}"' not in known:
            yield f"denoised has no metric {name}"


def the_gateway_passes_every_service_and_no_metrics(objects):
    for route in of_kind(objects, "HTTPRoute"):
        paths = {
            match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]
        }
        for proto in sorted((ROOT / "proto/denoised/v1").glob("*.proto")):
            for service in re.findall(r"^service (\w+)", proto.read_text(encoding="utf-8"), re.M):
                if f"/denoised.v1.{service}" not in paths:
                    yield f"{name_of(route)} does not pass on {service}"
        everything = [
            match
            for rule in route["spec"]["rules"]
            for match in rule["matches"]
            if match["path"]["type"] == "PathPrefix"
            and "/metrics".startswith(match["path"]["value"])
        ]
        if everything:
            yield f"{name_of(route)} passes on /metrics"


def images_have_the_version_of_the_build(objects):
    version = re.search(r"project\(denoised VERSION (\S+)", source("CMakeLists.txt"))[1]
    for workload, _, container in containers(objects):
        if container["image"].rpartition(":")[2] not in (version, f"{version}-cuda"):
            yield f"{name_of(workload)}: {container['image']} is not of version {version}"


RULES = [
    flags_exist,
    ranks_join_the_server_that_leads,
    the_drain_ends_before_the_pod_is_killed,
    probes_restart_only_what_a_restart_repairs,
    a_rollout_waits_as_long_as_the_startup_probe,
    pods_hold_no_token_of_kubernetes,
    containers_write_only_where_they_must,
    secrets_come_from_secrets,
    selectors_find_the_pods,
    nothing_is_reached_unless_it_is_allowed,
    scaling_counts_cost,
    metrics_exist,
    the_gateway_passes_every_service_and_no_metrics,
    images_have_the_version_of_the_build,
]


def broken(objects):
    return [complaint for rule in RULES for complaint in rule(objects)]
