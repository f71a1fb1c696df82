"""Calls with deadlines, retries and errors for people, over either transport."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any, TypeVar

import grpc

from denoised import errors
from denoised._retry import Attempts, Deadline, Retry
from denoised._rpcs import Request, Response, Rpc
from denoised._transport import Reader, T, Transport

Item = TypeVar("Item")


class Connection:
    """One server, over one channel. Every `timeout` is in seconds, None for no limit."""

    def __init__(
        self, transport: Transport, address: str, retry: Retry, lookup_timeout: float | None
    ) -> None:
        self._transport = transport
        self._address = address
        self._retry = retry
        self._lookup_timeout = lookup_timeout
        self._is_closed = False

    async def look_up(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        """A call that answers at once: without a `timeout`, that of the client holds."""
        return await self.call(rpc, request, self._lookup_timeout if timeout is None else timeout)

    async def list_all(
        self,
        rpc: Rpc[Request, Response],
        request: Request,
        items: Callable[[Response], Iterable[Item]],
        timeout: float | None,
    ) -> list[Item]:
        """The `items` of every page of a list."""
        found: list[Item] = []
        page_request: Any = request
        while True:
            page: Any = await self.look_up(rpc, request, timeout)
            found.extend(items(page))
            if not page.next_page_token:
                return found
            page_request.page_token = page.next_page_token

    async def call(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        """A call that takes as long as it takes. Raises `errors.Error`."""
        deadline = Deadline(timeout)
        attempts = Attempts(self._retry, deadline)
        while True:
            try:
                with self._errors():
                    return await self._transport.unary(rpc, request, deadline.remaining())
            except errors.Unavailable as error:
                # Without a wait from the server it is not known whether it carried the call out.
                if not rpc.repeatable and error.retry_after is None:
                    raise
                await self.wait(attempts, error)

    async def stream(
        self,
        rpc: Rpc[Request, Response],
        request: Request,
        reopen: Callable[[Response], tuple[Rpc[Any, Response], Any] | None] | None,
        timeout: float | None,
        is_handover: Callable[[Response], bool] = lambda _: False,
    ) -> AsyncGenerator[Response, None]:
        """Yields the messages of a stream. Raises `errors.Error`.

        A stream that breaks is opened again with what `reopen` makes of its last message. Without
        `reopen`, or if that makes None of it, the stream fails.

        A server that closes its connections cancels what arrives at that moment. So a call that
        was opened after a handover, and has got no answer, is opened again also after CANCELLED.
        After an answer CANCELLED means what it says.
        """
        deadline = Deadline(timeout)
        attempts = Attempts(self._retry, deadline)
        opening: tuple[Rpc[Any, Response], Any] = (rpc, request)
        last: Response | None = None
        presents_handover = False  # and has got no answer
        while True:
            reader = self._transport.stream(*opening, deadline.remaining())
            try:
                while (message := await self._read(reader)) is not None:
                    attempts.answered()
                    presents_handover = False
                    last = message
                    yield message
                return
            except errors.Error as error:
                if isinstance(error, errors.NotFound) and attempts.broken_by:
                    raise attempts.broken_by from error  # the server has lost what was streamed
                if last is not None:
                    reopening = reopen(last) if reopen else None
                    if reopening is None:
                        raise
                    opening = reopening
                was_closing = presents_handover and not self._is_closed
                presents_handover = last is not None and is_handover(last)
                await self.wait(attempts, error, or_cancelled=was_closing)
            finally:
                reader.cancel()

    async def _read(self, reader: Reader[Response]) -> Response | None:
        with self._errors():
            return await reader.read()

    async def send(
        self, rpc: Rpc[Request, Response], requests: Iterator[Request], timeout: float | None
    ) -> Response:
        """One attempt to send a stream of messages. Raises `errors.Error`."""
        with self._errors():
            return await self._transport.send(rpc, requests, timeout)

    async def offload(self, work: Callable[[], T]) -> T:
        """Runs what takes long without holding up an event loop."""
        return await self._transport.offload(work)

    def attempts(self, deadline: Deadline) -> Attempts:
        """For a call that `send`s."""
        return Attempts(self._retry, deadline)

    async def wait(
        self, attempts: Attempts, error: errors.Error, *, or_cancelled: bool = False
    ) -> None:
        """Waits for the next attempt. Raises `error` if there is to be none."""
        await self._transport.sleep(attempts.wait_seconds(error, or_cancelled=or_cancelled))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns gRPC's errors into those of this package."""
        try:
            yield
        except grpc.RpcError as rpc_error:
            raise errors.from_rpc_error(rpc_error, self._address) from None

    async def close(self) -> None:
        """Closes the channel, which ends its calls."""
        self._is_closed = True
        await self._transport.close()
