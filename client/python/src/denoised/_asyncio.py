"""Calls and streams on an asyncio event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Generic, TypeVar, cast

import grpc
import grpc.aio

from denoised._rpcs import Request, Response, Rpc
from denoised._sending import Sending
from denoised._transport import Endpoint, Reader, Transport

T = TypeVar("T")
Event = TypeVar("Event")


class AsyncStream(AsyncIterator[Event], Generic[Event]):
    """The events of a stream. The call begins with the first event that is asked for.

    Leave a stream early with `aclose`, or as a context manager:

        async with client.generate(class_label="people") as stream:
            async for event in stream: ...
    """

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events

    async def __anext__(self) -> Event:
        return await self._events.__anext__()

    async def aclose(self) -> None:
        """Ends the call. What that means for a generation is said at `generate`."""
        await self._events.aclose()

    async def __aenter__(self) -> AsyncStream[Event]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncTransport:
    """A channel that is opened on the event loop of the first call. See `Transport`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @functools.cached_property
    def _channel(self) -> grpc.aio.Channel:
        endpoint = self._endpoint
        credentials = endpoint.credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(endpoint.address, endpoint.options())
        return grpc.aio.secure_channel(endpoint.address, credentials, endpoint.options())

    @functools.cached_property
    def _sending_channel(self) -> grpc.Channel:
        return self._endpoint.open_channel()

    async def unary(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        method = self._channel.unary_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        return await method(request, timeout=timeout, metadata=self._endpoint.metadata)

    def stream(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Reader[Response]:
        method = self._channel.unary_stream(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        return _AsyncReader(method(request, timeout=timeout, metadata=self._endpoint.metadata))

    async def send(
        self, rpc: Rpc[Request, Response], requests: Iterator[Request], timeout: float | None
    ) -> Response:
        sending = Sending(self._sending_channel, rpc, requests, timeout, self._endpoint.metadata)
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        sending.add_done_callback(lambda: loop.call_soon_threadsafe(done.set))
        try:
            await done.wait()
            return sending.result()
        finally:
            sending.cancel()

    async def servers(self) -> Sequence[Endpoint]:
        return await self.offload(self._endpoint.servers)

    def to(self, server: Endpoint) -> Transport:
        return AsyncTransport(server)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def offload(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    async def close(self) -> None:
        if "_channel" in self.__dict__:
            await self._channel.close()
        if "_sending_channel" in self.__dict__:
            self._sending_channel.close()


class _AsyncReader(Generic[Response]):
    def __init__(self, call: grpc.aio.UnaryStreamCall[Request, Response]) -> None:
        self._call = call

    async def read(self) -> Response | None:
        message = await self._call.read()
        return None if message is grpc.aio.EOF else cast("Response", message)

    def cancel(self) -> None:
        self._call.cancel()
