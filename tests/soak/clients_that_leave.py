"""Clients of a soak that stall, crash, cancel, or leave a generation behind. See clients.py."""

import base64
import contextlib
import json
import subprocess
import time
import uuid

import denoised
import grpc
from connections import (
    PATIENCE_SECONDS,
    Unexpected,
    bare_socket,
    expect,
    expect_error,
    json_lines,
    read_to_end,
    reset,
)
from denoised.v1 import datasets_pb2, generations_pb2
from denoised.v1 import image_generation_pb2 as images_pb2
from scene import (
    CLASSES,
    DIFFUSE,
    GENERATE,
    MANY,
    WATCH_ACTIVITY,
    any_request,
    check_generated,
    diffuse_request,
    emoji_request,
    picture,
    prompt_request,
    with_frames,
)

Code = grpc.StatusCode

# The server waits for four seconds, and looks every second. Where a busy machine gives it no time,
# such a client may have everything after all; but not every one, which the soak checks in the end.
STALL_SECONDS = (6, 7)


# --- They stall


def stall(scene, random):
    """Takes the first frame, and then nothing for longer than the server waits."""
    request = diffuse_request(random, pictures=8, steps=60)
    with scene.connect() as connection:
        stream = connection.call(connection.images.Diffuse, request)
        next(stream)
        time.sleep(random.uniform(*STALL_SECONDS))
        read_to_end(stream, Code.CANCELLED, Code.OK)


def stall_over_http(scene, random):
    request = {
        "model": "models/emoji-32",
        "steps": 200,
        "encoding": "ENCODING_RAW_FLOAT32",
        "pictures": [{"data": base64.b64encode(picture(random)).decode()}] * 16,
    }
    with bare_socket(scene.http, receive_buffer=4096) as connection:
        connection.sendall(scene.http_bytes(DIFFUSE, json.dumps(request).encode()))
        connection.recv(100)
        time.sleep(random.uniform(*STALL_SECONDS))
        with contextlib.suppress(ConnectionError):
            while connection.recv(1 << 16):
                pass


def say_nothing(scene, random):
    """Opens a connection for nothing, or with the beginning of something."""
    address = random.choice((scene.grpc, scene.http))
    beginnings = (
        (b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        if address == scene.grpc
        else (b"", b"GET / HT", b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\n")
    )
    with bare_socket(address) as connection:
        connection.sendall(random.choice(beginnings))
        time.sleep(random.uniform(0, 1.5))


# --- They crash


def crash(scene, random):
    """A client in a process of its own, which is killed."""
    out = scene.folder / uuid.uuid4().hex
    command = [
        scene.denoise,
        "generate",
        "--server",
        scene.grpc,
        "--token-file",
        scene.folder / "token",
        "--model",
        "emoji-32",
        "--class-label",
        str(random.randrange(CLASSES)),
        "--count",
        "4",
        "--steps",
        str(MANY),
        "--frames",
        "1",
        "--out",
        out,
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            process.wait(random.uniform(0.2, 2))
            raise Unexpected(f"denoise has ended: {process.stderr.read().decode()[-500:]}")
        except subprocess.TimeoutExpired:
            process.kill()


def reset_connection(scene, random):
    """Disappears in the middle of a stream."""
    body = {
        "model": "models/emoji-32",
        "classLabel": 1,
        "count": 2,
        "sampler": {"steps": MANY},
        "frames": {"everyNSteps": 1},
    }
    with bare_socket(scene.http) as connection:
        connection.sendall(scene.http_bytes(GENERATE, json.dumps(body).encode()))
        for _ in range(random.randint(0, 4)):
            expect(connection.recv(2048), "the stream has ended")
        reset(connection)


def leave_in_the_middle_of_a_request(scene, random):
    body = b'{"model": "models/emoji-32", '
    with bare_socket(scene.http) as connection:
        connection.sendall(scene.http_bytes(GENERATE, body, content_length=1000))
        time.sleep(random.uniform(0, 0.5))
        if random.random() < 0.5:
            reset(connection)


def upload_half(scene, random):
    """Ends in the middle of an upload, which is kept for a day; so it is deleted."""
    name = f"datasets/half-{uuid.uuid4().hex}"

    def messages():
        header = datasets_pb2.UploadHeader(
            name=name, format=datasets_pb2.DATASET_FORMAT_TAR, total_bytes=1 << 20, sha256=bytes(32)
        )
        yield datasets_pb2.UploadDatasetRequest(header=header)
        chunk = datasets_pb2.UploadChunk(data=random.randbytes(1000))
        yield datasets_pb2.UploadDatasetRequest(chunk=chunk)
        raise ConnectionAbortedError

    with scene.connect() as connection:
        expect_error(
            lambda: connection.call(connection.datasets.UploadDataset, messages()),
            Code.CANCELLED,
            Code.UNKNOWN,
        )
    delete_once_nobody_sends(scene, name)


def delete_once_nobody_sends(scene, name):
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return scene.client.datasets.delete(name)
        except denoised.NotFound:  # the call was cancelled before the server has read the header
            return None
        except (denoised.FailedPrecondition, denoised.Aborted):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


# --- They cancel, or their deadlines pass


def cancel(scene, random):
    request = with_frames(emoji_request(random, steps=MANY), random)
    with scene.connect() as connection:
        stream = connection.call(connection.images.Generate, request)
        for _ in range(random.randint(0, 6)):
            next(stream)
        stream.cancel()
        read_to_end(stream, Code.CANCELLED)


def close_the_connection(scene, random):
    request = any_request(random, steps=MANY)
    with scene.connect() as connection:
        stream = connection.call(connection.images.Generate, request)
        next(stream)
    read_to_end(stream, Code.CANCELLED)


def leave_over_http(scene, random):
    body = {"interval": "0.05s"}
    with scene.connect_http() as connection:
        lines = json_lines(connection.post(WATCH_ACTIVITY, body))
        for _ in range(random.randint(1, 3)):
            next(lines)


def let_the_deadline_pass(scene, random):
    seconds = random.uniform(0.05, 1)
    request = emoji_request(random, steps=MANY, count=4)
    if random.random() < 0.5:
        with scene.connect() as connection:
            stream = connection.call(connection.images.Generate, request, timeout=seconds)
            read_to_end(stream, Code.DEADLINE_EXCEEDED)
        return
    body = {
        "model": request.model,
        "classLabel": request.class_label,
        "count": request.count,
        "sampler": {"steps": MANY},
    }
    with scene.connect_http() as connection:
        response = connection.post(GENERATE, body, {"Connect-Timeout-Ms": str(int(1000 * seconds))})
        text = response.read()
        expect(b"deadline_exceeded" in text, f"HTTP status {response.status}: {text[-200:]!r}")


# --- They leave a generation behind


def detach(scene, random):
    """Starts a generation and leaves it; another connection reads the rest, or cancels it."""
    request = with_frames(any_request(random, steps=random.randint(5, 10)), random)
    request.request_id = uuid.uuid4().hex
    request.on_disconnect = images_pb2.ON_DISCONNECT_DETACH
    name = f"generations/{request.request_id}"
    with scene.connect() as connection:
        stream = connection.call(connection.images.Generate, request)
        last = next(stream).sequence
        stream.cancel()
    with scene.connect() as connection:
        watch = generations_pb2.WatchGenerationRequest(name=name)
        if random.random() < 0.5:
            watch.resume_after = last
        stream = connection.call(connection.generations.WatchGeneration, watch)
        if random.random() < 0.3:
            cancel_generation(connection, name)
            read_to_end(stream, Code.OK, Code.CANCELLED)
            return
        events = read_to_end(stream, Code.OK)
        expect(events[-1].HasField("finished"), "the last event is not `finished`")
        if random.random() < 0.5:
            join_again(connection, request)


def cancel_generation(connection, name):
    request = generations_pb2.CancelGenerationRequest(name=name)
    try:
        connection.call(connection.generations.CancelGeneration, request)
    except grpc.RpcError as error:  # it may have ended
        expect(error.code() == Code.FAILED_PRECONDITION, f"cancelling: {error.details()}")


def join_again(connection, request):
    """Gets the result that is kept; the server computes it again if that has expired."""
    events = read_to_end(connection.call(connection.images.Generate, request), Code.OK)
    check_generated(events, request)


def watch_together(scene, random):
    """Two readers of a generation, of which the one that started it leaves first."""
    request = with_frames(prompt_request(random, steps=20), random)
    request.request_id = uuid.uuid4().hex
    with scene.connect() as connection, scene.connect() as other:
        stream = connection.call(connection.images.Generate, request)
        next(stream)
        watch = generations_pb2.WatchGenerationRequest(name=f"generations/{request.request_id}")
        watching = other.call(other.generations.WatchGeneration, watch)
        next(watching)
        stream.cancel()
        events = read_to_end(watching, Code.OK)
        expect(events[-1].HasField("finished"), "the last event is not `finished`")
