"""Several servers behind one name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from conftest import Answer, Connect, Serve, StartProxy, StartServer
from server import Server
from surfaces import Surface

import denoised
from denoised._address import each_server
from denoised.v1.generations_pb2 import Generation
from denoised.v1.image_generation_pb2 import GenerateEvent, GenerateRequest


def test_calls_take_turns_among_the_servers_behind_a_name(connect: Connect, serve: Serve) -> None:
    seen = [threading.Event(), threading.Event()]

    def answer_as(number: int) -> Answer:
        seen[number].set()
        events = [
            GenerateEvent(sequence=0, accepted={"count": 1}),
            GenerateEvent(sequence=1, image={"image_index": 0}),
            GenerateEvent(sequence=2, finished={"images": 1}),
        ]
        return events, grpc.StatusCode.OK

    def server(number: int) -> str:
        def answer(_: GenerateRequest) -> Answer:
            return answer_as(number)

        return serve(answer)

    surface = connect(f"ipv4:{server(0)},{server(1)}")
    # At first, calls go to the server that the client has connected to.
    for _ in range(1000):
        assert len(list(surface.events(lambda client: client.generate(model="faces")))) == 3
        if all(event.is_set() for event in seen):
            return
    raise AssertionError("every call went to the same server")


#: Runs until it is cancelled, as far as a test is concerned. Needs no call but the one.
ENDLESS: dict[str, Any] = {"model": "emoji-32", "class_label": 1, "steps": 1000, "count": 8}


def names_on(server: Server) -> set[str]:
    with denoised.Client(server.address) as client:
        return {generation.name for generation in client.generations.list()}


def state_on(server: Server, generation: str) -> str:
    """The state in which a generation is, or ends once it is being cancelled."""
    with denoised.Client(server.address) as client:
        while True:
            state = client.generations.get(generation).state
            if state != Generation.CANCELLING:
                return Generation.State.Name(state)


def connect_to_both(surface: Surface, servers: Sequence[Server]) -> None:
    """Waits until calls take turns: at first, they go to the server that is connected first."""
    for index, server in enumerate(servers):
        with denoised.Client(server.address) as client:
            client.generate_images(class_label=1, steps=1, request_id=f"server-{index}")
    seen: set[str] = set()
    for _ in range(100_000):
        seen |= {entry.name for entry in surface.call(lambda client: client.generations.list())}
        if {"generations/server-0", "generations/server-1"} <= seen:
            return
    raise AssertionError("every call went to the same server")


def start_on_both(
    surface: Surface, servers: Sequence[Server], **keywords: Any
) -> list[tuple[Any, str]]:
    """Streams that have begun, some on each server, with the names of their generations."""
    connect_to_both(surface, servers)
    started: list[tuple[Any, str]] = []
    for _ in range(5):  # so that the next call has its turn at another server than the first
        events: Any = surface.events(lambda client: client.generate(**ENDLESS, **keywords))
        started.append((events, next(events).generation))
    names = {name for _, name in started}
    assert all(names & names_on(server) for server in servers)
    return started


@pytest.fixture
def servers(start_server: StartServer) -> list[Server]:
    return [start_server() for _ in range(2)]


def address_of(servers: Sequence[Any]) -> str:
    return "ipv4:" + ",".join(server.address for server in servers)


def test_leaving_a_stream_cancels_its_generation_on_whichever_server(
    connect: Connect, servers: list[Server]
) -> None:
    started = start_on_both(connect(address_of(servers)), servers)
    for events, _ in started:
        events.close()
    names = {name for _, name in started}
    for server in servers:
        mine = names & names_on(server)
        assert {state_on(server, name) for name in mine} == {"CANCELLED"}


def test_closing_a_client_cancels_its_generations_on_every_server(
    connect: Connect, servers: list[Server]
) -> None:
    leaving = connect(address_of(servers))
    started = start_on_both(leaving, servers)
    leaving.call(lambda client: client.close())
    names = {name for _, name in started}
    for server in servers:
        mine = names & names_on(server)
        assert {state_on(server, name) for name in mine} == {"CANCELLED"}


def test_a_generation_is_found_on_whichever_server(connect: Connect, servers: list[Server]) -> None:
    started = start_on_both(connect(address_of(servers)), servers, on_disconnect="detach")
    surface = connect(address_of(servers))
    for _, name in started:
        check_is_found(surface, name)
    for call in (
        lambda client: client.generations.get("never-was"),
        lambda client: client.generations.cancel("never-was"),
        lambda client: client.generations.pause("never-was"),
    ):
        with pytest.raises(denoised.NotFound):
            surface.call(call)
    with pytest.raises(denoised.NotFound):
        list(surface.events(lambda client: client.generations.watch("never-was")))


def check_is_found(surface: Surface, name: str) -> None:
    assert surface.call(lambda client: client.generations.get(name)).name == name
    watch = surface.events(lambda client: client.generations.watch(name))
    assert next(watch).generation == name
    ended = surface.call(lambda client: client.generations.cancel(name))
    assert ended.state in (Generation.CANCELLING, Generation.CANCELLED)
    with pytest.raises(denoised.Cancelled):
        list(watch)


def test_streams_that_break_continue_on_their_servers(
    connect: Connect, servers: list[Server], start_proxy: StartProxy
) -> None:
    proxies = [start_proxy(server.address, [60_000] * 4) for server in servers]
    surface = connect(address_of(proxies))
    connect_to_both(surface, servers)
    # 10 frames of 12 KiB.
    settings = {"steps": 10, "frames": 1, "frame_encoding": "raw_float32"}
    for _ in range(4):
        stream = surface.events(
            lambda client: client.generate(model="emoji-32", class_label=1, **settings)
        )
        events = list(stream)
        steps = [event.step for event in events if isinstance(event, denoised.Frame)]
        assert steps == list(range(1, 11))
        assert isinstance(events[-1], denoised.Finished)
    assert sum(proxy.connections for proxy in proxies) > 4


def test_a_server_that_cannot_be_asked_may_have_the_generation(
    connect: Connect, servers: list[Server]
) -> None:
    surface = connect(address_of(servers), retry=denoised.Retry(max_attempts=1))
    servers[1].kill()
    with pytest.raises(denoised.Unavailable) as caught:
        surface.call(lambda client: client.generations.get("never-was"))
    assert isinstance(caught.value.__cause__, denoised.NotFound)


def test_a_name_has_the_servers_that_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {"several.test": ["192.0.2.1", "2001:db8::1"], "one.test": ["192.0.2.1"]}

    def resolve(host: str, port: str, **_: Any) -> list[Any]:
        if host not in addresses:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, int(port))) for address in addresses[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    several = [
        ("ipv4:192.0.2.1:50051", "several.test:50051"),
        ("ipv6:[2001:db8::1]:50051", "several.test:50051"),
    ]
    assert each_server("several.test:50051") == several
    assert each_server("dns:///several.test:50051") == several
    assert each_server("one.test:50051") == []
    assert each_server("none.test:50051") == []
    assert each_server("unix:/run/denoised.sock") == []
    assert each_server("ipv4:192.0.2.1:1,192.0.2.1:2") == [
        ("ipv4:192.0.2.1:1", None),
        ("ipv4:192.0.2.1:2", None),
    ]
    monkeypatch.setenv("http_proxy", "http://192.0.2.9:3128")
    assert each_server("several.test:50051") == []
    monkeypatch.setenv("no_proxy", "other.test,.test")
    assert each_server("several.test:50051") == several
