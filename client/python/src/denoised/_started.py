"""Generations that this client starts."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Any

from denoised import _rpcs, errors
from denoised._connection import Connection
from denoised._conversion import generation_event
from denoised._generations import WatchGenerationCall, after
from denoised._names import generation_name
from denoised.events import GenerationEvent
from denoised.v1.generations_pb2 import CancelGenerationRequest
from denoised.v1.image_generation_pb2 import (
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_DETACH,
    GenerateEvent,
    GenerateRequest,
)

#: For the call that cancels a generation whose stream is left, in seconds.
_CANCEL_TIMEOUT = 5.0


class StartedGenerations:
    """Starts generations, and ends those that nobody else can come back to with their streams."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ours_alone: set[str] = set()  # names of those that may run

    async def generate(
        self, request: GenerateRequest, timeout: float | None
    ) -> AsyncGenerator[GenerationEvent, None]:
        """The events of a generation; `AsyncClient.generate` says what leaving them means."""
        is_new = not request.handover  # which would hold all the rest
        survives = is_new and request.on_disconnect != ON_DISCONNECT_CANCEL
        is_ours_alone = survives and not request.request_id and not request.on_disconnect
        if is_new:
            request = _accepting_handover(request)
        if survives:
            request = _surviving(request)
        name = generation_name(request.request_id)
        if is_ours_alone:
            self._ours_alone.add(name)
        reopen = _continuing(after(name) if survives else None)
        was_accepted = False
        try:
            messages = self._connection.stream(
                _rpcs.GENERATE, request, reopen, timeout, is_handover=_moves
            )
            async with contextlib.aclosing(messages):
                async for message in messages:
                    if message.HasField("accepted"):
                        if was_accepted:
                            continue  # by the server that continues the generation
                        was_accepted = True
                    if message.HasField("finished"):
                        self._ours_alone.discard(name)
                    if event := generation_event(message):
                        yield event
        except errors.Error as error:
            # After these the call has ended, and the generation may go on without it.
            if not isinstance(error, (errors.DeadlineExceeded, errors.Unavailable)):
                self._ours_alone.discard(name)
            raise
        finally:
            await self._leave(name)

    async def close(self) -> None:
        """Leaves the generations that run."""
        for name in list(self._ours_alone):
            await self._leave(name)

    async def _leave(self, name: str) -> None:
        if name not in self._ours_alone:
            return
        with contextlib.suppress(errors.Error):
            request = CancelGenerationRequest(name=name)
            await self._connection.call(_rpcs.CANCEL_GENERATION, request, _CANCEL_TIMEOUT)
        self._ours_alone.discard(name)


def _accepting_handover(request: GenerateRequest) -> GenerateRequest:
    """The same request for a generation that other servers may continue."""
    accepting = GenerateRequest()
    accepting.CopyFrom(request)
    accepting.accept_handover = True
    return accepting


def _continuing(
    watch: Callable[[GenerateEvent], WatchGenerationCall] | None,
) -> Callable[[GenerateEvent], tuple[_rpcs.Rpc[Any, GenerateEvent], Any] | None]:
    """Continues a generation after a message: elsewhere after a handover, else with `watch`.

    A paused generation is not followed: only its token continues it.
    """

    def reopen(message: GenerateEvent) -> tuple[_rpcs.Rpc[Any, GenerateEvent], Any] | None:
        if message.handover.paused:
            return None
        if _moves(message):
            return _rpcs.GENERATE, GenerateRequest(handover=message.handover.token)
        return watch(message) if watch else None

    return reopen


def _moves(message: GenerateEvent) -> bool:
    """Whether another server continues the generation now."""
    return message.HasField("handover") and not message.handover.paused


def _surviving(request: GenerateRequest) -> GenerateRequest:
    """The same request for a generation that outlives a broken connection."""
    surviving = GenerateRequest()
    surviving.CopyFrom(request)
    surviving.on_disconnect = ON_DISCONNECT_DETACH
    if not surviving.request_id:
        surviving.request_id = uuid.uuid4().hex
    return surviving
