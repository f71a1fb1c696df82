"""What there is for the clients of a soak, and what they ask for."""

import io
from dataclasses import dataclass
from pathlib import Path

import denoised
import numpy
import PIL.Image
from connections import GrpcConnection, HttpConnection, expect, http_request
from denoised.v1 import image_generation_pb2 as images_pb2
from denoised.v1 import sampler_pb2

GENERATE = "/denoised.v1.ImageGeneration/Generate"
DIFFUSE = "/denoised.v1.ImageGeneration/Diffuse"
WATCH_ACTIVITY = "/denoised.v1.Activity/WatchActivity"

CLASSES = 8  # of emoji-32
SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "euler", "euler_a", "heun", "unipc")
ENCODINGS = (
    images_pb2.ENCODING_PNG,
    images_pb2.ENCODING_JPEG,
    images_pb2.ENCODING_WEBP,
    images_pb2.ENCODING_RAW_FLOAT32,
)
# Few, because the server caches what they encode to.
PROMPTS = (
    "a red fox",
    "an old wooden chair by the sea",
    "many stars over (snow:1.3)",
    "",
    "a harbor at dawn",
)
# Of the steps of a generation that has to be there when something else happens to it.
MANY = 400


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

    def http_bytes(self, path, body, content_length=None):
        return http_request(self.http, self.token, path, body, content_length)


def emoji_request(random, steps=None, count=None, **fields):
    request = images_pb2.GenerateRequest(
        model="models/emoji-32",
        class_label=random.randrange(CLASSES),
        seed=random.randrange(1 << 32),
        count=count or random.randint(1, 2),
        image_encoding=random.choice(ENCODINGS),
        priority=random.choice(
            (images_pb2.PRIORITY_INTERACTIVE, images_pb2.PRIORITY_NORMAL, images_pb2.PRIORITY_BATCH)
        ),
        **fields,
    )
    request.sampler.steps = steps or random.randint(1, 4)
    if random.random() < 0.3:
        request.guidance.scale = 2
    if request.sampler.steps > 1 and random.random() < 0.2:
        request.start.image.picture.data = picture(random)
        request.start.image.strength = 1
    return request


def prompt_request(random, steps=None, **fields):
    request = images_pb2.GenerateRequest(
        model="models/sd15-like",
        prompt=random.choice(PROMPTS),
        seed=random.randrange(1 << 32),
        **fields,
    )
    if random.random() < 0.2:
        request.adapters.add(name="adapters/pytorch_lora_weights", scale=random.choice((0.5, 1)))
    request.sampler.sampler = random.choice(
        (
            sampler_pb2.SAMPLER_DDIM,
            sampler_pb2.SAMPLER_DPMPP,
            sampler_pb2.SAMPLER_UNIPC,
            sampler_pb2.SAMPLER_EULER,
        )
    )
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
        model="models/emoji-32",
        seed=random.randrange(1 << 32),
        steps=steps,
        mode=random.choice(
            (images_pb2.DIFFUSE_MODE_CLOSED_FORM, images_pb2.DIFFUSE_MODE_STEP_BY_STEP)
        ),
        encoding=images_pb2.ENCODING_RAW_FLOAT32,
    )
    for _ in range(pictures):
        request.pictures.add(data=picture(random))
    return request


def picture(random, size=32):
    pixels = numpy.frombuffer(random.randbytes(size * size * 3), numpy.uint8)
    data = io.BytesIO()
    image = PIL.Image.fromarray(pixels.reshape(size, size, 3))
    image.save(data, random.choice(("PNG", "JPEG", "WEBP")))
    return data.getvalue()


def check_generated(events, request):
    """The whole story of a generation."""
    images = sum(event.HasField("image") for event in events)
    expect(events and events[0].HasField("accepted"), "the first event is not `accepted`")
    expect(events[-1].HasField("finished"), "the last event is not `finished`")
    expect(images == max(1, request.count), f"there are {images} images of {request.count}")
