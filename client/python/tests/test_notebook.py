"""Live previews and progress bars."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import PIL.Image
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from server import Server
from surfaces import LOOP

import denoised

PEOPLE: dict[str, Any] = {
    "model": "emoji-32",
    "class_label": "people",
    "sampler": "dpmpp_2m",
    "steps": 4,
    "seed": 1,
}


@pytest.fixture
def outputs() -> Iterator[list[dict[str, Any]]]:
    """What the cells of a notebook display."""
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher()
    before, shell.display_pub = shell.display_pub, publisher
    yield publisher.outputs
    shell.display_pub = before
    InteractiveShell.clear_instance()


def pictures(output: dict[str, Any]) -> list[PIL.Image.Image]:
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', output["data"]["text/html"])
    return [PIL.Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]


def check(outputs: list[dict[str, Any]], images: list[denoised.Image]) -> None:
    first, *updates = outputs
    assert "Waiting for the server" in first["data"]["text/html"]
    assert updates
    assert all(update["update"] for update in updates)
    assert {update["transient"]["display_id"] for update in updates} == {
        first["transient"]["display_id"]
    }
    # Frames appear before the images do.
    previews = [pictures(update) for update in updates]
    assert sum(len(shown) == 2 for shown in previews) > 2
    last = updates[-1]
    assert "2 images in" in last["data"]["text/html"]
    assert [shown.tobytes() for shown in pictures(last)] == [
        image.pil.tobytes() for image in images
    ]
    assert [image.image_index for image in images] == [0, 1]


@pytest.mark.parametrize("encoding", ["png", "raw_float32"])
def test_a_generation_appears_live_in_a_notebook(
    client: denoised.Client, outputs: list[dict[str, Any]], encoding: str
) -> None:
    images = denoised.show(
        client.generate(
            **PEOPLE, count=2, frames=1, frame_encoding=encoding, image_encoding=encoding
        )
    )
    check(outputs, images)


def test_an_asynchronous_one_does_so_too(server: Server, outputs: list[dict[str, Any]]) -> None:
    async def show() -> list[denoised.Image]:
        async with denoised.AsyncClient(server.address) as client:
            return await denoised.show(client.generate(**PEOPLE, count=2, frames=1))

    check(outputs, LOOP.run_until_complete(show()))


def test_images_show_themselves(client: denoised.Client, outputs: list[dict[str, Any]]) -> None:
    image = client.generate_images(**PEOPLE)[0]
    display(image)
    shown = outputs[0]["data"]["image/png"]
    assert PIL.Image.open(io.BytesIO(shown)).tobytes() == image.pil.tobytes()


def test_a_progress_bar_passes_events_on(client: denoised.Client) -> None:
    shown = io.StringIO()
    events = list(
        denoised.progress_bar(client.generate(**PEOPLE, count=2), file=shown, mininterval=0)
    )
    assert isinstance(events[0], denoised.Accepted)
    assert isinstance(events[-1], denoised.Finished)
    assert "100%" in shown.getvalue()
    assert "8/8" in shown.getvalue()


def test_so_does_that_of_an_asynchronous_generation(server: Server) -> None:
    shown = io.StringIO()

    async def follow() -> list[denoised.GenerationEvent]:
        async with denoised.AsyncClient(server.address) as client:
            events = denoised.progress_bar(client.generate(**PEOPLE), file=shown, mininterval=0)
            return [event async for event in events]

    events = LOOP.run_until_complete(follow())
    assert isinstance(events[-1], denoised.Finished)
    assert "4/4" in shown.getvalue()
