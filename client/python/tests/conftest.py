from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from proxy import Proxy
from server import PIPELINES, STARTER_MODEL, Server, link_models
from surfaces import LOOP, SURFACES, Surface

import denoised
from denoised.v1.image_generation_pb2 import GenerateEvent, GenerateRequest

Connect = Callable[..., Surface]
StartServer = Callable[..., Server]
StartProxy = Callable[..., Proxy]
#: What a server says to a request: events, then a status.
Answer = tuple[list[GenerateEvent], grpc.StatusCode]
Serve = Callable[[Callable[[GenerateRequest], Answer]], str]


@pytest.fixture(scope="session", autouse=True)
def _loop() -> Iterator[None]:
    yield
    LOOP.run_until_complete(LOOP.shutdown_asyncgens())
    LOOP.run_until_complete(LOOP.shutdown_default_executor())
    LOOP.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a class-conditional and a text-to-image model, and trains."""
    folder = tmp_path_factory.mktemp("server")
    models = link_models(folder / "models", STARTER_MODEL, PIPELINES / "sd15-like")
    arguments = [f"--state={folder / 'state'}", "--manage-models"]
    server = Server(models, folder / "log", arguments)
    yield server
    server.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of the starter model for one test."""
    servers: list[Server] = []

    def start(arguments: Sequence[str] = (), models: Path | None = None) -> Server:
        folder = models or link_models(tmp_path / f"models-{len(servers)}", STARTER_MODEL)
        servers.append(Server(folder, tmp_path / "log", arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def start_proxy() -> Iterator[StartProxy]:
    proxies: list[Proxy] = []

    def start(*arguments: Any, **options: Any) -> Proxy:
        proxies.append(Proxy(*arguments, **options))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.fixture(params=SURFACES)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of both kinds: a test that asks for this runs with either."""
    surfaces: list[Surface] = []

    def make(address: str, **options: Any) -> Surface:
        surfaces.append(SURFACES[request.param](address, **options))
        return surfaces[-1]

    yield make
    for surface in surfaces:
        surface.close()


@pytest.fixture
def surface(connect: Connect, server: Server) -> Surface:
    """A client of the server that all tests share."""
    return connect(server.address)


@pytest.fixture
def client(server: Server) -> Iterator[denoised.Client]:
    """For what both clients share."""
    with denoised.Client(server.address) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that says what the test tells it, and returns its address."""
    pool = ThreadPoolExecutor(2)
    servers: list[grpc.Server] = []

    def start(answer: Callable[[GenerateRequest], Answer]) -> str:
        def generate(request: GenerateRequest, context: grpc.ServicerContext) -> Iterator[Any]:
            events, code = answer(request)
            yield from events
            if code is not grpc.StatusCode.OK:
                context.abort(code, "as the test says")

        handler = grpc.unary_stream_rpc_method_handler(
            generate, GenerateRequest.FromString, GenerateEvent.SerializeToString
        )
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    "denoised.v1.ImageGeneration", {"Generate": handler}
                )
            ]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)
    pool.shutdown()
