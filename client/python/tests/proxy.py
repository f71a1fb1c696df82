"""A TCP proxy that breaks connections."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards connections to `target`, "host:port", until it cuts them.

    Args:
        target: where connections go.
        cut_after_bytes: for each of the first connections, after how many bytes from the target it
            is cut; 0 refuses it. Later connections are not cut.
        cut_after_bytes_sent: the same for bytes to the target.
    """

    def __init__(
        self,
        target: str,
        cut_after_bytes: list[int] | None = None,
        cut_after_bytes_sent: list[int] | None = None,
    ) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._limits = list(cut_after_bytes or [])
        self._sent_limits = list(cut_after_bytes_sent or [])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        #: How many connections there have been.
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            limit = self._limits.pop(0) if self._limits else None
            sent_limit = self._sent_limits.pop(0) if self._sent_limits else None
            if limit == 0:
                client.close()
                continue
            server = socket.create_connection(self._target)
            for source, sink, most in ((client, server, sent_limit), (server, client, limit)):
                arguments = (source, sink, most)
                threading.Thread(target=_forward, args=arguments, daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket, most: int | None) -> None:
    """Forwards bytes until one side ends, or there have been `most`; then ends both."""
    forwarded = 0
    with contextlib.suppress(OSError):
        while most is None or forwarded < most:
            data = source.recv(4096 if most is None else min(4096, most - forwarded))
            if not data:
                break
            sink.sendall(data)
            forwarded += len(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
