"""How the clients of a soak reach the server: over gRPC, over HTTP, and with bare sockets."""

import contextlib
import http.client
import json
import socket
import struct

import grpc
from denoised.v1 import (
    activity_pb2_grpc,
    datasets_pb2_grpc,
    generations_pb2_grpc,
    image_generation_pb2_grpc,
    models_pb2_grpc,
)

# For whatever should not take long. On a busy machine it does.
PATIENCE_SECONDS = 120


class Unexpected(Exception):
    """The server did something else than it should."""


class GrpcConnection:
    """A connection of its own: other channels with the same options would share one."""

    def __init__(self, address, token):
        self._channel = grpc.insecure_channel(
            address,
            [
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
                ("grpc.http2.bdp_probe", 0),  # or gRPC would take megabytes that nobody reads
            ],
        )
        self.metadata = [("authorization", f"Bearer {token}")]
        self.images = image_generation_pb2_grpc.ImageGenerationStub(self._channel)
        self.generations = generations_pb2_grpc.GenerationsStub(self._channel)
        self.activity = activity_pb2_grpc.ActivityStub(self._channel)
        self.models = models_pb2_grpc.ModelsStub(self._channel)
        self.datasets = datasets_pb2_grpc.DatasetsStub(self._channel)

    def call(self, method, request, timeout=None):
        return method(request, timeout=timeout, metadata=self.metadata)

    def close(self):
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_to_end(stream, *expected):
    """The messages of a stream. `expected` are the codes that it may end with."""
    messages = []
    code = grpc.StatusCode.OK
    try:
        messages.extend(stream)
    except grpc.RpcError as error:
        code = error.code()
        expect(code in expected, f"the stream ends with {code.name}: {error.details()}")
    expect(code in expected, f"the stream ends with {code.name}")
    return messages


def expect_error(call, *expected):
    """Makes a call that has to fail."""
    try:
        answer = call()
    except grpc.RpcError as error:
        code = error.code()
        expect(code in expected, f"the call ends with {code.name}: {error.details()}")
        return
    raise Unexpected(f"the call succeeds: {str(answer)[:200]!r}")


def expect(condition, message):
    if not condition:
        raise Unexpected(message)


class HttpConnection(http.client.HTTPConnection):
    """Has a token, and speaks JSON."""

    def __init__(self, address, token):
        super().__init__(address, timeout=PATIENCE_SECONDS)
        self._token = token

    def post(self, path, body, headers=()):
        """Returns the response before its body is read."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.request(
            "POST",
            path,
            encoded,
            {
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                **dict(headers),
            },
        )
        return self.getresponse()

    def get(self, path, *statuses):
        self.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
        response = self.getresponse()
        body = response.read()
        expect(
            response.status in statuses, f"{path}: HTTP status {response.status}: {body[:200]!r}"
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def json_lines(response):
    expect(response.status == 200, f"HTTP status {response.status}")
    for line in response:
        yield json.loads(line)


@contextlib.contextmanager
def bare_socket(address, receive_buffer=None):
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        if receive_buffer is not None:  # before the connection has a window
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect((host, int(port)))
        yield connection


def http_request(address, token, path, body, content_length=None):
    """The bytes of a request, which may promise more than `body`."""
    length = len(body) if content_length is None else content_length
    return (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode() + body


def reset(connection):
    """Ends a connection as a crash may: what is unread is thrown away."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
