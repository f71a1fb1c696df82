"""What leaving a stream means for its generation."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from conftest import Connect
from server import Server
from surfaces import LOOP, Surface

import denoised
from denoised.v1.generations_pb2 import Generation

LONG: dict[str, Any] = {"model": "emoji-32", "class_label": "people", "steps": 1000, "count": 32}


def end_of(surface: Surface, generation: str) -> str:
    """Waits for the end of a generation, and returns its state."""
    try:
        for _ in surface.events(lambda client: client.generations.watch(generation)):
            pass
    except denoised.Cancelled:
        pass
    return Generation.State.Name(
        surface.call(lambda client: client.generations.get(generation)).state
    )


def start(surface: Surface, **keywords: Any) -> tuple[Any, str]:
    """A stream that has begun, and the name of its generation."""
    events: Any = surface.events(lambda client: client.generate(**LONG, **keywords))
    return events, next(events).generation


def test_leaving_a_stream_cancels_the_generation(surface: Surface) -> None:
    events, generation = start(surface)
    events.close()
    assert end_of(surface, generation) == "CANCELLED"


def test_a_deadline_cancels_the_generation(connect: Connect, server: Server) -> None:
    surface = connect(server.address)
    events, generation = start(surface, timeout=5)
    with pytest.raises(denoised.DeadlineExceeded):
        list(events)
    assert end_of(surface, generation) == "CANCELLED"


def test_closing_the_client_cancels_the_generation(connect: Connect, server: Server) -> None:
    leaving = connect(server.address)
    events, generation = start(leaving)
    leaving.call(lambda client: client.close())
    assert end_of(connect(server.address), generation) == "CANCELLED"
    # asyncio's way to end what waits for a channel that is closed.
    with pytest.raises((denoised.Cancelled, asyncio.CancelledError)):
        list(events)


def test_breaking_out_of_a_loop_cancels_the_generation(client: denoised.Client) -> None:
    for event in client.generate(**LONG):
        assert isinstance(event, denoised.Accepted)
        generation = event.generation
        break
    with pytest.raises(denoised.Cancelled):
        list(client.generations.watch(generation))


async def leave_loop(address: str) -> str:
    async with denoised.AsyncClient(address) as client:
        async for event in client.generate(**LONG):
            assert isinstance(event, denoised.Accepted)
            generation = event.generation
            break
    return generation


def test_breaking_out_of_an_asynchronous_loop_cancels_the_generation(
    client: denoised.Client, server: Server
) -> None:
    generation = LOOP.run_until_complete(leave_loop(server.address))
    with pytest.raises(denoised.Cancelled):
        list(client.generations.watch(generation))


async def cancel_task(address: str) -> str:
    async with denoised.AsyncClient(address) as client:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def read() -> None:
            async for event in client.generate(**LONG):
                if isinstance(event, denoised.Accepted):
                    started.set_result(event.generation)

        task = asyncio.create_task(read())
        generation = await started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return generation


def test_cancelling_a_task_cancels_the_generation(client: denoised.Client, server: Server) -> None:
    generation = LOOP.run_until_complete(cancel_task(server.address))
    with pytest.raises(denoised.Cancelled):
        list(client.generations.watch(generation))


@pytest.mark.parametrize(
    "keywords", [{"request_id": uuid.uuid4().hex}, {"on_disconnect": "detach"}]
)
def test_a_generation_that_can_be_come_back_to_continues(
    surface: Surface, keywords: dict[str, Any]
) -> None:
    events, generation = start(surface, **keywords)
    events.close()
    # It still runs: it can be cancelled.
    surface.call(lambda client: client.generations.cancel(generation))
    assert end_of(surface, generation) == "CANCELLED"


def test_a_generation_that_ends_with_its_readers_is_not_resumed(
    connect: Connect, server: Server, start_proxy: Any
) -> None:
    proxy = start_proxy(server.address, [40_000])
    keywords = {**LONG, "count": 1, "steps": 200, "frames": 1, "frame_encoding": "raw_float32"}
    with pytest.raises(denoised.Unavailable):
        list(
            connect(proxy.address).events(
                lambda client: client.generate(**keywords, on_disconnect="cancel")
            )
        )
    assert proxy.connections == 1


def test_generations_are_listed_described_and_cancelled(surface: Surface) -> None:
    events, generation = start(surface)
    listed = surface.call(lambda client: client.generations.list())
    assert generation in [entry.name for entry in listed]
    short = generation.removeprefix("generations/")
    assert surface.call(lambda client: client.generations.get(short)).accepted.steps == 1000
    surface.call(lambda client: client.generations.cancel(short))
    with pytest.raises(denoised.Cancelled):
        list(events)
    with pytest.raises(denoised.FailedPrecondition):
        surface.call(lambda client: client.generations.cancel(short))


def test_activity_shows_a_generation_while_it_runs(surface: Surface) -> None:
    events, generation = start(surface)
    snapshots = surface.events(lambda client: client.watch_activity(interval=0.05))
    shown = next(
        image
        for snapshot in snapshots
        for device in snapshot.devices
        for image in device.images
        if image.generation == generation
    )
    assert shown.model == "models/emoji-32"
    assert (shown.height, shown.width, shown.steps) == (32, 32, 1000)
    events.close()


def test_an_interval_out_of_range_is_refused(surface: Surface) -> None:
    with pytest.raises(denoised.InvalidRequest) as refused:
        next(surface.events(lambda client: client.watch_activity(interval=0.01)))
    assert [violation.field for violation in refused.value.violations] == ["interval"]
