"""Bad manifests. A check that accepts one of them is worth nothing, so each run tries them all."""

import copy

from manifests import of_kind


def _container(objects):
    return of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]


def _rank(objects):
    return of_kind(objects, "Job")[0]["spec"]["template"]["spec"]["containers"][0]


def _pod_spec(objects):
    return of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]


def unknown_field(objects):
    _container(objects)["livenesProbe"] = _container(objects)["livenessProbe"]


def privileged_deployment(objects):
    _container(objects)["securityContext"] = {"privileged": True}


def privileged_pod(objects):
    pod = of_kind(objects, "Pod")[0]
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}


def dropped_field(objects):
    _pod_spec(objects)["hostnameOverride"] = "denoised"  # its feature gate is off


def deprecated_label(objects):
    _pod_spec(objects)["nodeSelector"] = {"beta.kubernetes.io/arch": "amd64"}


def unknown_field_of_a_custom_resource(objects):
    of_kind(objects, "ServiceMonitor")[0]["spec"]["endpoints"][0]["intervall"] = "15s"


def unknown_enum_of_a_custom_resource(objects):
    of_kind(objects, "HTTPRoute")[0]["spec"]["rules"][0]["matches"][0]["path"]["type"] = "Prefix"


def short_grace_period(objects):
    _pod_spec(objects)["terminationGracePeriodSeconds"] = 79


def flag_that_does_not_exist(objects):
    _container(objects)["args"].append("--drain=60")


def server_flag_of_a_rank(objects):
    _rank(objects)["args"].append("--models=/models")


def rank_of_another_version(objects):
    _rank(objects)["image"] = "denoised:0.0.1"


def rank_that_can_write(objects):
    _rank(objects)["securityContext"]["readOnlyRootFilesystem"] = False


def rank_too_few(objects):
    of_kind(objects, "Job")[0]["spec"] |= {"completions": 2, "parallelism": 2}


def rank_that_joins_nobody(objects):
    args = _rank(objects)["args"]
    args[1] = args[1].replace(":29500", ":29501")


def plaintext_probe_of_tls(objects):
    _container(objects)["readinessProbe"] = {"grpc": {"port": 50051}}


def liveness_that_is_readiness(objects):
    del _container(objects)["livenessProbe"]["grpc"]["service"]


def liveness_that_is_readiness_over_https(objects):
    _container(objects)["livenessProbe"]["httpGet"]["path"] = "/readyz"


def liveness_that_verifies_a_certificate(objects):
    _container(objects)["livenessProbe"] = _container(objects)["readinessProbe"]


def startup_that_verifies_a_certificate(objects):
    ready = _container(objects)["readinessProbe"]["exec"]
    del _container(objects)["startupProbe"]["httpGet"]
    _container(objects)["startupProbe"]["exec"] = ready


def probes_without_the_certificate_that_clients_need(objects):
    _container(objects)["args"].append("--tls-client-ca=/etc/denoised/tls/ca.crt")


def open_network(objects):
    denial = [thing for thing in objects if thing["metadata"]["name"] == "default-deny"]
    objects.remove(denial[0])


# The change, what it is made to, and what the check must say of it.
CONTROLS = [
    (unknown_field, "overlays/cpu", "livenesProbe: field not declared in schema"),
    (privileged_deployment, "overlays/cpu", "would violate PodSecurity"),
    (privileged_pod, "model-loader.yaml beside overlays/gpu", "forbidden: violates PodSecurity"),
    (dropped_field, "overlays/cpu", "hostnameOverride was dropped"),
    (deprecated_label, "overlays/cpu", "Warning: "),
    (unknown_field_of_a_custom_resource, "overlays/monitoring", "intervall"),
    (unknown_enum_of_a_custom_resource, "overlays/gateway", "Unsupported value"),
    (short_grace_period, "overlays/cpu", "terminationGracePeriodSeconds is less than 80"),
    (flag_that_does_not_exist, "overlays/cpu", "denoised has no flag --drain=60"),
    (server_flag_of_a_rank, "overlays/training-ranks", "denoised rank has no flag --models"),
    (rank_of_another_version, "overlays/training-ranks", "denoised:0.0.1 is not of version"),
    (rank_that_can_write, "overlays/training-ranks", "denoised-ranks: the root file system"),
    (rank_too_few, "overlays/training-ranks", "the server expects 4 ranks with itself"),
    (rank_that_joins_nobody, "overlays/training-ranks", "no server leads ranks at"),
    (plaintext_probe_of_tls, "overlays/cpu", "readinessProbe is grpc"),
    (liveness_that_is_readiness, "base", "livenessProbe asks the wrong service"),
    (liveness_that_is_readiness_over_https, "overlays/cpu", "livenessProbe asks the wrong service"),
    (liveness_that_verifies_a_certificate, "overlays/cpu", "livenessProbe is exec"),
    (startup_that_verifies_a_certificate, "overlays/cpu", "startupProbe is exec"),
    (
        probes_without_the_certificate_that_clients_need,
        "overlays/cpu",
        "probes have no certificate to show",
    ),
    (open_network, "overlays/cpu", "no network policy denies"),
]


def spoiled(change, objects):
    copied = copy.deepcopy(objects)
    change(copied)
    return copied
