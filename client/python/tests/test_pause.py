"""Generations that are paused and resumed, against the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Connect, StartServer
from server import handover_key

import denoised
from denoised.v1.generations_pb2 import Generation

#: Long enough to be paused in the middle.
LONG: dict[str, Any] = {"model": "emoji-32", "class_label": "animals", "seed": 5, "steps": 400}


@pytest.fixture
def key(tmp_path: Path) -> str:
    return handover_key(tmp_path)


def test_a_paused_generation_continues_on_another_server(
    connect: Connect, start_server: StartServer, key: str
) -> None:
    surface = connect(start_server([key]).address)
    stream = surface.events(lambda client: client.generate(**LONG, request_id="zoo"))
    while not isinstance(next(stream), denoised.Progress):
        pass
    paused = surface.call(lambda client: client.generations.pause("zoo"))
    assert paused.generation.state == Generation.State.PAUSED
    events: list[denoised.GenerationEvent] = []
    with pytest.raises(denoised.Aborted) as aborted:
        events.extend(stream)
    assert aborted.value.reason == "GENERATION_PAUSED"
    last = events[-1]
    assert isinstance(last, denoised.Paused)
    assert last.expire_time.timestamp() == pytest.approx(paused.expire_time.seconds, abs=1)

    other = connect(start_server([key]).address)
    # The reader's token is as good as that of the answer.
    resumed = list(other.events(lambda client: client.resume(last.token)))
    assert resumed[0].sequence > last.sequence
    (image,) = [event for event in resumed if isinstance(event, denoised.Image)]
    (whole,) = other.call(lambda client: client.generate_images(**LONG))
    assert image.data == whole.data


def test_what_cannot_be_paused_says_why(connect: Connect, start_server: StartServer) -> None:
    surface = connect(start_server().address)
    stream = surface.events(lambda client: client.generate(**LONG, request_id="zoo"))
    next(stream)
    with pytest.raises(denoised.FailedPrecondition) as refused:
        surface.call(lambda client: client.generations.pause("zoo"))
    assert refused.value.reason == "PAUSE_UNAVAILABLE"
    assert "--handover-key" in refused.value.message
    stream.close()
    with pytest.raises(denoised.NotFound):
        surface.call(lambda client: client.generations.pause("never"))
