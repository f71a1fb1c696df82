"""The events of streams, as dataclasses: tell them apart with `match` or `isinstance`.

    for event in client.generate(class_label="people", frames=1):
        match event:
            case denoised.Frame(image_index=index, step=step):
                show(event.pil)
            case denoised.Image():
                event.pil.save(f"image-{event.image_index}.png")

Every event has the number and the time of its message. Times are in UTC, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from denoised.pictures import Picture
from denoised.v1 import image_generation_pb2, models_pb2, sampler_pb2, training_pb2


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event has."""

    #: Rises within the stream. A gap is an event that a newer one has replaced.
    sequence: int
    #: When it happened, in UTC.
    time: datetime


# Of generations.


@dataclass(frozen=True, kw_only=True)
class Accepted(Event):
    """The request as the server resolved it."""

    #: "generations/{generation}": how `client.generations` calls it.
    generation: str
    model: str
    model_version: str
    #: Image i has the seed `seed + i` (modulo 2^64).
    seed: int
    count: int
    #: Of the images, in pixels.
    height: int
    width: int
    #: How many steps each image takes, and how many of the sampler's first steps it skips because
    #: of where it starts.
    steps: int
    first_step: int
    #: Network calls that an image takes, and the timestep of each.
    evaluations: int
    timesteps: Sequence[float]
    #: Every option that the sampler reads, defaults filled in.
    sampler: sampler_pb2.SamplerOptions
    #: None: no guidance.
    guidance: image_generation_pb2.Guidance | None
    #: The share of each class, by label. The shares sum to 1. Empty without classes.
    class_weights: Mapping[int, float]
    #: None: no frames.
    frames: image_generation_pb2.FramePolicy | None
    #: None where the model takes no prompts, or there is no negative prompt.
    prompt: image_generation_pb2.PromptTokens | None
    negative_prompt: image_generation_pb2.PromptTokens | None
    #: How the prompt was read: "weighted" or "literal". Empty where the model takes no prompts.
    prompt_syntax: str
    clip_skip: int
    adapters: Sequence[image_generation_pb2.ResolvedAdapter]
    #: None where the model takes no sizes.
    size_conditioning: image_generation_pb2.SizeConditioning | None
    #: "interactive", "normal" or "batch".
    priority: str
    #: The steps that the request asked for, where `allow_fewer_steps` has left some out; else None.
    steps_requested: int | None
    #: The device's time that all images together are expected to take. None: not measured yet.
    cost_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """The generation waits."""

    #: How many requests are ahead of it; 0: it is next.
    position: int
    #: How long it is expected to wait from now on. None: nothing has been measured yet.
    expected_wait_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The first image left the queue."""

    queue_wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far the generation is, over all of its images."""

    steps_done: int
    steps_total: int
    images_done: int


@dataclass(frozen=True, kw_only=True)
class Frame(Picture, Event):
    """A preview of an image that is being made."""

    image_index: int
    #: Steps done, from 1 to the number of steps.
    step: int
    #: What the network was told at this step's last evaluation.
    timestep: float
    #: "x0": what the network predicts the finished image to be. "x_t": the noisy image itself.
    kind: str


@dataclass(frozen=True, kw_only=True)
class Image(Picture, Event):
    """A finished image."""

    image_index: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """Somebody has paused the generation. The last event of its stream, which raises `Aborted`."""

    #: For `client.resume`.
    token: bytes = field(repr=False)
    #: Until when a server takes the token, in UTC.
    expire_time: datetime


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The generation has succeeded. The last event of its stream."""

    images: int
    #: As the server counts them for the call that this event came with: a stream that was resumed
    #: after a broken connection had frames before, too.
    frames_sent: int
    #: Not sent because the reader was slow or late, or because they were too large.
    frames_dropped: int
    #: From the arrival of the request to the end.
    elapsed_seconds: float


GenerationEvent: TypeAlias = (
    Accepted | Queued | Started | Progress | Frame | Image | Paused | Finished
)


# Of the forward process.


@dataclass(frozen=True, kw_only=True)
class DiffuseAccepted(Event):
    """The request as the server resolved it."""

    model: str
    model_version: str
    #: Picture i uses the noise of `seed + i` (modulo 2^64).
    seed: int
    #: "closed_form" or "step_by_step".
    mode: str
    #: The levels of each picture's frames. The first is the picture itself.
    levels: Sequence[image_generation_pb2.DiffusionLevel]


@dataclass(frozen=True, kw_only=True)
class DiffusedFrame(Picture, Event):
    """A picture at one level of noise."""

    picture_index: int
    #: An index into the levels of `DiffuseAccepted`.
    level_index: int
    #: How much signal and noise there is: x_t = alpha * x_0 + sigma * epsilon.
    level: image_generation_pb2.DiffusionLevel


@dataclass(frozen=True, kw_only=True)
class DiffuseFinished(Event):
    """The last event of a forward process."""

    frames: int
    elapsed_seconds: float


DiffusionEvent: TypeAlias = DiffuseAccepted | DiffusedFrame | DiffuseFinished


# Of training jobs.


@dataclass(frozen=True, kw_only=True)
class StateChanged(Event):
    """The job is in another state."""

    #: "queued", "running", "paused", "cancelling", "succeeded", "failed" or "cancelled".
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Trained(Event):
    """How training goes, over the steps since the previous such event."""

    #: Step, losses, learning rate, pace and the time left.
    progress: training_pb2.TrainingProgress


@dataclass(frozen=True, kw_only=True)
class SampleGrid(Picture, Event):
    """Samples that the model makes by now."""

    step: int


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """The job saved a checkpoint."""

    checkpoint: training_pb2.Checkpoint


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """An evaluation of the model's samples."""

    result: training_pb2.EvaluationResult


@dataclass(frozen=True, kw_only=True)
class Published(Event):
    """A checkpoint became a model of the server."""

    model: str
    model_version: str
    step: int


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that people should know, such as a roll-back or a full disk."""

    text: str


TrainingEvent: TypeAlias = (
    StateChanged | Trained | SampleGrid | CheckpointSaved | Evaluated | Published | Notice
)


# Of the list of models, which has no numbers.


@dataclass(frozen=True, kw_only=True)
class ModelChanged:
    """A new or changed model as it is now, also one that has failed to load."""

    model: models_pb2.Model


@dataclass(frozen=True, kw_only=True)
class ModelRemoved:
    """A model is gone."""

    name: str


@dataclass(frozen=True, kw_only=True)
class ModelsListed:
    """All models that there were when the watch began have been told."""


ModelEvent: TypeAlias = ModelChanged | ModelRemoved | ModelsListed
