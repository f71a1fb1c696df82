"""Models and adapters."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from denoised import _rpcs, errors
from denoised._asyncio import AsyncStream
from denoised._blocking import Surface, blocking, streaming
from denoised._connection import Connection
from denoised._conversion import model_event
from denoised._message import invalid
from denoised._names import model_name
from denoised._rpcs import Rpc
from denoised.events import ModelChanged, ModelEvent, ModelRemoved, ModelsListed
from denoised.v1.models_pb2 import (
    Adapter,
    DeleteModelRequest,
    GetModelRequest,
    ListAdaptersRequest,
    ListModelsRequest,
    LoadModelRequest,
    Model,
    UnloadModelRequest,
    WatchModelsRequest,
)
from denoised.v1.models_pb2 import (
    ModelEvent as ModelEventMessage,
)


class AsyncModels:
    """What the server can generate with. See docs/models.md.

    Methods take the name "models/emoji-32", or "emoji-32" for short. Loading, unloading and
    deleting need a server with `--manage-models`; others answer `PermissionDenied`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(
        self, *, show_failed: bool = False, timeout: float | None = None
    ) -> builtins.list[Model]:
        """The models by name; with `show_failed` also those whose files are broken."""
        return await self._connection.list_all(
            _rpcs.LIST_MODELS,
            ListModelsRequest(show_failed=show_failed),
            lambda page: page.models,
            timeout,
        )

    async def get(self, model: str, *, timeout: float | None = None) -> Model:
        """Describes a model.

        Raises:
            NotFound: there is no such model.
        """
        request = GetModelRequest(name=model_name(model))
        return await self._connection.look_up(_rpcs.GET_MODEL, request, timeout)

    def watch(self, *, timeout: float | None = None) -> AsyncStream[ModelEvent]:
        """Tells which models there are, then `ModelsListed`, then every change.

        If the connection breaks, the stream continues with what is new. It ends only with an error.
        """
        return AsyncStream(self._watch(timeout))

    async def load(self, model: str, *, timeout: float | None = None) -> Model:
        """Loads a model's newest files into memory, and returns once it is ready.

        Raises:
            NotFound: there is no such model.
            FailedPrecondition: its files are broken or exceed the server's `--model-memory`.
            ResourceExhausted: the device has no memory for it.
        """
        request = LoadModelRequest(name=model_name(model))
        return await self._connection.call(_rpcs.LOAD_MODEL, request, timeout)

    async def unload(self, model: str, *, timeout: float | None = None) -> Model:
        """Frees a model's memory once nobody uses it. The next request for it loads it again.

        Raises:
            NotFound: there is no such model.
        """
        request = UnloadModelRequest(name=model_name(model))
        return await self._connection.look_up(_rpcs.UNLOAD_MODEL, request, timeout)

    async def delete(self, model: str, *, timeout: float | None = None) -> None:
        """Removes a model's folder from the server's disk.

        Raises:
            NotFound: there is no such model.
            FailedPrecondition: the folder cannot be written to, or is a Hugging Face cache.
        """
        request = DeleteModelRequest(name=model_name(model))
        await self._connection.look_up(_rpcs.DELETE_MODEL, request, timeout)

    async def resolve(self, name: str | None) -> Model:
        """The model of that name, or the only one that is served where there is none.

        Raises:
            NotFound: there is no such model, or none at all.
            InvalidRequest: several models are served; the message names them.
        """
        if name is not None:
            return await self.get(name)
        models = await self.list()
        if not models:
            raise errors.NotFound("the server has no model that can be used")
        if len(models) > 1:
            names = ", ".join(model.name.removeprefix("models/") for model in models)
            raise invalid("model", f"is required, as several models are served: {names}")
        return models[0]

    async def _watch(self, timeout: float | None) -> AsyncGenerator[ModelEvent, None]:
        known = _KnownModels()

        def reopen(_: ModelEventMessage) -> tuple[Rpc[Any, ModelEventMessage], WatchModelsRequest]:
            known.begin_again()
            return _rpcs.WATCH_MODELS, WatchModelsRequest()

        messages = self._connection.stream(
            _rpcs.WATCH_MODELS, WatchModelsRequest(), reopen, timeout
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                event = model_event(message)
                for news in known.news(event) if event else ():
                    yield news


class _KnownModels:
    """What the caller of a watch knows: a stream that is opened again tells every model again."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._told: set[str] = set()  # since the stream was opened
        self._was_listed = False

    def begin_again(self) -> None:
        self._told.clear()

    def news(self, event: ModelEvent) -> builtins.list[ModelEvent]:
        match event:
            case ModelChanged(model=model):
                self._told.add(model.name)
                known = self._models.get(model.name)
                self._models[model.name] = model
                return [] if known == model else [event]
            case ModelRemoved(name=name):
                return [event] if self._models.pop(name, None) else []
            case ModelsListed():
                return self._gone() if self._was_listed else self._first_list(event)

    def _first_list(self, listed: ModelsListed) -> builtins.list[ModelEvent]:
        self._was_listed = True
        return [listed]

    def _gone(self) -> builtins.list[ModelEvent]:
        gone = sorted(self._models.keys() - self._told)
        for name in gone:
            del self._models[name]
        return [ModelRemoved(name=name) for name in gone]


class AsyncAdapters:
    """Low-rank adapters (LoRA) that requests may name. See docs/adapters.md."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list(
        self, model: str | None = None, *, timeout: float | None = None
    ) -> builtins.list[Adapter]:
        """The adapters by name, broken ones included; with `model` those that fit it.

        Raises:
            NotFound: there is no such model.
            FailedPrecondition: the model does not load.
        """
        return await self._connection.list_all(
            _rpcs.LIST_ADAPTERS,
            ListAdaptersRequest(model=model_name(model) if model else ""),
            lambda page: page.adapters,
            timeout,
        )


class Models(Surface[AsyncModels]):
    """What the server can generate with, as `AsyncModels` describes it."""

    list = blocking(AsyncModels.list)
    get = blocking(AsyncModels.get)
    watch = streaming(AsyncModels.watch)
    load = blocking(AsyncModels.load)
    unload = blocking(AsyncModels.unload)
    delete = blocking(AsyncModels.delete)


class Adapters(Surface[AsyncAdapters]):
    """Adapters that requests may name, as `AsyncAdapters` describes them."""

    list = blocking(AsyncAdapters.list)
