"""What the clients of a soak do. Each behaviour is a function of a `Scene` and a seeded `random`. It
returns once it is done, holds nothing afterwards, and raises `Unexpected` where the server does
something else than it should."""

import base64
import contextlib
import io
import json
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import denoised
import grpc
import numpy
import PIL.Image
from connections import (
    PATIENCE_SECONDS,
    GrpcConnection,
    HttpConnection,
    Unexpected,
    bare_socket,
    expect,
    expect_error,
    http_request,
    json_lines,
    read_to_end,
    reset,
)
from denoised.v1 import (
    activity_pb2,
    datasets_pb2,
    generations_pb2,
    image_generation_pb2 as images_pb2,
    models_pb2,
    sampler_pb2,
)

CLASSES = 8  # of emoji-32
SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "euler", "euler_a", "heun", "unipc")
ENCODINGS = (images_pb2.ENCODING_PNG, images_pb2.ENCODING_JPEG, images_pb2.ENCODING_WEBP,
             images_pb2.ENCODING_RAW_FLOAT32)
# Few, because the server caches what they encode to.
PROMPTS = ("a red fox", "an old wooden chair by the sea", "many stars over (snow:1.3)", "", "a harbor at dawn")
# The server waits for two seconds, and looks every second.
STALL_SECONDS = (4, 5)
# Of the steps of a generation that has to be there when something else happens to it.
MANY = 400

Code = grpc.StatusCode


@dataclass(frozen=True)
class Scene:
    """What there is for the clients."""

    grpc: str
    http: str
    token: str  # of a tenant
    other_token: str  # of another tenant
    guest_token: str  # without the scope train
    client: denoised.Client  # one that stays, with the same token
    denoise: Path  # the program
    folder: Path  # for files

    def connect(self, token=None):
        return GrpcConnection(self.grpc, token or self.token)

    def connect_http(self, token=None):
        return HttpConnection(self.http, token or self.token)


def emoji_request(random, steps=None, count=None, **fields):
    request = images_pb2.GenerateRequest(
        model="models/emoji-32", class_label=random.randrange(CLASSES),
        seed=random.randrange(1 << 32), count=count or random.randint(1, 2),
        image_encoding=random.choice(ENCODINGS),
        priority=random.choice((images_pb2.PRIORITY_INTERACTIVE, images_pb2.PRIORITY_NORMAL,
                                images_pb2.PRIORITY_BATCH)), **fields)
    request.sampler.steps = steps or random.randint(1, 4)
    if random.random() < 0.3:
        request.guidance.scale = 2
    if request.sampler.steps > 1 and random.random() < 0.2:
        request.start.image.picture.data = picture(random)
        request.start.image.strength = 1
    return request


def prompt_request(random, steps=None, **fields):
    request = images_pb2.GenerateRequest(model="models/sd15-like", prompt=random.choice(PROMPTS),
                                         seed=random.randrange(1 << 32), **fields)
    if random.random() < 0.2:
        request.adapters.add(name="adapters/pytorch_lora_weights", scale=random.choice((0.5, 1)))
    request.sampler.sampler = random.choice((sampler_pb2.SAMPLER_DDIM, sampler_pb2.SAMPLER_DPMPP,
                                             sampler_pb2.SAMPLER_UNIPC, sampler_pb2.SAMPLER_EULER))
    request.sampler.steps = steps or random.randint(1, 10)
    if random.random() < 0.5:
        request.guidance.scale = 5
        request.negative_prompt = random.choice(PROMPTS)
    return request


def any_request(random, steps=None, **fields):
    make = random.choice((emoji_request, prompt_request, prompt_request, prompt_request))
    return make(random, steps=steps, **fields)


def with_frames(request, random, encoding=None):
    request.frames.every_n_steps = 1
    request.frames.kinds.extend((images_pb2.FRAME_KIND_X_T, images_pb2.FRAME_KIND_X0))
    request.frames.encoding = encoding or random.choice(ENCODINGS)
    return request


def diffuse_request(random, pictures, steps):
    request = images_pb2.DiffuseRequest(
        model="models/emoji-32", seed=random.randrange(1 << 32), steps=steps,
        mode=random.choice((images_pb2.DIFFUSE_MODE_CLOSED_FORM,
                            images_pb2.DIFFUSE_MODE_STEP_BY_STEP)),
        encoding=images_pb2.ENCODING_RAW_FLOAT32)
    for _ in range(pictures):
        request.pictures.add(data=picture(random))
    return request


def picture(random, size=32):
    pixels = numpy.frombuffer(random.randbytes(size * size * 3), numpy.uint8)
    data = io.BytesIO()
    PIL.Image.fromarray(pixels.reshape(size, size, 3)).save(data, random.choice(("PNG", "JPEG", "WEBP")))
    return data.getvalue()


def check_generated(events, request):
    """The whole story of a generation."""
    images = sum(event.HasField("image") for event in events)
    expect(events and events[0].HasField("accepted"), "the first event is not `accepted`")
    expect(events[-1].HasField("finished"), "the last event is not `finished`")
    expect(images == max(1, request.count), f"there are {images} images of {request.count}")


# --- Clients that come, and go when they have what they want


def generate(scene, random):
    request = any_request(random)
    if random.random() < 0.5:
        with_frames(request, random)
    with scene.connect() as connection:
        stream = connection.call(connection.images.Generate, request)
        check_generated(read_to_end(stream, Code.OK), request)


def generate_on_a_connection_that_stays(scene, random):
    wanted = random.randint(1, 2)
    images = scene.client.generate_images(
        model="emoji-32", class_label=random.randrange(CLASSES), count=wanted,
        sampler=random.choice(SAMPLERS), steps=random.randint(1, 4), timeout=PATIENCE_SECONDS)
    expect(len(images) == wanted, f"there are {len(images)} images of {wanted}")


def generate_over_http(scene, random):
    body = {"model": "models/sd15-like", "prompt": random.choice(PROMPTS), "sampler": {"steps": 4}}
    if random.random() < 0.5:
        body["frames"] = {"everyNSteps": 1}
    with scene.connect_http() as connection:
        for _ in range(random.randint(1, 3)):
            response = connection.post("/denoised.v1.ImageGeneration/Generate", body)
            lines = list(json_lines(response))
            expect("finished" in lines[-1], f"the last line is {str(lines[-1])[:200]}")


def generate_as_openai(scene, random):
    body = {"model": "emoji-32", "prompt": "", "class_label": random.randrange(CLASSES), "steps": 2}
    streams = random.random() < 0.5
    if streams:
        body |= {"stream": True, "partial_images": 2}
    with scene.connect_http() as connection:
        response = connection.post("/v1/images/generations", body)
        text = response.read()
        expect(response.status == 200, f"HTTP status {response.status}: {text[:200]!r}")
        if streams:
            expect(b"image_generation.completed" in text, "the stream has no image")
        else:
            base64.b64decode(json.loads(text)["data"][0]["b64_json"])


def diffuse(scene, random):
    request = diffuse_request(random, pictures=random.randint(1, 3), steps=random.randint(1, 9))
    with scene.connect() as connection:
        events = read_to_end(connection.call(connection.images.Diffuse, request), Code.OK)
        expect(events[-1].HasField("finished"), "the last event is not `finished`")


def look_around(scene, random):
    """Calls that are answered at once, on a connection that stays and on new ones."""
    scene.client.plan("emoji-32", sampler=random.choice(SAMPLERS), steps=random.randint(1, 50))
    scene.client.generations.list()
    expect(scene.client.health() == "SERVING", "the server does not serve")
    with scene.connect() as connection:
        connection.call(connection.models.ListModels, models_pb2.ListModelsRequest())
        connection.call(connection.datasets.ListDatasets, datasets_pb2.ListDatasetsRequest())
    with scene.connect_http() as connection:
        connection.get_body("/")
        connection.get_body("/v1/models")
        connection.post("/denoised.v1.Models/GetModel", {"name": "models/emoji-32"}).read()


def read_slowly(scene, random):
    """With a pause after every frame, but not too slow for the server."""
    request = with_frames(prompt_request(random, steps=10), random)
    with scene.connect() as connection:
        for _ in connection.call(connection.images.Generate, request):
            time.sleep(0.05)


# --- Clients that stall


def stall(scene, random):
    """Takes the first frame, and then nothing for longer than the server waits."""
    request = diffuse_request(random, pictures=8, steps=60)
    with scene.connect() as connection:
        stream = connection.call(connection.images.Diffuse, request)
        next(stream)
        time.sleep(random.uniform(*STALL_SECONDS))
        read_to_end(stream, Code.CANCELLED)


def stall_over_http(scene, random):
    request = {"model": "models/emoji-32", "steps": 200, "encoding": "ENCODING_RAW_FLOAT32",
               "pictures": [{"data": base64.b64encode(picture(random)).decode()}] * 16}
    with bare_socket(scene.http, receive_buffer=4096) as connection:
        connection.sendall(http_request(scene.http, scene.token, "/denoised.v1.ImageGeneration/Diffuse",
                                        json.dumps(request).encode()))
        connection.recv(100)
        time.sleep(random.uniform(*STALL_SECONDS))
        end = b""
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1 << 16):
                end = block
        expect(not end.endswith(b"\r\n0\r\n\r\n"), "the server has waited for a client that stalls")


def say_nothing(scene, random):
    """Opens a connection for nothing, or with the beginning of something."""
    address = random.choice((scene.grpc, scene.http))
    beginnings = (b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") if address == scene.grpc else (
        b"", b"GET / HT", b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\n")
    with bare_socket(address) as connection:
        connection.sendall(random.choice(beginnings))
        time.sleep(random.uniform(0, 1.5))


# --- Clients that crash


def crash(scene, random):
    """A client in a process of its own, which is killed."""
    out = scene.folder / uuid.uuid4().hex
    command = [scene.denoise, "generate", "--server", scene.grpc, "--token-file",
               scene.folder / "token", "--model", "emoji-32", "--class-label",
               str(random.randrange(CLASSES)), "--count", "4", "--steps", str(MANY), "--frames", "1",
               "--out", out]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        try:
            process.wait(random.uniform(0.2, 2))
            raise Unexpected(f"denoise has ended: {process.stderr.read().decode()[-500:]}")
        except subprocess.TimeoutExpired:
            process.kill()


def reset_connection(scene, random):
    """Disappears in the middle of a stream."""
    body = {"model": "models/emoji-32", "classLabel": 1, "count": 2, "sampler": {"steps": MANY},
            "frames": {"everyNSteps": 1}}
    with bare_socket(scene.http) as connection:
        connection.sendall(http_request(scene.http, scene.token, "/denoised.v1.ImageGeneration/Generate",
                                        json.dumps(body).encode()))
        for _ in range(random.randint(0, 4)):
            expect(connection.recv(2048), "the stream has ended")
        reset(connection)


def leave_in_the_middle_of_a_request(scene, random):
    body = b'{"model": "models/emoji-32", '
    with bare_socket(scene.http) as connection:
        connection.sendall(http_request(scene.http, scene.token, "/denoised.v1.ImageGeneration/Generate",
                                        body, content_length=1000))
        time.sleep(random.uniform(0, 0.5))
        if random.random() < 0.5:
            reset(connection)


def upload_half(scene, random):
    """Ends in the middle of an upload, which is kept for a day; so it is deleted."""
    name = f"datasets/half-{uuid.uuid4().hex}"

    def messages():
        header = datasets_pb2.UploadHeader(name=name, format=datasets_pb2.DATASET_FORMAT_TAR,
                                           total_bytes=1 << 20, sha256=bytes(32))
        yield datasets_pb2.UploadDatasetRequest(header=header)
        chunk = datasets_pb2.UploadChunk(data=random.randbytes(1000))
        yield datasets_pb2.UploadDatasetRequest(chunk=chunk)
        raise ConnectionAbortedError

    with scene.connect() as connection:
        expect_error(lambda: connection.call(connection.datasets.UploadDataset, messages()),
                     Code.CANCELLED, Code.UNKNOWN)
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


# --- Clients that cancel, and whose deadlines pass


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
        lines = json_lines(connection.post("/denoised.v1.Activity/WatchActivity", body))
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
    body = {"model": request.model, "classLabel": request.class_label, "count": request.count,
            "sampler": {"steps": MANY}}
    with scene.connect_http() as connection:
        response = connection.post("/denoised.v1.ImageGeneration/Generate", body,
                                   {"Connect-Timeout-Ms": str(int(1000 * seconds))})
        text = response.read()
        expect(b"deadline_exceeded" in text, f"HTTP status {response.status}: {text[-200:]!r}")


# --- Generations that outlive their callers


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


# --- Callers who are refused


def ask_for_what_cannot_be(scene, random):
    request = emoji_request(random)
    match random.randrange(5):
        case 0:
            request.sampler.steps = 0
            request.count = 10_000
            code = Code.INVALID_ARGUMENT
        case 1:
            request.model = "models/absent"
            code = Code.NOT_FOUND
        case 2:
            request.prompt = "a fox"
            code = Code.INVALID_ARGUMENT
        case 3:
            request.start.image.picture.data = b"this is no picture"
            code = Code.INVALID_ARGUMENT
        case 4:
            return ask_for_what_cannot_be_over_http(scene)
    with scene.connect() as connection:
        read_to_end(connection.call(connection.images.Generate, request), code)
        return None


def ask_for_what_cannot_be_over_http(scene):
    with scene.connect_http() as connection:
        for body, status in ((b"{", 400), (b'{"count": 0}', 400), (b'{"nothing": 1}', 400)):
            response = connection.post("/denoised.v1.ImageGeneration/Generate", body)
            text = response.read()
            expect(response.status == status, f"HTTP status {response.status}: {text[:200]!r}")


def show_a_bad_token(scene, random):
    with scene.connect(token="no-token") as connection:
        read_to_end(connection.call(connection.images.Generate, emoji_request(random)),
                    Code.UNAUTHENTICATED)
    with scene.connect(token=scene.guest_token) as connection:
        expect_error(lambda: connection.call(connection.datasets.ListDatasets,
                                             datasets_pb2.ListDatasetsRequest()),
                     Code.PERMISSION_DENIED)
    with scene.connect_http(token="no-token") as connection:
        response = connection.post("/denoised.v1.ImageGeneration/Generate", b"{}")
        response.read()
        expect(response.status == 401, f"HTTP status {response.status}")


def look_for_what_is_others(scene, random):
    request = prompt_request(random, request_id=uuid.uuid4().hex)
    with scene.connect() as connection, scene.connect(token=scene.other_token) as other:
        stream = connection.call(connection.images.Generate, request)
        next(stream)
        watch = generations_pb2.WatchGenerationRequest(name=f"generations/{request.request_id}")
        read_to_end(other.call(other.generations.WatchGeneration, watch), Code.NOT_FOUND)
        read_to_end(stream, Code.OK)


# --- Training


def train(scene, random):
    """A job from its pictures to its end, which may be a cancellation, and all is deleted again."""
    name = f"shades-{uuid.uuid4().hex}"
    pictures = [(f"{('cats', 'dogs')[i % 2]}/{i}.png", PIL.Image.open(io.BytesIO(picture(random, 8))))
                for i in range(8)]
    scene.client.datasets.upload(pictures, name)
    job = scene.client.training.create(denoised.TrainingSettings(
        dataset=name, new_network={"height": 8, "width": 8, "block_out_channels": [8],
                                   "no_attention": True},
        batch_size=4, max_steps=4, seed=1, checkpoints={"every_n_steps": 2},
        samples={"count": 2, "sampler": {"steps": 2}})).name
    if random.random() < 0.3:
        scene.client.training.cancel(job)
    for _ in scene.client.training.watch(job, timeout=PATIENCE_SECONDS):
        pass
    scene.client.training.checkpoints(job)
    scene.client.training.delete(job)
    scene.client.datasets.delete(name)


def watch_activity(connection):
    """A dashboard that stays. Returns the stream."""
    request = activity_pb2.WatchActivityRequest()
    request.interval.FromMilliseconds(200)
    return connection.activity.WatchActivity(request, metadata=connection.metadata)


@dataclass(frozen=True)
class Behaviour:
    act: Any
    weight: int

    @property
    def name(self):
        return self.act.__name__.replace("_", " ")


BEHAVIOURS = (
    Behaviour(generate, 6),
    Behaviour(generate_on_a_connection_that_stays, 2),
    Behaviour(generate_over_http, 4),
    Behaviour(generate_as_openai, 2),
    Behaviour(diffuse, 3),
    Behaviour(look_around, 3),
    Behaviour(read_slowly, 1),
    Behaviour(stall, 1),
    Behaviour(stall_over_http, 1),
    Behaviour(say_nothing, 2),
    Behaviour(crash, 2),
    Behaviour(reset_connection, 3),
    Behaviour(leave_in_the_middle_of_a_request, 2),
    Behaviour(upload_half, 1),
    Behaviour(cancel, 4),
    Behaviour(close_the_connection, 2),
    Behaviour(leave_over_http, 2),
    Behaviour(let_the_deadline_pass, 2),
    Behaviour(detach, 4),
    Behaviour(watch_together, 2),
    Behaviour(ask_for_what_cannot_be, 3),
    Behaviour(show_a_bad_token, 1),
    Behaviour(look_for_what_is_others, 1),
    Behaviour(train, 1),
)
