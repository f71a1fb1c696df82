"""A progress bar for generations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, overload

from denoised._asyncio import AsyncStream
from denoised._blocking import Stream
from denoised.events import Finished, GenerationEvent, Progress, Queued


@overload
def progress_bar(events: Stream[GenerationEvent], **options: Any) -> Iterator[GenerationEvent]: ...
@overload
def progress_bar(
    events: AsyncStream[GenerationEvent], **options: Any
) -> AsyncIterator[GenerationEvent]: ...
def progress_bar(
    events: Stream[GenerationEvent] | AsyncStream[GenerationEvent], **options: Any
) -> Iterator[GenerationEvent] | AsyncIterator[GenerationEvent]:
    """Passes the events of a generation on, and shows how far it is. Needs `tqdm`.

        for event in denoised.progress_bar(client.generate(prompt="a fox", steps=50)): ...

    Args:
        events: of a generation.
        **options: for tqdm, such as `leave=False`.

    Raises:
        ModuleNotFoundError: install `denoised-client[tqdm]`.
    """
    bar = _Bar(options)
    return bar.follow(events) if isinstance(events, Stream) else bar.follow_async(events)


class _Bar:
    def __init__(self, options: dict[str, Any]) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(**{"unit": "step", **options})

    def follow(self, events: Stream[GenerationEvent]) -> Iterator[GenerationEvent]:
        with self._bar, events:
            for event in events:
                self._show(event)
                yield event

    async def follow_async(
        self, events: AsyncStream[GenerationEvent]
    ) -> AsyncIterator[GenerationEvent]:
        with self._bar:
            async with events:
                async for event in events:
                    self._show(event)
                    yield event

    def _show(self, event: GenerationEvent) -> None:
        bar = self._bar
        match event:
            case Queued():
                bar.set_postfix_str(f"{event.position} requests ahead")
            case Progress():
                bar.set_postfix_str("")
                bar.total = event.steps_total
                bar.update(event.steps_done - bar.n)
            case Finished() if bar.total is not None:
                bar.update(bar.total - bar.n)
