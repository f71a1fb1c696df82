"""The Python client of denoised, a server that generates images with diffusion models.

    import denoised

    with denoised.Client() as client:
        for event in client.generate(class_label="people", steps=20, frames=1):
            if isinstance(event, denoised.Image):
                event.pil.save(f"image-{event.image_index}.png")

`AsyncClient` is the same for asyncio. The messages of the contract are in `denoised.v1`.
"""

from denoised._asyncio import AsyncStream
from denoised._blocking import Stream
from denoised._client import AsyncClient, Client
from denoised._preview import show
from denoised._progress import progress_bar
from denoised._retry import Retry
from denoised._samplers import SAMPLERS
from denoised._version import __version__
from denoised.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
)
from denoised.events import (
    Accepted,
    CheckpointSaved,
    DiffuseAccepted,
    DiffusedFrame,
    DiffuseFinished,
    DiffusionEvent,
    Evaluated,
    Event,
    Finished,
    Frame,
    GenerationEvent,
    Image,
    ModelChanged,
    ModelEvent,
    ModelRemoved,
    ModelsListed,
    Notice,
    Paused,
    Progress,
    Published,
    Queued,
    SampleGrid,
    Started,
    StateChanged,
    Trained,
    TrainingEvent,
)
from denoised.pictures import Picture
from denoised.v1.image_generation_pb2 import GenerateRequest
from denoised.v1.training_settings_pb2 import EvaluationSettings, TrainingSettings

__all__ = [
    "SAMPLERS",
    "Aborted",
    "Accepted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncStream",
    "Cancelled",
    "CheckpointSaved",
    "Client",
    "DataLoss",
    "DeadlineExceeded",
    "DiffuseAccepted",
    "DiffuseFinished",
    "DiffusedFrame",
    "DiffusionEvent",
    "Error",
    "Evaluated",
    "EvaluationSettings",
    "Event",
    "FailedPrecondition",
    "Finished",
    "Frame",
    "GenerateRequest",
    "GenerationEvent",
    "Image",
    "Internal",
    "InvalidRequest",
    "ModelChanged",
    "ModelEvent",
    "ModelRemoved",
    "ModelsListed",
    "NotFound",
    "Notice",
    "Paused",
    "PermissionDenied",
    "Picture",
    "Progress",
    "Published",
    "Queued",
    "ResourceExhausted",
    "Retry",
    "SampleGrid",
    "Started",
    "StateChanged",
    "Stream",
    "Trained",
    "TrainingEvent",
    "TrainingSettings",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "__version__",
    "progress_bar",
    "show",
]
