"""Encrypted connections, and metadata."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from conftest import Connect, StartServer

import denoised
from denoised._rpcs import LIST_MODELS
from denoised._transport import Endpoint, Tls


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, list[str]]:
    """The file that a client trusts, and the flags of a server that it therefore trusts."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    flags = [f"--tls-cert={tmp_path / 'cert.pem'}", f"--tls-key={tmp_path / 'key.pem'}"]
    return tmp_path / "ca.pem", flags


def test_a_client_that_trusts_the_certificate_is_served(
    connect: Connect, start_server: StartServer, certificates: tuple[Path, list[str]]
) -> None:
    trusted, flags = certificates
    server = start_server(flags)
    for root_certificates in (trusted, str(trusted), trusted.read_bytes()):
        surface = connect(server.address, root_certificates=root_certificates)
        assert len(surface.call(lambda client: client.models.list())) == 1
    images = surface.call(lambda client: client.generate_images(class_label=1, steps=2))
    assert len(images) == 1


def test_a_single_server_must_show_a_certificate_of_the_name(
    start_server: StartServer, tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("several.test")  # and of no address
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server = start_server(
        [f"--tls-cert={tmp_path / 'cert.pem'}", f"--tls-key={tmp_path / 'key.pem'}"]
    )
    tls = Tls(root_certificates=authority.cert_pem.bytes(), certificate=None, private_key=None)

    def list_models(name: str) -> None:
        endpoint = Endpoint(
            address=f"ipv4:{server.address}", tls=tls, metadata=(), authority=f"{name}:50051"
        )
        with endpoint.open_channel() as channel:
            method = channel.unary_unary(
                LIST_MODELS.path,
                LIST_MODELS.request.SerializeToString,
                LIST_MODELS.response.FromString,
            )
            assert len(method(LIST_MODELS.request()).models) == 1

    list_models("several.test")
    with pytest.raises(grpc.RpcError, match=r"(?i)certificate|hostname|peer"):
        list_models("other.test")


def test_a_client_that_does_not_trust_it_and_a_plain_one_are_not(
    connect: Connect, start_server: StartServer, certificates: tuple[Path, list[str]]
) -> None:
    _, flags = certificates
    server = start_server(flags)
    once = denoised.Retry(max_attempts=1)
    for surface in (
        connect(server.address, tls=True, retry=once),
        connect(server.address, retry=once),
    ):
        with pytest.raises(denoised.Unavailable):
            surface.call(lambda client: client.models.list())


def test_a_token_goes_over_plaintext_to_this_machine_only() -> None:
    for client in (denoised.Client, denoised.AsyncClient):
        with pytest.raises(ValueError, match="without encryption") as refused:
            client("192.0.2.1:50051", token="dnt_ci_secret")
        assert "dnt_ci_secret" not in str(refused.value)
    for surface in (
        denoised.Client("192.0.2.1:50051", token="dnt_ci_secret", tls=True),
        denoised.Client("192.0.2.1:50051", token="dnt_ci_secret", token_over_plaintext=True),
        denoised.Client("127.0.0.1:50051", token="dnt_ci_secret"),
    ):
        surface.close()


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        ("127.0.0.1:50051", True),
        ("127.1.2.3:50051", True),
        ("localhost:50051", True),
        ("LOCALHOST:50051", True),
        ("[::1]:50051", True),
        ("dns:///localhost:50051", True),
        ("dns://192.0.2.1:53/localhost:50051", True),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", True),
        ("ipv6:[::1]:50051", True),
        ("unix:/run/denoised.sock", True),
        # Names, of whatever machine.
        ("127.example.org:50051", False),
        ("127.0.0.1.example.org:50051", False),
        ("127.1:50051", False),
        ("dns:///127.example.org:50051", False),
        ("ipv4:127.0.0.1:1,192.0.2.1:2", False),
        ("[::1]x.example.org:50051", False),
        ("localhost.example.org:50051", False),
        ("[::2]:50051", False),
    ],
)
def test_a_name_that_looks_like_this_machine_gets_no_token(address: str, is_here: bool) -> None:
    def connect() -> None:
        denoised.Client(address, token="dnt_ci_secret").close()

    if is_here:
        connect()
        return
    with pytest.raises(ValueError, match="without encryption"):
        connect()


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="go together"):
        denoised.Client(certificate=b"pem")


def test_metadata_goes_with_every_call(connect: Connect) -> None:
    # The server reads no metadata of its callers, so that another one has to tell.
    seen: list[tuple[str, str | bytes]] = []

    class Recorder(grpc.ServerInterceptor):
        def intercept_service(self, _: Any, details: Any) -> None:
            seen.extend(details.invocation_metadata)

    with ThreadPoolExecutor(1) as pool:
        recorder = grpc.server(pool, interceptors=[Recorder()])
        port = recorder.add_insecure_port("127.0.0.1:0")
        recorder.start()
        surface = connect(f"127.0.0.1:{port}", token="1", metadata=[("x-team", "blue")])
        with pytest.raises(denoised.Unimplemented):
            surface.call(lambda client: client.models.list())
        with pytest.raises(denoised.Unimplemented):
            list(surface.events(lambda client: client.models.watch()))
        recorder.stop(None).wait()
    assert seen.count(("authorization", "Bearer 1")) == 2
    assert seen.count(("x-team", "blue")) == 2
    agent = next(value for key, value in seen if key == "user-agent")
    assert str(agent).startswith(f"denoised-python/{denoised.__version__}")
