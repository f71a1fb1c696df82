"""A node of Kubernetes on this machine: containerd, a kubelet, the controllers and the scheduler.

It runs as root, in network, mount and process namespaces of its own, which `isolated` makes. So it
leaves no interface, no mount and no process behind, and changes no setting of the kernel.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

from api_server import ApiServer, Failure, die_with_parent, last_lines, running

ADDRESS = "10.99.0.1"
PODS = "10.88.0.0/16"
READY_SECONDS = 180
CLEAN_SECONDS = 20
SOCKET = "/run/containerd/containerd.sock"
SANDBOX = "sandbox:1"
# The kubelet insists on these. It finds files that say so in their places.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}


def isolated(command):
    """Starts a program as the first process of new namespaces. All that it starts dies with it."""
    flags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
        ["unshare", *flags, "--", *command],
        preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # unshare ignores SIGTERM
    )


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def control_groups(name):
    """A group of this name in each hierarchy: several of version 1, one of version 2, or both."""
    lines = pathlib.Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    mounts = [line.split() for line in lines]
    return [pathlib.Path(mount[1], name) for mount in mounts if mount[2].startswith("cgroup")]


def remove_groups(groups):
    for group in groups:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # the last process in it is still ending
                os.rmdir(folder)


@contextlib.contextmanager
def control_group(name):
    """What the pods take is counted in groups below this one, which are removed at the end."""
    groups = control_groups(name)
    for group in groups:
        group.mkdir()
    try:
        yield
    finally:
        deadline = time.monotonic() + CLEAN_SECONDS
        while any(group.exists() for group in groups) and time.monotonic() < deadline:
            remove_groups(groups)
            time.sleep(0.1)


def prepare_namespaces(folder):
    run("mount", "--make-rprivate", "/")
    for place in ("/run", "/var/log"):
        run("mount", "-t", "tmpfs", "tmpfs", place)
    for setting, value in KERNEL_SETTINGS.items():
        file = folder / setting.replace("/", "-")
        file.write_text(f"{value}\n", encoding="utf-8")
        run("mount", "--bind", file, f"/proc/sys/{setting}")
    (folder / "resolv.conf").touch()  # the machine's name servers are out of reach
    run("mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node", "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/24", "dev", "node")
    run("ip", "link", "set", "node", "up")
    run("ip", "route", "add", "default", "via", ADDRESS)
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n", encoding="utf-8")


def containerd_config(folder):
    return f"""\
version = 3
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "docker.io/library/{SANDBOX}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true  # machines may lack the right to lower it
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{folder}/cni"
"""


def pod_network(folder):
    addresses = {
        "type": "host-local",
        "dataDir": f"{folder}/addresses",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": addresses}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})


def kubelet_config(folder, group):
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{group}",
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
            "failSwapOn": False,
            "featureGates": {"ImageVolume": True},
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": f"{folder}/pod-logs",
            "resolvConf": "",
            "syncFrequency": "5s",  # until a changed secret is in its pods
        }
    )


class Node(ApiServer):
    """An API server with one node. Use it in a `with` statement, inside `isolated`."""

    def __init__(self, home, folder, group):
        flags = [
            "--feature-gates=ImageVolume=true",
            "--kubelet-preferred-address-types=InternalIP",
        ]
        super().__init__(home / "bin", folder, address=ADDRESS, flags=flags)
        self._group = group

    def _start(self):
        prepare_namespaces(self.folder)
        (self.folder / "cni").mkdir()
        for name, text in {
            "cni/pods.conflist": pod_network(self.folder),
            "containerd.toml": containerd_config(self.folder),
            "kubelet.json": kubelet_config(self.folder, self._group),
        }.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        self._run("containerd", f"--config={self.folder / 'containerd.toml'}")
        super()._start()
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--cert-dir={self.folder / 'controller-certificates'}",
            f"--root-ca-file={self.folder / 'certificates/apiserver.crt'}",
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
            "--leader-elect=false",
        )
        self._run(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig}",
            f"--cert-dir={self.folder / 'scheduler-certificates'}",
            "--leader-elect=false",
        )

    def import_image(self, archive):
        ctr = self._programs / "ctr"
        run(ctr, "--address", SOCKET, "--namespace", "k8s.io", "images", "import", archive)

    def start_kubelet(self):
        """Once the images are there: then it need not look for them elsewhere."""
        self._run(
            "kubelet",
            f"--kubeconfig={self.kubeconfig}",
            f"--config={self.folder / 'kubelet.json'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certificates'}",
            f"--node-ip={ADDRESS}",
            "--hostname-override=node",
        )
        deadline = time.monotonic() + READY_SECONDS
        while self.kubectl("get", "node", "node").returncode != 0:
            if time.monotonic() > deadline:
                raise Failure(
                    f"the kubelet does not register:\n{last_lines(self.folder / 'kubelet.log')}"
                )
            time.sleep(0.5)
        done = self.kubectl(
            "wait", "--for=condition=Ready", f"--timeout={READY_SECONDS}s", "node/node"
        )
        if done.returncode != 0:
            raise Failure(f"the node is not ready:\n{last_lines(self.folder / 'kubelet.log')}")

    def _run(self, program, *flags):
        path = f"{self._programs}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return self._stack.enter_context(
            running(
                [self._programs / program, *flags],
                self.folder / f"{program}.log",
                env=os.environ | {"PATH": path},
            )
        )
