"""What carries calls to the server.

There are two transports with the same coroutines: one suspends on an asyncio event loop
(`_asyncio`), the other blocks and never suspends (`_blocking`). All code above them is written
once, as coroutines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc

from denoised._address import each_server, is_loopback
from denoised._rpcs import Request, Response, Rpc
from denoised._version import __version__

#: A raw frame has 4 * channels * height * width bytes: this admits 4096 x 4096 RGB.
_MAX_RECEIVE_BYTES = 256 << 20

#: Calls take turns among the servers behind a name, except those that say that they drain.
_BALANCING = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
    }
)

Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"
T = TypeVar("T")
Message_co = TypeVar("Message_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Everything is PEM."""

    #: None for the roots that gRPC finds on this system.
    root_certificates: bytes | None
    #: None unless the server asks for one.
    certificate: bytes | None
    private_key: bytes | None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the server is and how to talk to it."""

    #: As gRPC names targets: "host:port", "dns:///host:port", "unix:/path".
    address: str
    #: None: plaintext.
    tls: Tls | None
    metadata: Metadata
    #: What the certificate must name, if not the host of `address`: the name that was resolved.
    authority: str | None = None

    def open_channel(self) -> grpc.Channel:
        """A channel that blocks."""
        credentials = self.credentials()
        if credentials is None:
            return grpc.insecure_channel(self.address, self.options())
        return grpc.secure_channel(self.address, credentials, self.options())

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: plaintext."""
        if self.tls is None:
            return None
        return grpc.ssl_channel_credentials(
            self.tls.root_certificates, self.tls.private_key, self.tls.certificate
        )

    def with_token(self, token: str, *, over_plaintext: bool) -> Endpoint:
        """The same, showing a token. Raises ValueError where others could read it on the way."""
        if self.tls is None and not self.is_local() and not over_plaintext:
            raise ValueError(
                f"the token would be sent to {self.address} without encryption, and anybody on the "
                "way could use it: pass tls=True, or token_over_plaintext=True if the network is "
                "yours"
            )
        return replace(self, metadata=(*self.metadata, ("authorization", f"Bearer {token}")))

    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return is_loopback(self.address)

    def may_be_several(self) -> bool:
        """Whether there may be several servers. One on this machine is the only one of its name."""
        return not self.is_local() or "," in self.address

    def servers(self) -> list[Endpoint]:
        """Each server behind the name; none if there is only one. May ask the DNS."""
        found = each_server(self.address) if self.may_be_several() else []
        return [replace(self, address=address, authority=authority) for address, authority in found]

    def options(self) -> Sequence[tuple[str, Any]]:
        """What gRPC should know about the channel."""
        return [
            *([("grpc.service_config", _BALANCING)] if self.may_be_several() else []),
            # gRPC asks for the addresses behind a name again only every 30 s by default, and a
            # rolling update can replace all servers within that time.
            ("grpc.dns_min_time_between_resolutions_ms", 1_000),
            ("grpc.primary_user_agent", f"denoised-python/{__version__}"),
            ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
            *([("grpc.default_authority", self.authority)] if self.authority else []),
            # The addresses of single servers are those that this machine can reach by itself.
            ("grpc.enable_http_proxy", 0 if self.is_local() or self.authority else 1),
            ("grpc.enable_retries", 0),  # this client retries, knowing which calls are repeatable
            # A connection that a firewall dropped without a word is noticed within about a minute.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # A server that comes back is noticed soon.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5_000),
        ]


class Reader(Protocol[Message_co]):
    """A stream of messages from the server."""

    async def read(self) -> Message_co | None:
        """The next message; None at the end.

        Raises:
            grpc.RpcError: the stream has failed.
        """

    def cancel(self) -> None:
        """Ends the call. Does nothing once it has ended."""


class Transport(Protocol):
    """A channel. Every `timeout` is in seconds, None for no limit."""

    async def unary(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Response:
        """Raises grpc.RpcError."""

    def stream(
        self, rpc: Rpc[Request, Response], request: Request, timeout: float | None
    ) -> Reader[Response]:
        """Opens a stream."""

    async def send(
        self, rpc: Rpc[Request, Response], requests: Iterator[Request], timeout: float | None
    ) -> Response:
        """Sends a stream of messages. Raises grpc.RpcError, or what `requests` raises."""

    async def servers(self) -> Sequence[Endpoint]:
        """Each server behind the name; none if there is only one."""

    def to(self, server: Endpoint) -> Transport:
        """A channel to one of `servers`, for the caller to close."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def offload(self, work: Callable[[], T]) -> T:
        """Runs what takes long without holding up an event loop."""

    async def close(self) -> None:
        """Closes the channel, which ends its calls."""
