"""Generations that run or have run."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from denoised import _rpcs
from denoised._asyncio import AsyncStream
from denoised._blocking import Surface, blocking, streaming
from denoised._connection import Connection
from denoised._conversion import generation_event
from denoised._names import generation_name
from denoised._rpcs import Rpc
from denoised.events import GenerationEvent
from denoised.v1.generations_pb2 import (
    CancelGenerationRequest,
    Generation,
    GetGenerationRequest,
    ListGenerationsRequest,
    PauseGenerationRequest,
    PauseGenerationResponse,
    WatchGenerationRequest,
)
from denoised.v1.image_generation_pb2 import GenerateEvent

WatchGenerationCall: TypeAlias = tuple[
    Rpc[WatchGenerationRequest, GenerateEvent], WatchGenerationRequest
]


def after(generation: str) -> Callable[[GenerateEvent], WatchGenerationCall]:
    """Continues the stream of a generation after a message."""
    return lambda message: (
        _rpcs.WATCH_GENERATION,
        WatchGenerationRequest(name=generation, resume_after=message.sequence),
    )


class AsyncGenerations:
    """Generations that run, or whose results are kept. See docs/generations.md.

    Methods take the name "generations/photo-1", or "photo-1" for short.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def watch(
        self,
        generation: str,
        *,
        resume_after: int | None = None,
        timeout: float | None = None,
    ) -> AsyncStream[GenerationEvent]:
        """Reads a generation beside its other readers.

        If the connection breaks, the stream continues after its last event. Leaving it leaves the
        generation to its other readers or, without any, to its `on_disconnect`.

        Args:
            generation: its name.
            resume_after: the number of the last event that you have. None: from the beginning.
            timeout: of the whole stream, in seconds. None: no limit.

        Raises:
            NotFound: there is no such generation, or no longer; `reason` says which.
            Cancelled: it was cancelled.
            Aborted: it was paused.
            Error: it failed.
        """
        request = WatchGenerationRequest(
            name=generation_name(generation), resume_after=resume_after
        )
        return AsyncStream(self._watch(request, timeout))

    async def get(self, generation: str, *, timeout: float | None = None) -> Generation:
        """Describes a generation.

        Raises:
            NotFound: there is no such generation, or no longer; `reason` says which.
        """
        request = GetGenerationRequest(name=generation_name(generation))
        return await self._connection.look_up(_rpcs.GET_GENERATION, request, timeout)

    async def list(self, *, timeout: float | None = None) -> builtins.list[Generation]:
        """Generations that run and those whose results are kept, the newest first."""
        return await self._connection.list_all(
            _rpcs.LIST_GENERATIONS,
            ListGenerationsRequest(),
            lambda page: page.generations,
            timeout,
        )

    async def cancel(self, generation: str, *, timeout: float | None = None) -> Generation:
        """Ends a generation for all of its readers, who get `Cancelled`.

        Raises:
            NotFound: there is no such generation, or no longer; `reason` says which.
            FailedPrecondition: it has ended.
        """
        request = CancelGenerationRequest(name=generation_name(generation))
        return await self._connection.look_up(_rpcs.CANCEL_GENERATION, request, timeout)

    async def pause(
        self, generation: str, *, timeout: float | None = None
    ) -> PauseGenerationResponse:
        """Takes a generation off the device, and returns the `token` that continues it.

        `client.resume` takes the token until its `expire_time`, also after a restart of the server.
        The readers of the generation get `Paused`, and then `Aborted`. Pausing it again returns a
        token again, for as long as it is kept.

        Args:
            generation: its name.
            timeout: in seconds. None: no limit. It takes as long as the evaluation that is running.

        Raises:
            NotFound: there is no such generation, or no longer; `reason` says which.
            FailedPrecondition: it has ended, or the server cannot pause it; the message says why.
        """
        request = PauseGenerationRequest(name=generation_name(generation))
        return await self._connection.call(_rpcs.PAUSE_GENERATION, request, timeout)

    async def _watch(
        self, request: WatchGenerationRequest, timeout: float | None
    ) -> AsyncGenerator[GenerationEvent, None]:
        messages = self._connection.stream(
            _rpcs.WATCH_GENERATION, request, after(request.name), timeout
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                if event := generation_event(message):
                    yield event


class Generations(Surface[AsyncGenerations]):
    """Generations that run, or whose results are kept, as `AsyncGenerations` describes them."""

    watch = streaming(AsyncGenerations.watch)
    get = blocking(AsyncGenerations.get)
    list = blocking(AsyncGenerations.list)
    cancel = blocking(AsyncGenerations.cancel)
    pause = blocking(AsyncGenerations.pause)
