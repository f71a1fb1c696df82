"""Training and evaluation jobs."""

from __future__ import annotations

import builtins
import contextlib
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from denoised import _rpcs
from denoised._asyncio import AsyncStream
from denoised._blocking import Surface, blocking, streaming
from denoised._connection import Connection
from denoised._conversion import training_event
from denoised._message import set_field
from denoised._names import dataset_name, job_name, model_name
from denoised._rpcs import Rpc
from denoised.events import TrainingEvent
from denoised.v1.models_pb2 import Model
from denoised.v1.training_pb2 import (
    CancelTrainingJobRequest,
    Checkpoint,
    CreateTrainingJobRequest,
    DeleteTrainingJobRequest,
    GetTrainingJobRequest,
    ListCheckpointsRequest,
    ListTrainingJobsRequest,
    PauseTrainingJobRequest,
    PublishModelRequest,
    ResumeTrainingJobRequest,
    TrainingJob,
    WatchTrainingJobRequest,
)
from denoised.v1.training_pb2 import (
    TrainingEvent as TrainingEventMessage,
)
from denoised.v1.training_settings_pb2 import EvaluationSettings, TrainingSettings


class AsyncTraining:
    """Jobs that train and evaluate models on the server. See docs/training.md.

    Methods take the name "trainingJobs/1", or "1" for short. All of them need a server with
    `--state`; others answer `Unimplemented`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        settings: TrainingSettings | EvaluationSettings,
        *,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> TrainingJob:
        """Queues a job that trains a model, or one that evaluates a model.

        Args:
            settings: what to do. Data sets and models may have their short names.
            priority: jobs of higher priority run first.
            labels: to find the job by.
            request_id: another call with this id and the same settings returns the same job.
            timeout: in seconds. None: that of the client.

        Raises:
            InvalidRequest: settings are wrong; `violations` lists all of them.
            NotFound: there is no such data set or model.
            FailedPrecondition: the data set is not ready.
            ResourceExhausted: the queue of jobs is full.
        """
        request = CreateTrainingJobRequest(
            request_id=request_id or uuid.uuid4().hex, priority=priority, labels=labels
        )
        if isinstance(settings, TrainingSettings):
            request.training.CopyFrom(settings)
            _complete(request.training, "dataset", dataset_name)
            _complete(request.training, "base_model", model_name)
        else:
            request.evaluation.CopyFrom(settings)
            _complete(request.evaluation, "dataset", dataset_name)
            _complete(request.evaluation, "model", model_name)
        return await self._connection.look_up(_rpcs.CREATE_TRAINING_JOB, request, timeout)

    async def get(self, job: str, *, timeout: float | None = None) -> TrainingJob:
        """Describes a job.

        Raises:
            NotFound: there is no such job.
        """
        request = GetTrainingJobRequest(name=job_name(job))
        return await self._connection.look_up(_rpcs.GET_TRAINING_JOB, request, timeout)

    async def list(
        self, *, states: Sequence[str] = (), timeout: float | None = None
    ) -> builtins.list[TrainingJob]:
        """The jobs, the newest first; with `states`, such as "running", those in one of them."""
        request = ListTrainingJobsRequest()
        set_field(request, "states", states)
        return await self._connection.list_all(
            _rpcs.LIST_TRAINING_JOBS, request, lambda page: page.jobs, timeout
        )

    def watch(
        self, job: str, *, resume_after: int = 0, timeout: float | None = None
    ) -> AsyncStream[TrainingEvent]:
        """Every event of a job, from the beginning, until it ends.

        If the connection breaks or the server restarts, the stream continues after its last event.
        Leaving it does not affect the job.

        Args:
            job: its name.
            resume_after: only events with a greater number.
            timeout: of the whole stream, in seconds. None: no limit.

        Raises:
            NotFound: there is no such job.
        """
        events = self._watch(job_name(job), resume_after, timeout)
        return AsyncStream(events)

    async def pause(self, job: str, *, timeout: float | None = None) -> TrainingJob:
        """Saves a checkpoint at the job's next step and stops the job until it is resumed.

        Raises:
            NotFound: there is no such job.
            FailedPrecondition: it has ended or is being cancelled.
        """
        request = PauseTrainingJobRequest(name=job_name(job))
        return await self._connection.look_up(_rpcs.PAUSE_TRAINING_JOB, request, timeout)

    async def resume(self, job: str, *, timeout: float | None = None) -> TrainingJob:
        """Returns a paused job to the queue.

        Raises:
            NotFound: there is no such job.
            FailedPrecondition: it is neither paused nor about to be.
        """
        request = ResumeTrainingJobRequest(name=job_name(job))
        return await self._connection.look_up(_rpcs.RESUME_TRAINING_JOB, request, timeout)

    async def cancel(self, job: str, *, timeout: float | None = None) -> TrainingJob:
        """Stops a job for good at its next step. What it has saved stays.

        Raises:
            NotFound: there is no such job.
            FailedPrecondition: it has ended.
        """
        request = CancelTrainingJobRequest(name=job_name(job))
        return await self._connection.look_up(_rpcs.CANCEL_TRAINING_JOB, request, timeout)

    async def delete(self, job: str, *, timeout: float | None = None) -> None:
        """Removes a job that has ended, with its checkpoints and events.

        Raises:
            NotFound: there is no such job.
            FailedPrecondition: it has not ended.
        """
        request = DeleteTrainingJobRequest(name=job_name(job))
        await self._connection.look_up(_rpcs.DELETE_TRAINING_JOB, request, timeout)

    async def checkpoints(
        self, job: str, *, timeout: float | None = None
    ) -> builtins.list[Checkpoint]:
        """The checkpoints that the server keeps of a job, the newest first.

        Raises:
            NotFound: there is no such job.
        """
        return await self._connection.list_all(
            _rpcs.LIST_CHECKPOINTS,
            ListCheckpointsRequest(parent=job_name(job)),
            lambda page: page.checkpoints,
            timeout,
        )

    async def publish(
        self,
        job: str,
        model: str,
        *,
        step: int | None = None,
        ema_decay: float | None = None,
        allow_replace: bool = False,
        precision: str | None = None,
        timeout: float | None = None,
    ) -> Model:
        """Makes a checkpoint a model of the server, and returns once the server serves it.

        Args:
            job: the job that trained it.
            model: the name of a new model, or of a served one that gets a new version.
            step: of the checkpoint. None: the newest.
            ema_decay: which average of the weights to publish. None: that of the greatest decay.
            allow_replace: replaces even a model with another shape, other classes or another
                schedule.
            precision: of the weights in the file: "float32" (the default), "bfloat16", "float16".
            timeout: in seconds. None: no limit.

        Raises:
            NotFound: there is no such job.
            FailedPrecondition: there is no such checkpoint, `allow_replace` is needed, or the
                server cannot write to its models.
        """
        source = job_name(job) if step is None else f"{job_name(job)}/checkpoints/{step}"
        request = PublishModelRequest(
            source=source,
            model=model_name(model),
            ema_decay=ema_decay,
            allow_replace=allow_replace,
        )
        if precision is not None:
            set_field(request, "precision", precision)
        return await self._connection.call(_rpcs.PUBLISH_MODEL, request, timeout)

    async def _watch(
        self, name: str, resume_after: int, timeout: float | None
    ) -> AsyncGenerator[TrainingEvent, None]:
        def after(
            sequence: int,
        ) -> tuple[Rpc[Any, TrainingEventMessage], WatchTrainingJobRequest]:
            request = WatchTrainingJobRequest(name=name, resume_after=sequence or None)
            return _rpcs.WATCH_TRAINING_JOB, request

        messages = self._connection.stream(
            *after(resume_after), lambda message: after(message.sequence), timeout
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                if event := training_event(message):
                    yield event


def _complete(settings: Any, field: str, full_name: Any) -> None:
    """Turns a short name into a full one."""
    if name := getattr(settings, field):
        setattr(settings, field, full_name(name))


class Training(Surface[AsyncTraining]):
    """Jobs that train and evaluate models, as `AsyncTraining` describes them."""

    create = blocking(AsyncTraining.create)
    get = blocking(AsyncTraining.get)
    list = blocking(AsyncTraining.list)
    watch = streaming(AsyncTraining.watch)
    pause = blocking(AsyncTraining.pause)
    resume = blocking(AsyncTraining.resume)
    cancel = blocking(AsyncTraining.cancel)
    delete = blocking(AsyncTraining.delete)
    checkpoints = blocking(AsyncTraining.checkpoints)
    publish = blocking(AsyncTraining.publish)
