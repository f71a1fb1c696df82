"""Both clients behind one face, so that every test runs with either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import denoised


class Surface(Protocol):
    """A client of one kind."""

    def call(self, use: Callable[[Any], Any]) -> Any:
        """The result of a method of the client."""

    def events(self, use: Callable[[Any], Any]) -> Iterator[Any]:
        """The events of a stream of the client; closing the iterator leaves the stream."""

    def close(self) -> None:
        """Closes the client."""


class BlockingSurface:
    def __init__(self, address: str, **options: Any) -> None:
        self._client = denoised.Client(address, **options)

    def call(self, use: Callable[[Any], Any]) -> Any:
        return use(self._client)

    def events(self, use: Callable[[Any], Any]) -> Iterator[Any]:
        with use(self._client) as stream:
            yield from stream

    def close(self) -> None:
        self._client.close()


#: One for all tests: gRPC has one poller for all event loops, and tells it of closed ones, too.
LOOP = asyncio.new_event_loop()


class AsyncSurface:
    def __init__(self, address: str, **options: Any) -> None:
        self._client = denoised.AsyncClient(address, **options)
        self._streams: list[denoised.AsyncStream[Any]] = []

    def call(self, use: Callable[[Any], Any]) -> Any:
        return LOOP.run_until_complete(use(self._client))

    def events(self, use: Callable[[Any], Any]) -> Iterator[Any]:
        stream = use(self._client)
        self._streams.append(stream)
        try:
            while True:
                try:
                    yield LOOP.run_until_complete(anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            LOOP.run_until_complete(stream.aclose())

    def close(self) -> None:
        for stream in self._streams:
            LOOP.run_until_complete(stream.aclose())
        LOOP.run_until_complete(self._client.close())


SURFACES: dict[str, Callable[..., Surface]] = {
    "blocking": BlockingSurface,
    "asyncio": AsyncSurface,
}
