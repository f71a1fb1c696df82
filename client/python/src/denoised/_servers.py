"""The servers behind one name, asked in turn for what only one of them has."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from denoised import _rpcs, errors
from denoised._retry import Deadline
from denoised._transport import Transport
from denoised.v1.generations_pb2 import GetGenerationRequest

#: For the question to one server, in seconds: one that does not answer must not use up the time.
_ASK_TIMEOUT = 2.0


class Servers:
    """Finds the server of a generation. Safe for as many threads as `transport` is."""

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport = transport
        self._address = address
        self._open: set[Transport] = set()

    @contextlib.asynccontextmanager
    async def holder_of(
        self, generation: str, missing: errors.Error, deadline: Deadline
    ) -> AsyncGenerator[Transport, None]:
        """The server that has a generation, after another one has answered that it has not.

        Raises:
            Error: `missing`, if no server has it.
            Unavailable: a server that may have it did not answer.
        """
        silent: errors.Error | None = None
        for endpoint in await self._transport.servers():
            server = self._transport.to(endpoint)
            self._open.add(server)
            try:
                try:
                    if not await self._has(server, generation, deadline):
                        continue
                except errors.Error as error:
                    silent = error
                    continue
                yield server
                return
            finally:
                self._open.discard(server)
                await server.close()
        if silent is None:
            raise missing
        raise errors.Unavailable(
            f"no server behind {self._address} that could be asked has {generation}; one could not "
            f"be asked: {silent}"
        ) from missing

    async def close(self) -> None:
        """Ends the calls to single servers."""
        for server in list(self._open):
            await server.close()

    async def _has(self, server: Transport, generation: str, deadline: Deadline) -> bool:
        remaining = deadline.remaining()
        timeout = _ASK_TIMEOUT if remaining is None else min(_ASK_TIMEOUT, remaining)
        try:
            with errors.translated(self._address):
                await server.unary(
                    _rpcs.GET_GENERATION, GetGenerationRequest(name=generation), timeout
                )
        except errors.NotFound:
            return False
        return True
