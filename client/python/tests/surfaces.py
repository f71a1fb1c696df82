"""Both clients behind one face, so that every test runs with either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import denoised


class Events(Protocol):
    """The events of a stream."""

    def __iter__(self) -> Iterator[Any]: ...

    def __next__(self) -> Any: ...

    def close(self) -> None:
        """Leaves the stream."""


class Surface(Protocol):
    """A client of one kind."""

    def call(self, use: Callable[[Any], Any]) -> Any:
        """The result of a method of the client."""

    def events(self, use: Callable[[Any], Any]) -> Events:
        """The events of a stream of the client."""

    def close(self) -> None:
        """Closes the client."""


class BlockingSurface:
    def __init__(self, address: str, **options: Any) -> None:
        self._client = denoised.Client(address, **options)

    def call(self, use: Callable[[Any], Any]) -> Any:
        return use(self._client)

    def events(self, use: Callable[[Any], Any]) -> Events:
        stream: Events = use(self._client)
        return stream

    def close(self) -> None:
        self._client.close()


#: One for all tests: gRPC has one poller for all event loops, and tells it of closed ones, too.
LOOP = asyncio.new_event_loop()


class AsyncEvents:
    def __init__(self, stream: denoised.AsyncStream[Any]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return LOOP.run_until_complete(anext(self._stream))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        LOOP.run_until_complete(self._stream.aclose())


class AsyncSurface:
    def __init__(self, address: str, **options: Any) -> None:
        self._client = denoised.AsyncClient(address, **options)
        self._streams: list[denoised.AsyncStream[Any]] = []

    def call(self, use: Callable[[Any], Any]) -> Any:
        return LOOP.run_until_complete(use(self._client))

    def events(self, use: Callable[[Any], Any]) -> Events:
        self._streams.append(use(self._client))
        return AsyncEvents(self._streams[-1])

    def close(self) -> None:
        for stream in self._streams:
            LOOP.run_until_complete(stream.aclose())
        LOOP.run_until_complete(self._client.close())


SURFACES: dict[str, Callable[..., Surface]] = {
    "blocking": BlockingSurface,
    "asyncio": AsyncSurface,
}
