"""The client: `AsyncClient` suspends on an asyncio event loop, `Client` blocks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from grpc_health.v1 import health_pb2
from typing_extensions import Unpack

from denoised import _rpcs
from denoised._asyncio import AsyncStream, AsyncTransport
from denoised._blocking import BlockingTransport, Surface, blocking, streaming
from denoised._connection import Connection
from denoised._conversion import diffusion_event
from denoised._datasets import AsyncDatasets, Datasets
from denoised._generations import AsyncGenerations, Generations
from denoised._models import Adapters, AsyncAdapters, AsyncModels, Models
from denoised._names import model_name
from denoised._requests import check_keywords, diffuse_request, generate_request, needs_model
from denoised._retry import Retry
from denoised._samplers import set_sampler
from denoised._started import StartedGenerations
from denoised._training import AsyncTraining, Training
from denoised._transport import Endpoint, Tls, Transport
from denoised.events import DiffusionEvent, GenerationEvent, Image
from denoised.keywords import GenerateKeywords, SamplerKeywords
from denoised.pictures import PictureLike
from denoised.v1.activity_pb2 import ActivitySnapshot, WatchActivityRequest
from denoised.v1.image_generation_pb2 import DiffuseRequest, GenerateRequest, PlanSamplerRequest
from denoised.v1.sampler_plan_pb2 import SamplerPlan

#: PEM, or the path of a PEM file.
Pem: TypeAlias = "bytes | str | os.PathLike[str]"

_DEFAULT_ADDRESS = "127.0.0.1:50051"


class AsyncClient:
    """A denoised server, for asyncio: `Client` with coroutines and asynchronous streams.

        async with denoised.AsyncClient() as client:
            async for event in client.generate(prompt="a fox", frames=1): ...

    One connection, made on the first call and made again whenever it breaks. It belongs to the
    event loop of that call.

    Args:
        address: of the server, as gRPC names it: "host:port". None: the environment variable
            DENOISED_SERVER, or else "127.0.0.1:50051".
        tls: encrypts, and trusts the certificates of this system.
        root_certificates: encrypts, and trusts these instead: PEM, or the path of a PEM file.
        certificate: for servers that ask for one: PEM, or the path of a PEM file. Needs
            `private_key`, and encrypts.
        private_key: of the certificate, in the same way.
        token: for servers that ask for one. None: the environment variable DENOISED_TOKEN, or
            else none. Goes to another machine only if the connection is encrypted.
        token_over_plaintext: sends the token without encryption, too.
        metadata: gRPC metadata for every call.
        timeout: of calls that only look something up or change a state, in seconds. None: no
            limit. Generations, uploads, watches, loading and publishing have none but their own.
        retry: how calls are tried again while the server is unavailable.
    """

    #: Generations that run or have run.
    generations: AsyncGenerations
    #: What the server can generate with.
    models: AsyncModels
    #: Adapters (LoRA) that requests may name.
    adapters: AsyncAdapters
    #: Pictures to train on.
    datasets: AsyncDatasets
    #: Jobs that train and evaluate models.
    training: AsyncTraining

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: bool = False,
        root_certificates: Pem | None = None,
        certificate: Pem | None = None,
        private_key: Pem | None = None,
        token: str | None = None,
        token_over_plaintext: bool = False,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        timeout: float | None = 10.0,
        retry: Retry = Retry(),
    ) -> None:
        endpoint = Endpoint(
            address=address or os.environ.get("DENOISED_SERVER") or _DEFAULT_ADDRESS,
            tls=_tls(tls, root_certificates, certificate, private_key),
            metadata=tuple(metadata),
        )
        token = token or os.environ.get("DENOISED_TOKEN")
        if token:
            endpoint = endpoint.with_token(token, over_plaintext=token_over_plaintext)
        transport = self._open(endpoint)
        self._connection = Connection(transport, endpoint.address, retry, timeout)
        self._started = StartedGenerations(self._connection)
        self.generations = AsyncGenerations(self._connection)
        self.models = AsyncModels(self._connection)
        self.adapters = AsyncAdapters(self._connection)
        self.datasets = AsyncDatasets(self._connection)
        self.training = AsyncTraining(self._connection)

    def _open(self, endpoint: Endpoint) -> Transport:
        return AsyncTransport(endpoint)

    def generate(
        self,
        request: GenerateRequest | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[GenerateKeywords],
    ) -> AsyncStream[GenerationEvent]:
        """Generates images, and streams what happens on the way.

        What to generate is said by keywords, which `denoised.keywords.GenerateKeywords` explains,
        or by a ready `request`. The events are those of `denoised.events`: `Accepted`, `Queued`,
        `Started`, `Progress`, `Frame`, `Image` and, at the end, `Finished` or `Paused`.

        A connection that breaks does not end the generation: the stream continues after its last
        event, with the same request id. If the stream is left early, the generation is cancelled.
        A `request_id` or an `on_disconnect` changes that:

        - With a `request_id` of your own, the generation continues without readers, and the same
          call joins it.
        - With `on_disconnect="detach"` it continues, too.
        - With `on_disconnect="cancel"` the server cancels it as soon as nobody reads it, also when
          the connection breaks.

        Args:
            request: instead of keywords.
            timeout: of the whole stream, in seconds. None: no limit.
            **keywords: what to generate.

        Raises:
            TypeError: a keyword is unknown, or its value has the wrong type.
            InvalidRequest: `violations` lists every wrong field.
            NotFound: there is no such model.
            FailedPrecondition: the model, or an adapter, does not load.
            AlreadyExists: the request id belongs to another request.
            ResourceExhausted: the device has no memory for it.
            Unavailable: the server cannot be reached or is full, or has lost the generation.
            Cancelled: somebody cancelled the generation.
            Aborted: somebody paused it; the event `Paused` came before.
            DeadlineExceeded: `timeout` has passed.
            Internal: the generation failed.
        """
        if request is not None and keywords:
            raise TypeError("generate() takes a request or keywords, not both")
        check_keywords(keywords, GenerateKeywords, "generate")
        events = self._generate(request, keywords, timeout)
        return AsyncStream(events)

    def resume(self, token: bytes, *, timeout: float | None = None) -> AsyncStream[GenerationEvent]:
        """Continues a generation that was paused, and streams what happens from there on.

        The images that were finished before are not made, and not sent, again. Leaving the stream
        means what the request of the generation says: `on_disconnect`.

        Args:
            token: what `generations.pause` or the event `Paused` has brought.
            timeout: of the whole stream, in seconds. None: no limit.

        Raises:
            InvalidRequest: the token is damaged, of another tenant or of another deployment.
            FailedPrecondition: it has expired, or the model has changed; `reason` says which.
            Error: as for `generate`.
        """
        request = GenerateRequest(handover=token)
        return AsyncStream(self._started.generate(request, timeout))

    async def generate_images(
        self,
        request: GenerateRequest | None = None,
        *,
        timeout: float | None = None,
        **keywords: Unpack[GenerateKeywords],
    ) -> list[Image]:
        """Generates images, and returns them in order once all are there.

        Takes and raises what `generate` does.
        """
        async with self.generate(request, timeout=timeout, **keywords) as stream:
            images = [event async for event in stream if isinstance(event, Image)]
        return sorted(images, key=lambda image: image.image_index)

    def diffuse(
        self,
        pictures: PictureLike | Sequence[PictureLike],
        *,
        model: str | None = None,
        seed: int | None = None,
        timesteps: Sequence[float] | None = None,
        steps: int | None = None,
        mode: str | None = None,
        encoding: str | None = None,
        timeout: float | None = None,
    ) -> AsyncStream[DiffusionEvent]:
        """Turns pictures into noise as a model's training does. See docs/diffuse.md.

        Args:
            pictures: one or several.
            model: whose noise schedule and size apply. None: the only model that is served.
            seed: picture i uses the noise of `seed + i`. None: the server chooses.
            timesteps: the ones to show, ascending.
            steps: instead, how many to show, evenly spaced. None: 9.
            mode: "closed_form" (the default) or "step_by_step".
            encoding: of frames: "png" (the default), "jpeg", "webp" or "raw_float32".
            timeout: of the whole stream, in seconds. None: no limit.

        Raises:
            InvalidRequest: `violations` lists every wrong field.
            NotFound: there is no such model.
        """
        settings = {
            "seed": seed,
            "timesteps": timesteps,
            "steps": steps,
            "mode": mode,
            "encoding": encoding,
        }
        request = diffuse_request(pictures, settings)
        return AsyncStream(self._diffuse(request, model, timeout))

    async def plan(
        self,
        model: str | None = None,
        *,
        timeout: float | None = None,
        **sampler: Unpack[SamplerKeywords],
    ) -> SamplerPlan:
        """Returns every number that a sampler would use, without generating. See docs/plan.md.

        Args:
            model: None: the only model that is served.
            timeout: in seconds. None: that of the client.
            **sampler: as for `generate`.

        Raises:
            InvalidRequest: `violations` lists every wrong field.
            NotFound: there is no such model.
        """
        check_keywords(sampler, SamplerKeywords, "plan")
        request = PlanSamplerRequest(model=await self._model_name(model))
        set_sampler(request, sampler)
        return await self._connection.look_up(_rpcs.PLAN_SAMPLER, request, timeout)

    def watch_activity(
        self, *, interval: float = 0.25, timeout: float | None = None
    ) -> AsyncStream[ActivitySnapshot]:
        """Tells what the server is doing now, and again whenever that has changed.

        If the connection breaks, the stream continues. It ends only with an error.

        Args:
            interval: the least time between two snapshots, 0.05 to 60 seconds.
            timeout: of the whole stream, in seconds. None: no limit.

        Raises:
            InvalidRequest: the interval is out of range.
        """
        request = WatchActivityRequest()
        request.interval.FromNanoseconds(round(interval * 1e9))
        opening = (_rpcs.WATCH_ACTIVITY, request)
        return AsyncStream(self._connection.stream(*opening, lambda _: opening, timeout))

    async def health(self, service: str = "", *, timeout: float | None = None) -> str:
        """Returns "SERVING", "NOT_SERVING" or "UNKNOWN".

        Args:
            service: such as "denoised.v1.ImageGeneration". Empty: the server as a whole.
            timeout: in seconds. None: that of the client.

        Raises:
            NotFound: the server has no such service.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        response = await self._connection.look_up(_rpcs.CHECK_HEALTH, request, timeout)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))

    async def close(self) -> None:
        """Leaves the streams that are open, and closes the connection."""
        await self._started.close()
        await self._connection.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _model_name(self, model: str | None) -> str:
        return model_name(model) if model else (await self.models.resolve(model)).name

    async def _generate(
        self,
        request: GenerateRequest | None,
        keywords: GenerateKeywords,
        timeout: float | None,
    ) -> AsyncGenerator[GenerationEvent, None]:
        if request is None:
            is_needed = needs_model(keywords)
            model = await self.models.resolve(keywords.get("model")) if is_needed else None
            request = generate_request(keywords, model)
        events = self._started.generate(request, timeout)
        async with contextlib.aclosing(events):
            async for event in events:
                yield event

    async def _diffuse(
        self, request: DiffuseRequest, model: str | None, timeout: float | None
    ) -> AsyncGenerator[DiffusionEvent, None]:
        request.model = await self._model_name(model)
        messages = self._connection.stream(_rpcs.DIFFUSE, request, None, timeout)
        async with contextlib.aclosing(messages):
            async for message in messages:
                if event := diffusion_event(message):
                    yield event


class _BlockingClient(AsyncClient):
    """Never suspends."""

    def _open(self, endpoint: Endpoint) -> Transport:
        return BlockingTransport(endpoint)


class Client(Surface[AsyncClient]):
    """A denoised server.

        with denoised.Client() as client:
            for event in client.generate(prompt="a fox", frames=1): ...

    One connection, made on the first call and made again whenever it breaks. Every method may be
    called from any thread; a stream belongs to one thread at a time.

    Args:
        address: of the server, as gRPC names it: "host:port". None: the environment variable
            DENOISED_SERVER, or else "127.0.0.1:50051".
        tls: encrypts, and trusts the certificates of this system.
        root_certificates: encrypts, and trusts these instead: PEM, or the path of a PEM file.
        certificate: for servers that ask for one: PEM, or the path of a PEM file. Needs
            `private_key`, and encrypts.
        private_key: of the certificate, in the same way.
        token: for servers that ask for one. None: the environment variable DENOISED_TOKEN, or
            else none. Goes to another machine only if the connection is encrypted.
        token_over_plaintext: sends the token without encryption, too.
        metadata: gRPC metadata for every call.
        timeout: of calls that only look something up or change a state, in seconds. None: no
            limit. Generations, uploads, watches, loading and publishing have none but their own.
        retry: how calls are tried again while the server is unavailable.
    """

    #: Generations that run or have run.
    generations: Generations
    #: What the server can generate with.
    models: Models
    #: Adapters (LoRA) that requests may name.
    adapters: Adapters
    #: Pictures to train on.
    datasets: Datasets
    #: Jobs that train and evaluate models.
    training: Training

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: bool = False,
        root_certificates: Pem | None = None,
        certificate: Pem | None = None,
        private_key: Pem | None = None,
        token: str | None = None,
        token_over_plaintext: bool = False,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        timeout: float | None = 10.0,
        retry: Retry = Retry(),
    ) -> None:
        client = _BlockingClient(
            address,
            tls=tls,
            root_certificates=root_certificates,
            certificate=certificate,
            private_key=private_key,
            token=token,
            token_over_plaintext=token_over_plaintext,
            metadata=metadata,
            timeout=timeout,
            retry=retry,
        )
        super().__init__(client)
        self.generations = Generations(client.generations)
        self.models = Models(client.models)
        self.adapters = Adapters(client.adapters)
        self.datasets = Datasets(client.datasets)
        self.training = Training(client.training)

    generate = streaming(AsyncClient.generate)
    resume = streaming(AsyncClient.resume)
    generate_images = blocking(AsyncClient.generate_images)
    diffuse = streaming(AsyncClient.diffuse)
    plan = blocking(AsyncClient.plan)
    watch_activity = streaming(AsyncClient.watch_activity)
    health = blocking(AsyncClient.health)
    close = blocking(AsyncClient.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _tls(
    tls: bool, root_certificates: Pem | None, certificate: Pem | None, private_key: Pem | None
) -> Tls | None:
    """None: plaintext."""
    if (certificate is None) != (private_key is None):
        raise ValueError("certificate and private_key go together")
    if not tls and root_certificates is None and certificate is None:
        return None
    return Tls(
        root_certificates=_read(root_certificates),
        certificate=_read(certificate),
        private_key=_read(private_key),
    )


def _read(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()
