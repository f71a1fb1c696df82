"""Calls with deadlines, retries and errors for people, over either transport."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from denoised import errors
from denoised._retry import Attempts, Deadline, Retry
from denoised._rpcs import Request, Response, Rpc
from denoised._servers import Servers
from denoised._transport import Reader, T, Transport

Item = TypeVar("Item")


class Connection:
    """A server, or the servers behind a name. Every `timeout` is in seconds, None for no limit."""

    def __init__(
        self, transport: Transport, address: str, retry: Retry, lookup_timeout: float | None
    ) -> None:
        self._transport = transport
        self._servers = Servers(transport, address)
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
                return await self._unary(rpc, request, deadline)
            except errors.Unavailable as error:
                # Without a wait from the server it is not known whether it carried the call out.
                if not rpc.repeatable and error.retry_after is None:
                    raise
                await self.wait(attempts, error)

    async def _unary(
        self, rpc: Rpc[Request, Response], request: Request, deadline: Deadline
    ) -> Response:
        """One attempt, at the server that the call is about."""
        try:
            with self._errors():
                return await self._transport.unary(rpc, request, deadline.remaining())
        except errors.NotFound as error:
            if not rpc.is_about_generation:
                raise
            missing = error
        name: str = cast("Any", request).name
        async with self._servers.holder_of(name, missing, deadline) as server:
            with self._errors():
                return await server.unary(rpc, request, deadline.remaining())

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
            messages = self._messages(*opening, deadline)
            try:
                async for message in messages:
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
                await messages.aclose()

    async def _messages(
        self, rpc: Rpc[Request, Response], request: Request, deadline: Deadline
    ) -> AsyncGenerator[Response, None]:
        """One attempt, at the server that the stream is about."""
        has_begun = False
        try:
            messages = self._read(self._transport, rpc, request, deadline)
            async with contextlib.aclosing(messages):
                async for message in messages:
                    has_begun = True
                    yield message
            return
        except errors.NotFound as error:
            if has_begun or not rpc.is_about_generation:
                raise
            missing = error
        name: str = cast("Any", request).name
        async with self._servers.holder_of(name, missing, deadline) as server:
            messages = self._read(server, rpc, request, deadline)
            async with contextlib.aclosing(messages):
                async for message in messages:
                    yield message

    async def _read(
        self,
        transport: Transport,
        rpc: Rpc[Request, Response],
        request: Request,
        deadline: Deadline,
    ) -> AsyncGenerator[Response, None]:
        reader: Reader[Response] = transport.stream(rpc, request, deadline.remaining())
        try:
            while True:
                with self._errors():
                    message = await reader.read()
                if message is None:
                    return
                yield message
        finally:
            reader.cancel()

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

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        """Turns gRPC's errors into those of this package."""
        return errors.translated(self._address)

    async def close(self) -> None:
        """Closes the channel, which ends its calls."""
        self._is_closed = True
        await self._servers.close()
        await self._transport.close()
