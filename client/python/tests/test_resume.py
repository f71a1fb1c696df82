"""Connections that break, and servers that are not there for a while."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from conftest import Connect, StartProxy, StartServer
from server import Server
from surfaces import Surface

import denoised
from denoised.v1.models_pb2 import Model

PEOPLE: dict[str, Any] = {"model": "emoji-32", "class_label": "people", "seed": 7}
#: 40 frames of 12 KiB each.
LONG: dict[str, Any] = {**PEOPLE, "steps": 40, "frames": 1, "frame_encoding": "raw_float32"}


def frames_of(events: list[Any]) -> list[tuple[int, int]]:
    return [(e.image_index, e.step) for e in events if isinstance(e, denoised.Frame)]


def test_a_broken_stream_continues_without_losing_or_repeating_an_event(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(server.address, [100_000, 60_000, 60_000])
    surface = connect(proxy.address)
    events = list(surface.events(lambda client: client.generate(**LONG)))
    assert proxy.connections == 4
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences))
    assert frames_of(events) == [(0, step) for step in range(1, 41)]
    assert isinstance(events[0], denoised.Accepted)
    assert isinstance(events[-1], denoised.Finished)
    generation = events[0].generation
    # The log of the generation has the same story.
    log = connect(server.address).events(lambda client: client.generations.watch(generation))
    told = {event.sequence: event for event in events}
    kept = [event for event in log if isinstance(event, denoised.Frame | denoised.Image)]
    assert len(kept) == 41
    assert [told[event.sequence] for event in kept] == kept


def test_a_watch_that_breaks_continues(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    direct = connect(server.address)
    direct.call(lambda client: client.generate_images(**LONG, request_id="watched"))
    proxy = start_proxy(server.address, [100_000, 100_000])
    events = list(
        connect(proxy.address).events(
            lambda client: client.generations.watch("watched", resume_after=0)
        )
    )
    assert proxy.connections == 3
    assert frames_of(events) == [(0, step) for step in range(1, 41)]


def test_a_call_that_is_refused_is_made_again(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(server.address, [0, 0])
    images = connect(proxy.address).call(lambda client: client.generate_images(**PEOPLE, steps=2))
    assert len(images) == 1
    assert proxy.connections == 3


def test_a_call_whose_answer_is_lost_starts_no_second_generation(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    surface = connect(server.address)
    before = surface.call(lambda client: client.generations.list())
    # Cut within `accepted`, which has hundreds of bytes.
    proxy = start_proxy(server.address, [200])
    through_proxy = connect(proxy.address)
    images = through_proxy.call(lambda client: client.generate_images(**PEOPLE, steps=2))
    after = surface.call(lambda client: client.generations.list())
    assert len(images) == 1
    assert proxy.connections == 2
    assert len(after) == len(before) + 1


def test_retries_end(connect: Connect, server: Server, start_proxy: StartProxy) -> None:
    proxy = start_proxy(server.address, [0] * 9)
    retry = denoised.Retry(max_attempts=3, initial_backoff_seconds=0.01)
    with pytest.raises(denoised.Unavailable):
        connect(proxy.address, retry=retry).call(lambda client: client.models.list())
    assert proxy.connections <= 3  # gRPC itself may let a call fail without another connection


def test_a_generation_that_the_server_has_lost_is_unavailable(
    connect: Connect, start_server: StartServer
) -> None:
    server = start_server()
    surface = connect(server.address)
    events = surface.events(
        lambda client: client.generate(**PEOPLE, steps=1000, count=32, frames=1)
    )
    for event in events:
        if isinstance(event, denoised.Frame):
            break
    server.kill()
    server.start(server.address)
    with pytest.raises(denoised.Unavailable) as caught:
        list(events)
    assert isinstance(caught.value.__cause__, denoised.NotFound)


class _CancelWhenLogged(logging.Handler):
    """Cancels a generation as soon as a client waits for its next attempt."""

    def __init__(self, client: denoised.Client, generation: str) -> None:
        super().__init__()
        self._client = client
        self._generation: str | None = generation

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("waiting") and self._generation:
            generation, self._generation = self._generation, None
            self._client.generations.cancel(generation)


def test_the_wait_is_what_the_server_asks_for(
    connect: Connect, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(["--max-detached=1"])
    caplog.set_level(logging.INFO, "denoised")
    with denoised.Client(server.address) as other:
        running = next(other.generate(**PEOPLE, steps=1000, count=32, on_disconnect="detach"))
        assert isinstance(running, denoised.Accepted)
        once = connect(server.address, retry=denoised.Retry(max_attempts=1))
        with pytest.raises(denoised.Unavailable) as caught:
            once.call(lambda client: client.generate_images(**PEOPLE, steps=2))
        asked = caught.value.retry_after
        assert asked
        patient = connect(server.address, retry=denoised.Retry(max_attempts=100))
        cancelling = _CancelWhenLogged(other, running.generation)
        logging.getLogger("denoised").addHandler(cancelling)
        try:
            images = patient.call(lambda client: client.generate_images(**PEOPLE, steps=2))
        finally:
            logging.getLogger("denoised").removeHandler(cancelling)
    assert len(images) == 1
    assert f"waiting {asked:.3f} s" in caplog.text


def test_a_watch_of_models_tells_only_what_is_new(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(server.address, [6_000])
    surface: Surface = connect(proxy.address)
    direct = connect(server.address)
    events = surface.events(lambda client: client.models.watch())
    told = []
    for event in events:
        told.append(event)
        if isinstance(event, denoised.ModelsListed):
            break
    names = {event.model.name for event in told if isinstance(event, denoised.ModelChanged)}
    assert names == {"models/emoji-32", "models/sd15-like"}

    def wait_for(state: Model.State) -> None:
        for event in events:
            assert isinstance(event, denoised.ModelChanged)
            assert event.model.name == "models/emoji-32"
            if event.model.state == state:
                return

    # Changes until the connection has been cut and made again, and one after that.
    while proxy.connections < 2:
        direct.call(lambda client: client.models.unload("emoji-32"))
        wait_for(Model.UNLOADED)
        direct.call(lambda client: client.models.load("emoji-32"))
        wait_for(Model.LOADED)
