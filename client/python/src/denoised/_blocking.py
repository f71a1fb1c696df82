"""Calls and streams that block, made from those that suspend."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from denoised._asyncio import AsyncStream
from denoised._rpcs import Request, Response, Rpc
from denoised._sending import Sending
from denoised._transport import Endpoint, Message_co, Reader, Transport

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
Event = TypeVar("Event")


def run(awaitable: Awaitable[T]) -> T:
    """Runs to its end what awaits nothing but a `BlockingTransport`, which never suspends."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise AssertionError("the blocking client has suspended")


class Stream(Iterator[Event], Generic[Event]):
    """The events of a stream. The call begins with the first event that is asked for.

    Leaving a `for` loop early ends the call, unless something else holds the stream. Then use
    `close`, or the stream as a context manager:

        with client.generate(class_label="people") as stream:
            for event in stream: ...
    """

    def __init__(self, events: AsyncStream[Event]) -> None:
        self._events = events
        self._is_open = False

    def __next__(self) -> Event:
        self._is_open = True
        try:
            return run(self._events.__anext__())
        except BaseException as error:
            self._is_open = False
            if isinstance(error, StopAsyncIteration):
                raise StopIteration from None
            raise

    def close(self) -> None:
        """Ends the call. What that means for a generation is said at `generate`."""
        self._is_open = False
        run(self._events.aclose())

    def __enter__(self) -> Stream[Event]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # The garbage collector may come here on a thread that holds a lock of gRPC, where a call
        # would never end.
        if self._is_open and not sys.is_finalizing():
            threading.Thread(target=self.close).start()


class Surface(Generic[A]):
    """A part of the blocking client, over the same part of the one that suspends."""

    def __init__(self, target: A) -> None:
        self._target = target


def blocking(
    method: Callable[Concatenate[A, P], Awaitable[T]],
) -> Callable[Concatenate[Surface[A], P], T]:
    """The same method, for a `Surface`."""

    @functools.wraps(method)
    def call(surface: Surface[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(method(surface._target, *args, **kwargs))

    return call


def streaming(
    method: Callable[Concatenate[A, P], AsyncStream[Event]],
) -> Callable[Concatenate[Surface[A], P], Stream[Event]]:
    """The same method, for a `Surface`."""

    @functools.wraps(method)
    def call(surface: Surface[A], /, *args: P.args, **kwargs: P.kwargs) -> Stream[Event]:
        return Stream(method(surface._target, *args, **kwargs))

    return call


class BlockingTransport:
    """A channel whose coroutines block instead of suspending. Thread-safe. See `Transport`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._metadata = endpoint.metadata
        self._channel = endpoint.open_channel()

    async def unary(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        method = self._channel.unary_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        return method(request, timeout=timeout, metadata=self._metadata)

    def stream(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Reader[Response]:
        method = self._channel.unary_stream(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        return _BlockingReader(method(request, timeout=timeout, metadata=self._metadata))

    async def send(
        self, rpc: Rpc[Request, Response], requests: Iterator[Request], timeout: float | None
    ) -> Response:
        sending = Sending(self._channel, rpc, requests, timeout, self._metadata)
        try:
            return sending.result()
        finally:
            sending.cancel()

    async def servers(self) -> Sequence[Endpoint]:
        return self._endpoint.servers()

    def to(self, server: Endpoint) -> Transport:
        return BlockingTransport(server)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def offload(self, work: Callable[[], T]) -> T:
        return work()

    async def close(self) -> None:
        self._channel.close()


class _Call(Protocol[Message_co]):
    def __next__(self) -> Message_co: ...

    def __iter__(self) -> Iterator[Message_co]: ...

    def cancel(self) -> object: ...


class _BlockingReader(Generic[Response]):
    def __init__(self, call: _Call[Response]) -> None:
        self._call = call

    async def read(self) -> Response | None:
        return next(self._call, None)

    def cancel(self) -> None:
        self._call.cancel()
