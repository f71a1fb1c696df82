"""From messages to events."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Any

from denoised import events
from denoised._enums import enum_name
from denoised.pictures import picture_fields
from denoised.v1 import image_generation_pb2, models_pb2, training_pb2

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration


def generation_event(message: image_generation_pb2.GenerateEvent) -> events.GenerationEvent | None:
    """The event in a message; None for a kind that is newer than this client."""
    number = _number(message)
    match message.WhichOneof("event"):
        case "accepted":
            return _accepted(message.accepted, number)
        case "queued":
            queued = message.queued
            return events.Queued(
                position=queued.position,
                expected_wait_seconds=(
                    _seconds(queued.expected_wait) if queued.HasField("expected_wait") else None
                ),
                **number,
            )
        case "started":
            return events.Started(queue_wait_seconds=_seconds(message.started.queue_wait), **number)
        case "progress":
            progress = message.progress
            return events.Progress(
                steps_done=progress.steps_done,
                steps_total=progress.steps_total,
                images_done=progress.images_done,
                **number,
            )
        case "frame":
            return _frame(message.frame, number)
        case "image":
            image = message.image
            return events.Image(
                image_index=image.image_index,
                seed=image.seed,
                **picture_fields(image.image),
                **number,
            )
        case "handover" if message.handover.paused:
            return events.Paused(
                token=message.handover.token,
                expire_time=message.handover.expire_time.ToDatetime(timezone.utc),
                **number,
            )
        case "finished":
            finished = message.finished
            return events.Finished(
                images=finished.images,
                frames_sent=finished.frames_sent,
                frames_dropped=finished.frames_dropped,
                elapsed_seconds=_seconds(finished.elapsed),
                **number,
            )
    return None


def _accepted(accepted: image_generation_pb2.Accepted, number: dict[str, Any]) -> events.Accepted:
    return events.Accepted(
        generation=accepted.generation,
        model=accepted.model,
        model_version=accepted.model_version,
        seed=accepted.seed,
        count=accepted.count,
        height=accepted.height,
        width=accepted.width,
        steps=accepted.steps,
        first_step=accepted.first_step,
        evaluations=accepted.evaluations,
        timesteps=tuple(accepted.timesteps),
        sampler=accepted.sampler,
        guidance=accepted.guidance if accepted.HasField("guidance") else None,
        class_weights={entry.class_label: entry.weight for entry in accepted.class_weights},
        frames=accepted.frames if accepted.HasField("frames") else None,
        prompt=accepted.prompt if accepted.HasField("prompt") else None,
        negative_prompt=accepted.negative_prompt if accepted.HasField("negative_prompt") else None,
        prompt_syntax=enum_name(
            image_generation_pb2.PromptSyntax.DESCRIPTOR, accepted.prompt_syntax
        ),
        clip_skip=accepted.clip_skip,
        adapters=tuple(accepted.adapters),
        size_conditioning=(
            accepted.size_conditioning if accepted.HasField("size_conditioning") else None
        ),
        priority=enum_name(image_generation_pb2.Priority.DESCRIPTOR, accepted.priority),
        steps_requested=accepted.steps_requested or None,
        cost_seconds=_seconds(accepted.cost) if accepted.HasField("cost") else None,
        **number,
    )


def _frame(frame: image_generation_pb2.Frame, number: dict[str, Any]) -> events.Frame:
    return events.Frame(
        image_index=frame.image_index,
        step=frame.step,
        timestep=frame.timestep,
        kind=enum_name(image_generation_pb2.FrameKind.DESCRIPTOR, frame.kind),
        **picture_fields(frame.image),
        **number,
    )


def diffusion_event(message: image_generation_pb2.DiffuseEvent) -> events.DiffusionEvent | None:
    """The event in a message; None for a kind that is newer than this client."""
    number = _number(message)
    match message.WhichOneof("event"):
        case "accepted":
            accepted = message.accepted
            return events.DiffuseAccepted(
                model=accepted.model,
                model_version=accepted.model_version,
                seed=accepted.seed,
                mode=enum_name(image_generation_pb2.DiffuseMode.DESCRIPTOR, accepted.mode),
                levels=tuple(accepted.levels),
                **number,
            )
        case "frame":
            frame = message.frame
            return events.DiffusedFrame(
                picture_index=frame.picture_index,
                level_index=frame.level_index,
                level=frame.level,
                **picture_fields(frame.image),
                **number,
            )
        case "finished":
            return events.DiffuseFinished(
                frames=message.finished.frames,
                elapsed_seconds=_seconds(message.finished.elapsed),
                **number,
            )
    return None


def training_event(message: training_pb2.TrainingEvent) -> events.TrainingEvent | None:
    """The event in a message; None for a kind that is newer than this client."""
    number = _number(message)
    match message.WhichOneof("event"):
        case "state_change":
            change = message.state_change
            state = enum_name(training_pb2.TrainingJob.State.DESCRIPTOR, change.state)
            return events.StateChanged(state=state, reason=change.reason, **number)
        case "progress":
            return events.Trained(progress=message.progress, **number)
        case "sample_grid":
            grid = message.sample_grid
            return events.SampleGrid(step=grid.step, **picture_fields(grid.image), **number)
        case "checkpoint":
            return events.CheckpointSaved(checkpoint=message.checkpoint, **number)
        case "evaluation":
            return events.Evaluated(result=message.evaluation, **number)
        case "published":
            published = message.published
            return events.Published(
                model=published.model,
                model_version=published.model_version,
                step=published.step,
                **number,
            )
        case "notice":
            return events.Notice(text=message.notice, **number)
    return None


def model_event(message: models_pb2.ModelEvent) -> events.ModelEvent | None:
    """The event in a message; None for a kind that is newer than this client."""
    match message.WhichOneof("event"):
        case "model":
            return events.ModelChanged(model=message.model)
        case "removed":
            return events.ModelRemoved(name=message.removed)
        case "complete":
            return events.ModelsListed()
    return None


def _number(
    message: image_generation_pb2.GenerateEvent
    | image_generation_pb2.DiffuseEvent
    | training_pb2.TrainingEvent,
) -> dict[str, Any]:
    return {"sequence": message.sequence, "time": message.time.ToDatetime(tzinfo=timezone.utc)}


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta().total_seconds()
