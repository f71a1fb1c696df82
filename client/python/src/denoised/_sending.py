"""Calls that send a stream of messages.

Both transports send through gRPC's threads. On an event loop gRPC would report a call that the
server or the network ends while it sends as INTERNAL, whatever its status (grpcio 1.85).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic

import grpc

from denoised._rpcs import Request, Response, Rpc
from denoised._transport import Metadata


class Sending(Generic[Response]):
    """One such call. It begins at once, and reads its messages on a thread of gRPC."""

    def __init__(
        self,
        channel: grpc.Channel,
        rpc: Rpc[Request, Response],
        requests: Iterator[Request],
        timeout: float | None,
        metadata: Metadata,
    ) -> None:
        self._failures: list[Exception] = []
        method = channel.stream_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        begun = threading.Event()

        def guarded() -> Iterator[Request]:
            # gRPC would only log what the requests raise.
            try:
                yield from requests
            except Exception as error:
                self._failures.append(error)
                begun.wait()
                self.cancel()

        self._call = method.future(guarded(), timeout=timeout, metadata=metadata)
        begun.set()

    def result(self) -> Response:
        """Waits for the response. Raises grpc.RpcError, or what the requests have raised."""
        try:
            return self._call.result()
        except grpc.FutureCancelledError:
            if self._failures:
                raise self._failures[0] from None
            raise

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Has `callback` called, on any thread, once `result` does not wait any more."""

        def done(_: grpc.Future[Response]) -> None:
            callback()

        self._call.add_done_callback(done)

    def cancel(self) -> None:
        """Ends the call."""
        self._call.cancel()
