"""What the clients of a soak do.

Each behaviour is a function of a `Scene` and a seeded `random`. It returns once it is done, holds
nothing afterwards, and raises `Unexpected` where the server does not do what it should.
"""

import base64
import contextlib
import io
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import clients_that_leave
import denoised
import grpc
import PIL.Image
from connections import PATIENCE_SECONDS, expect, expect_error, json_lines, read_to_end
from denoised.v1 import activity_pb2, datasets_pb2, generations_pb2, models_pb2
from scene import (
    CLASSES,
    GENERATE,
    PROMPTS,
    SAMPLERS,
    any_request,
    check_generated,
    diffuse_request,
    emoji_request,
    picture,
    prompt_request,
    with_frames,
)

Code = grpc.StatusCode

# --- They come, and go when they have what they want


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
        model="emoji-32",
        class_label=random.randrange(CLASSES),
        count=wanted,
        sampler=random.choice(SAMPLERS),
        steps=random.randint(1, 4),
        timeout=PATIENCE_SECONDS,
    )
    expect(len(images) == wanted, f"there are {len(images)} images of {wanted}")


def generate_over_http(scene, random):
    body = {"model": "models/sd15-like", "prompt": random.choice(PROMPTS), "sampler": {"steps": 4}}
    if random.random() < 0.5:
        body["frames"] = {"everyNSteps": 1}
    with scene.connect_http() as connection:
        for _ in range(random.randint(1, 3)):
            response = connection.post(GENERATE, body)
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
        connection.get("/", 200, 404)  # a server can be built without its page
        connection.get("/v1/models", 200)
        connection.post("/denoised.v1.Models/GetModel", {"name": "models/emoji-32"}).read()


def read_slowly(scene, random):
    """With a pause after every frame, but not too slow for the server."""
    request = with_frames(prompt_request(random, steps=10), random)
    with scene.connect() as connection:
        for _ in connection.call(connection.images.Generate, request):
            time.sleep(0.05)


# --- They are refused


def send_invalid_requests(scene, random):
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
            return send_invalid_requests_over_http(scene)
    with scene.connect() as connection:
        read_to_end(connection.call(connection.images.Generate, request), code)
        return None


def send_invalid_requests_over_http(scene):
    with scene.connect_http() as connection:
        for body, status in ((b"{", 400), (b'{"count": 0}', 400), (b'{"nothing": 1}', 400)):
            response = connection.post(GENERATE, body)
            text = response.read()
            expect(response.status == status, f"HTTP status {response.status}: {text[:200]!r}")


def show_a_bad_token(scene, random):
    with scene.connect(token="no-token") as connection:
        read_to_end(
            connection.call(connection.images.Generate, emoji_request(random)), Code.UNAUTHENTICATED
        )
    with scene.connect(token=scene.guest_token) as connection:
        expect_error(
            lambda: connection.call(
                connection.datasets.ListDatasets, datasets_pb2.ListDatasetsRequest()
            ),
            Code.PERMISSION_DENIED,
        )
    with scene.connect_http(token="no-token") as connection:
        response = connection.post(GENERATE, b"{}")
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


# --- They train


def train(scene, random):
    """A job from its pictures to its end, which may be a cancellation. All is deleted again."""
    name = f"shades-{uuid.uuid4().hex}"
    pictures = [
        (f"{('cats', 'dogs')[i % 2]}/{i}.png", PIL.Image.open(io.BytesIO(picture(random, size=8))))
        for i in range(8)
    ]
    scene.client.datasets.upload(pictures, name)
    job = scene.client.training.create(
        denoised.TrainingSettings(
            dataset=name,
            new_network={"height": 8, "width": 8, "block_out_channels": [8], "no_attention": True},
            batch_size=4,
            max_steps=4,
            seed=1,
            checkpoints={"every_n_steps": 2},
            samples={"count": 2, "sampler": {"steps": 2}},
        )
    ).name
    if random.random() < 0.3:
        with contextlib.suppress(denoised.FailedPrecondition):  # it may have ended
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
    Behaviour(clients_that_leave.stall, 1),
    Behaviour(clients_that_leave.stall_over_http, 1),
    Behaviour(clients_that_leave.say_nothing, 2),
    Behaviour(clients_that_leave.crash, 2),
    Behaviour(clients_that_leave.reset_connection, 3),
    Behaviour(clients_that_leave.leave_in_the_middle_of_a_request, 2),
    Behaviour(clients_that_leave.upload_half, 1),
    Behaviour(clients_that_leave.cancel, 4),
    Behaviour(clients_that_leave.close_the_connection, 2),
    Behaviour(clients_that_leave.leave_over_http, 2),
    Behaviour(clients_that_leave.let_the_deadline_pass, 2),
    Behaviour(clients_that_leave.detach, 4),
    Behaviour(clients_that_leave.watch_together, 2),
    Behaviour(send_invalid_requests, 3),
    Behaviour(show_a_bad_token, 1),
    Behaviour(look_for_what_is_others, 1),
    Behaviour(train, 1),
)
