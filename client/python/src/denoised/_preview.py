"""Generations that appear live in a notebook."""

from __future__ import annotations

import base64
import html
from collections.abc import Awaitable
from typing import Any, overload

from denoised._asyncio import AsyncStream
from denoised._blocking import Stream
from denoised.events import (
    Accepted,
    Finished,
    Frame,
    GenerationEvent,
    Image,
    Progress,
    Queued,
    Started,
)

#: Small images are enlarged to this many pixels, so that people can see them.
_LEAST_SHOWN_PIXELS = 160


@overload
def show(events: Stream[GenerationEvent]) -> list[Image]: ...
@overload
def show(events: AsyncStream[GenerationEvent]) -> Awaitable[list[Image]]: ...
def show(
    events: Stream[GenerationEvent] | AsyncStream[GenerationEvent],
) -> list[Image] | Awaitable[list[Image]]:
    """Shows a generation live in a notebook, and returns its images. Needs `ipython`.

        images = denoised.show(client.generate(prompt="a fox", frames=1))

    The pictures are the latest frames, if the generation has `frames`, then the images. The events
    of an `AsyncClient` are awaited: `await denoised.show(...)`.

    Raises:
        ModuleNotFoundError: install `denoised-client[notebook]`.
    """
    preview = _Preview()
    return preview.follow(events) if isinstance(events, Stream) else preview.follow_async(events)


class _Preview:
    """What a cell of a notebook shows of one generation."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._pictures: dict[int, Frame | Image] = {}
        self._status = "Waiting for the server"
        self._handle: Any = display(HTML(self._text()), display_id=True)

    def follow(self, events: Stream[GenerationEvent]) -> list[Image]:
        with events:
            for event in events:
                self._show(event)
        return self._images()

    async def follow_async(self, events: AsyncStream[GenerationEvent]) -> list[Image]:
        async with events:
            async for event in events:
                self._show(event)
        return self._images()

    def _images(self) -> list[Image]:
        pictures = (self._pictures[index] for index in sorted(self._pictures))
        return [picture for picture in pictures if isinstance(picture, Image)]

    def _show(self, event: GenerationEvent) -> None:
        match event:
            case Accepted():
                return
            case Queued():
                self._status = f"{event.position} requests ahead"
            case Started():
                self._status = "Started"
            case Progress():
                self._status = f"Step {event.steps_done} of {event.steps_total}"
            case Frame() | Image():
                self._pictures[event.image_index] = event
            case Finished():
                self._status = f"{event.images} images in {event.elapsed_seconds:.1f} s"
        if self._handle is not None:  # None outside IPython
            self._handle.update(self._html(self._text()))

    def _text(self) -> str:
        pictures = [self._pictures[index] for index in sorted(self._pictures)]
        return "".join(map(_picture_tag, pictures)) + f"<div>{html.escape(self._status)}</div>"


def _picture_tag(picture: Frame | Image) -> str:
    # Drawn by the browser at a multiple of its size, so that every pixel of a small image is seen.
    scale = -(-_LEAST_SHOWN_PIXELS // max(picture.width, picture.height))
    encoding, data = picture.encoding, picture.data
    if encoding == "raw_float32":
        encoding, data = "png", picture._repr_png_()
    source = f"data:image/{encoding};base64,{base64.b64encode(data).decode()}"
    style = "image-rendering: pixelated; display: inline-block; margin: 2px"
    return f'<img src="{source}" width="{picture.width * scale}" style="{style}">'
