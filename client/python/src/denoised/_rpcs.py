"""Every call of the contract, with the type of its response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from denoised.v1 import (
    activity_pb2,
    datasets_pb2,
    generations_pb2,
    image_generation_pb2,
    models_pb2,
    sampler_plan_pb2,
    training_pb2,
)

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Rpc(Generic[Request, Response]):
    """One call."""

    service: str
    method: str
    request: type[Request]
    response: type[Response]
    #: Whether it may be sent again although the server may have carried it out: a second time it
    #: has the same effect and the same answer.
    repeatable: bool = True
    #: Whether it is about the generation `request.name`, which one server has.
    is_about_generation: bool = False

    @property
    def path(self) -> str:
        """What gRPC calls it."""
        return f"/{self.service}/{self.method}"


_GENERATION = "denoised.v1.ImageGeneration"
GENERATE = Rpc(
    _GENERATION,
    "Generate",
    image_generation_pb2.GenerateRequest,
    image_generation_pb2.GenerateEvent,
)
DIFFUSE = Rpc(
    _GENERATION,
    "Diffuse",
    image_generation_pb2.DiffuseRequest,
    image_generation_pb2.DiffuseEvent,
)
PLAN_SAMPLER = Rpc(
    _GENERATION,
    "PlanSampler",
    image_generation_pb2.PlanSamplerRequest,
    sampler_plan_pb2.SamplerPlan,
)

WATCH_ACTIVITY = Rpc(
    "denoised.v1.Activity",
    "WatchActivity",
    activity_pb2.WatchActivityRequest,
    activity_pb2.ActivitySnapshot,
)

_GENERATIONS = "denoised.v1.Generations"
WATCH_GENERATION = Rpc(
    _GENERATIONS,
    "WatchGeneration",
    generations_pb2.WatchGenerationRequest,
    image_generation_pb2.GenerateEvent,
    is_about_generation=True,
)
GET_GENERATION = Rpc(
    _GENERATIONS,
    "GetGeneration",
    generations_pb2.GetGenerationRequest,
    generations_pb2.Generation,
    is_about_generation=True,
)
LIST_GENERATIONS = Rpc(
    _GENERATIONS,
    "ListGenerations",
    generations_pb2.ListGenerationsRequest,
    generations_pb2.ListGenerationsResponse,
)
CANCEL_GENERATION = Rpc(
    _GENERATIONS,
    "CancelGeneration",
    generations_pb2.CancelGenerationRequest,
    generations_pb2.Generation,
    repeatable=False,
    is_about_generation=True,
)
PAUSE_GENERATION = Rpc(
    _GENERATIONS,
    "PauseGeneration",
    generations_pb2.PauseGenerationRequest,
    generations_pb2.PauseGenerationResponse,
    is_about_generation=True,
)

_MODELS = "denoised.v1.Models"
LIST_MODELS = Rpc(
    _MODELS, "ListModels", models_pb2.ListModelsRequest, models_pb2.ListModelsResponse
)
GET_MODEL = Rpc(_MODELS, "GetModel", models_pb2.GetModelRequest, models_pb2.Model)
WATCH_MODELS = Rpc(_MODELS, "WatchModels", models_pb2.WatchModelsRequest, models_pb2.ModelEvent)
LIST_ADAPTERS = Rpc(
    _MODELS, "ListAdapters", models_pb2.ListAdaptersRequest, models_pb2.ListAdaptersResponse
)
LOAD_MODEL = Rpc(_MODELS, "LoadModel", models_pb2.LoadModelRequest, models_pb2.Model)
UNLOAD_MODEL = Rpc(_MODELS, "UnloadModel", models_pb2.UnloadModelRequest, models_pb2.Model)
DELETE_MODEL = Rpc(_MODELS, "DeleteModel", models_pb2.DeleteModelRequest, Empty, repeatable=False)

_DATASETS = "denoised.v1.Datasets"
UPLOAD_DATASET = Rpc(
    _DATASETS,
    "UploadDataset",
    datasets_pb2.UploadDatasetRequest,
    datasets_pb2.Dataset,
    repeatable=False,
)
LIST_DATASETS = Rpc(
    _DATASETS, "ListDatasets", datasets_pb2.ListDatasetsRequest, datasets_pb2.ListDatasetsResponse
)
GET_DATASET = Rpc(_DATASETS, "GetDataset", datasets_pb2.GetDatasetRequest, datasets_pb2.Dataset)
DELETE_DATASET = Rpc(
    _DATASETS, "DeleteDataset", datasets_pb2.DeleteDatasetRequest, Empty, repeatable=False
)

_TRAINING = "denoised.v1.Training"
CREATE_TRAINING_JOB = Rpc(
    _TRAINING,
    "CreateTrainingJob",
    training_pb2.CreateTrainingJobRequest,
    training_pb2.TrainingJob,
)
GET_TRAINING_JOB = Rpc(
    _TRAINING, "GetTrainingJob", training_pb2.GetTrainingJobRequest, training_pb2.TrainingJob
)
LIST_TRAINING_JOBS = Rpc(
    _TRAINING,
    "ListTrainingJobs",
    training_pb2.ListTrainingJobsRequest,
    training_pb2.ListTrainingJobsResponse,
)
CANCEL_TRAINING_JOB = Rpc(
    _TRAINING,
    "CancelTrainingJob",
    training_pb2.CancelTrainingJobRequest,
    training_pb2.TrainingJob,
    repeatable=False,
)
PAUSE_TRAINING_JOB = Rpc(
    _TRAINING,
    "PauseTrainingJob",
    training_pb2.PauseTrainingJobRequest,
    training_pb2.TrainingJob,
    repeatable=False,
)
RESUME_TRAINING_JOB = Rpc(
    _TRAINING,
    "ResumeTrainingJob",
    training_pb2.ResumeTrainingJobRequest,
    training_pb2.TrainingJob,
    repeatable=False,
)
DELETE_TRAINING_JOB = Rpc(
    _TRAINING,
    "DeleteTrainingJob",
    training_pb2.DeleteTrainingJobRequest,
    Empty,
    repeatable=False,
)
LIST_CHECKPOINTS = Rpc(
    _TRAINING,
    "ListCheckpoints",
    training_pb2.ListCheckpointsRequest,
    training_pb2.ListCheckpointsResponse,
)
WATCH_TRAINING_JOB = Rpc(
    _TRAINING,
    "WatchTrainingJob",
    training_pb2.WatchTrainingJobRequest,
    training_pb2.TrainingEvent,
)
PUBLISH_MODEL = Rpc(
    _TRAINING,
    "PublishModel",
    training_pb2.PublishModelRequest,
    models_pb2.Model,
    repeatable=False,
)

#: Not of the contract: the standard health service.
CHECK_HEALTH = Rpc(
    "grpc.health.v1.Health",
    "Check",
    health_pb2.HealthCheckRequest,
    health_pb2.HealthCheckResponse,
    repeatable=False,
)
