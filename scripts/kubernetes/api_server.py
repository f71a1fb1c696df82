"""A Kubernetes API server with its etcd, on one address of this machine, in a temporary folder."""

import contextlib
import ctypes
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

READY_SECONDS = 180
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """Something that the check was looking for, or that keeps it from looking."""


def die_with_parent(number=signal.SIGTERM):
    """For a new process: it gets this signal when the one that started it ends, however that is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


@contextlib.contextmanager
def running(command, log, **options):
    """Runs a program until the end of the block, or of this process."""
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
            command, stdout=output, stderr=output, preexec_fn=die_with_parent, **options
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(address, count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]


def last_lines(log, count=15):
    return "\n".join(pathlib.Path(log).read_text(encoding="utf-8").splitlines()[-count:])


class ApiServer:
    """Use it in a `with` statement. `kubectl` then talks to it as an administrator."""

    def __init__(self, programs, folder, address="127.0.0.1", flags=()):
        self.folder = pathlib.Path(folder)
        self.kubeconfig = self.folder / "kubeconfig"
        self._programs = pathlib.Path(programs)
        self._address = address
        self._flags = flags
        self._token = secrets.token_hex(16)
        self._stack = contextlib.ExitStack()
        self._port = 0

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *unused):
        self._stack.close()

    def _start(self):
        client, peer, self._port = free_ports(self._address, 3)
        etcd_url = f"http://{self._address}:{client}"
        peer_url = f"http://{self._address}:{peer}"
        self._make_service_account_key()
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n', encoding="utf-8")
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        server = self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd_url}",
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            f"--secure-port={self._port}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction,PodSecurity",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            *self._flags,
        )
        self._write_kubeconfig()
        self._wait_until_ready(server)

    def _run(self, program, *flags):
        return self._stack.enter_context(
            running([self._programs / program, *flags], self.folder / f"{program}.log")
        )

    def _make_service_account_key(self):
        key = self.folder / "accounts.key"
        for command in (
            ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key],
            ["pkey", "-in", key, "-pubout", "-out", self.folder / "accounts.pub"],
        ):
            subprocess.run(["openssl", *command], check=True, stderr=subprocess.DEVNULL)

    def _write_kubeconfig(self):
        cluster = {
            "server": f"https://{self._address}:{self._port}",
            "certificate-authority": str(self.folder / "certificates/apiserver.crt"),
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "check", "cluster": cluster}],
                    "users": [{"name": "admin", "user": {"token": self._token}}],
                    "contexts": [
                        {"name": "check", "context": {"cluster": "check", "user": "admin"}}
                    ],
                    "current-context": "check",
                }
            ),
            encoding="utf-8",
        )

    def _wait_until_ready(self, server):
        deadline = time.monotonic() + READY_SECONDS
        reason = "it has not begun to listen"
        while time.monotonic() < deadline:
            if server.poll() is not None:
                log = last_lines(self.folder / "kube-apiserver.log")
                raise Failure(f"kube-apiserver has stopped:\n{log}")
            try:
                self.get("/readyz")
                return
            except (OSError, urllib.error.URLError) as error:
                reason = error
            time.sleep(0.2)
        raise Failure(f"kube-apiserver is not ready after {READY_SECONDS} s: {reason}")

    def get(self, path):
        """The body of an answer to an administrator."""
        trust = ssl.create_default_context(cafile=self.folder / "certificates/apiserver.crt")
        request = urllib.request.Request(
            f"https://{self._address}:{self._port}{path}",
            headers={"Authorization": f"Bearer {self._token}"},
        )
        handler = urllib.request.HTTPSHandler(context=trust)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
        with opener.open(request, timeout=10) as answer:
            return answer.read()

    def kubectl(self, *arguments, stdin=None):
        """Returns what it printed, on both streams, and its exit code."""
        return subprocess.run(
            [self._programs / "kubectl", *arguments],
            input=stdin,
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *arguments, stdin=None):
        """Runs kubectl and returns what it printed; fails if it did."""
        done = self.kubectl(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise Failure(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout
