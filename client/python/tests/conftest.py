from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from proxy import Proxy
from server import PIPELINES, STARTER_MODEL, Server, link_models
from surfaces import LOOP, SURFACES, Surface

import denoised

Connect = Callable[..., Surface]
StartServer = Callable[..., Server]
StartProxy = Callable[..., Proxy]


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
