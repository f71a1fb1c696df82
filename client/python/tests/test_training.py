"""From a folder of pictures to a model."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import PIL.Image
import pytest
from conftest import Connect, StartProxy
from server import Server
from surfaces import Surface

import denoised
from denoised._upload import open_upload
from denoised.v1.datasets_pb2 import (
    Dataset,
    GetDatasetRequest,
    UploadDatasetRequest,
    UploadHeader,
)
from denoised.v1.training_pb2 import TrainingJob


def settings(dataset: str, steps: int = 4) -> denoised.TrainingSettings:
    """A network that takes milliseconds a step."""
    return denoised.TrainingSettings(
        dataset=dataset,
        new_network={"height": 8, "width": 8, "block_out_channels": [8], "no_attention": True},
        batch_size=4,
        max_steps=steps,
        seed=1,
        checkpoints={"every_n_steps": 2},
        samples={"count": 2, "sampler": {"steps": 2}},
    )


def pictures(count: int, size: int = 8) -> list[tuple[str, PIL.Image.Image]]:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (count, size, size, 3), np.uint8)
    return [
        (f"{('cats', 'dogs')[index % 2]}/{index}.png", PIL.Image.fromarray(picture))
        for index, picture in enumerate(pixels)
    ]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Pictures in two classes, beside files that are none. Named for the test."""
    folder = tmp_path / str(request.node.name).replace("[", "-").replace("]", "")
    for name, picture in pictures(10):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    (folder / "cats" / "notes.txt").write_text("about cats")
    (folder / ".hidden").write_text("nothing")
    return folder


@pytest.fixture
def dataset(surface: Surface, folder: Path) -> str:
    dataset: Dataset = surface.call(lambda client: client.datasets.upload(folder))
    return dataset.name


def test_a_folder_becomes_a_data_set_with_a_class_per_sub_folder(
    surface: Surface, folder: Path
) -> None:
    progress: list[tuple[int, int]] = []
    dataset = surface.call(
        lambda client: client.datasets.upload(
            folder, progress=lambda sent, total: progress.append((sent, total))
        )
    )
    assert dataset.name == f"datasets/{folder.name}"
    assert dataset.state == Dataset.READY
    assert dataset.report.pictures == 10
    assert dataset.report.unreadable_files == 0
    assert [entry.display_name for entry in dataset.report.classes] == ["cats", "dogs"]
    assert progress[-1] == (dataset.total_bytes, dataset.total_bytes)
    sheet = denoised.Picture.from_message(dataset.report.contact_sheet)
    assert sheet.pil.width > 0
    assert dataset.name in [
        entry.name for entry in surface.call(lambda client: client.datasets.list())
    ]
    with pytest.raises(denoised.AlreadyExists):
        surface.call(lambda client: client.datasets.upload(folder))
    surface.call(lambda client: client.datasets.delete(dataset.name))
    with pytest.raises(denoised.NotFound):
        surface.call(lambda client: client.datasets.get(dataset.name))


def test_pictures_in_memory_are_uploaded_with_their_names(surface: Surface) -> None:
    name = f"in-memory-{type(surface).__name__}"
    dataset = surface.call(lambda client: client.datasets.upload(pictures(6), name))
    assert dataset.report.pictures == 6
    assert [entry.pictures for entry in dataset.report.classes] == [3, 3]
    with pytest.raises(ValueError, match="need a name"):
        surface.call(lambda client: client.datasets.upload(pictures(1)))


def test_an_archive_is_sent_as_it_is(surface: Surface, folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / f"{folder.name}"), "gztar", folder)
    dataset = surface.call(lambda client: client.datasets.upload(archive))
    assert dataset.name == f"datasets/{folder.name}"
    assert dataset.total_bytes == Path(archive).stat().st_size


def test_a_folder_without_pictures_is_refused(surface: Surface, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no picture in"):
        surface.call(lambda client: client.datasets.upload(tmp_path, "empty"))


def test_a_class_without_a_picture_is_refused_by_the_server(surface: Surface, folder: Path) -> None:
    (folder / "birds").mkdir()
    (folder / "birds" / "1.gif").write_bytes(b"GIF89a")
    with pytest.raises(denoised.InvalidRequest, match="birds"):
        surface.call(lambda client: client.datasets.upload(folder))


def test_an_archive_of_a_folder_can_be_read_from_any_offset(folder: Path) -> None:
    upload = open_upload(folder)
    whole = b"".join(upload.chunks(0))
    assert len(whole) == upload.total_bytes
    for offset in range(0, upload.total_bytes, 211):
        assert b"".join(upload.chunks(offset)) == whole[offset:]
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert len(archive.getnames()) == 10
        first = archive.extractfile("cats/0.png")
        assert first is not None
        assert first.read() == (folder / "cats" / "0.png").read_bytes()


def test_a_file_that_changes_while_it_is_sent_ends_the_upload(
    surface: Surface, folder: Path
) -> None:
    large = folder / "cats" / "large.png"
    PIL.Image.fromarray(np.random.default_rng(2).integers(0, 256, (900, 900, 3), np.uint8)).save(
        large
    )

    def shrink(*_: int) -> None:
        (folder / "dogs" / "9.png").write_bytes(b"")

    with pytest.raises(RuntimeError, match="has changed since the upload began"):
        surface.call(lambda client: client.datasets.upload(folder, progress=shrink))


def test_an_upload_that_breaks_continues_where_it_stopped(
    connect: Connect, server: Server, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(server.address, cut_after_bytes_sent=[700_000, 700_000])
    surface = connect(proxy.address)
    name = f"broken-{type(surface).__name__}"
    dataset = surface.call(lambda client: client.datasets.upload(pictures(10, size=256), name))
    assert dataset.state == Dataset.READY
    assert dataset.report.pictures == 10
    assert proxy.connections == 3


class Interrupted(Exception):
    pass


def test_an_upload_that_was_interrupted_continues_where_it_stopped(
    surface: Surface, client: denoised.Client
) -> None:
    name = f"interrupted-{type(surface).__name__}"
    # 12 MB in one file: the server stores what it has received after 8 MiB.
    large = pictures(1, size=2000)

    def interrupt(sent: int, _: int) -> None:
        if sent > 9 << 20:
            while not client.datasets.get(name).received_bytes:
                pass
            raise Interrupted

    with pytest.raises(Interrupted):
        surface.call(lambda client: client.datasets.upload(large, name, progress=interrupt))
    received = client.datasets.get(name).received_bytes
    sent: list[int] = []
    dataset = None
    while dataset is None:
        with contextlib.suppress(denoised.Aborted):  # the server has not noticed the interruption
            dataset = surface.call(
                lambda client: client.datasets.upload(
                    large, name, progress=lambda bytes_sent, _: sent.append(bytes_sent)
                )
            )
    assert dataset.state == Dataset.READY
    assert min(sent) > received >= 8 << 20


ANY_FILE = Path(__file__)


@pytest.fixture
def reading_server() -> Iterator[tuple[str, list[UploadHeader]]]:
    """A server that has received a data set and is reading it: its address, and what it is sent."""
    seen: list[UploadHeader] = []

    def upload(
        requests: Iterator[UploadDatasetRequest], context: grpc.ServicerContext
    ) -> Dataset | None:
        messages = list(requests)
        header = messages[0].header
        seen.append(header)
        if header.offset != header.total_bytes or messages[1:]:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "all bytes have been received")
        return Dataset(name=header.name, state=Dataset.READY)

    def get(request: GetDatasetRequest, _: grpc.ServicerContext) -> Dataset:
        size = ANY_FILE.stat().st_size
        return Dataset(name=request.name, state=Dataset.READING, received_bytes=size)

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetDataset": grpc.unary_unary_rpc_method_handler(
            get, GetDatasetRequest.FromString, Dataset.SerializeToString
        ),
        "UploadDataset": grpc.stream_unary_rpc_method_handler(
            upload, UploadDatasetRequest.FromString, Dataset.SerializeToString
        ),
    }
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("denoised.v1.Datasets", methods)]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", seen
        server.stop(None).wait()


def test_an_upload_that_the_server_is_reading_is_waited_for(
    connect: Connect, reading_server: tuple[str, list[UploadHeader]]
) -> None:
    address, seen = reading_server
    dataset = connect(address).call(lambda client: client.datasets.upload(ANY_FILE))
    assert dataset.state == Dataset.READY
    assert len(seen) == 1


def test_a_job_is_watched_from_its_beginning_to_its_end(surface: Surface, dataset: str) -> None:
    job = surface.call(
        lambda client: client.training.create(
            settings(dataset.removeprefix("datasets/")), labels={"for": "test"}
        )
    )
    assert job.labels == {"for": "test"}
    assert job.training.dataset == dataset
    events = list(surface.events(lambda client: client.training.watch(job.name)))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state for event in events if isinstance(event, denoised.StateChanged)]
    assert states[-2:] == ["running", "succeeded"]
    progress = [event.progress for event in events if isinstance(event, denoised.Trained)]
    assert progress[-1].step == 4
    grid = next(event for event in events if isinstance(event, denoised.SampleGrid))
    assert grid.pil.width >= 8
    saved = [e.checkpoint.step for e in events if isinstance(e, denoised.CheckpointSaved)]
    assert saved[-1] == 4
    short = job.name.removeprefix("trainingJobs/")
    rest = surface.events(lambda client: client.training.watch(short, resume_after=3))
    assert list(rest) == events[3:]


def test_a_finished_job_is_published_and_used(surface: Surface, dataset: str) -> None:
    job = surface.call(lambda client: client.training.create(settings(dataset)))
    list(surface.events(lambda client: client.training.watch(job.name)))
    checkpoints = surface.call(lambda client: client.training.checkpoints(job.name))
    assert [checkpoint.step for checkpoint in checkpoints] == [4, 2]
    name = f"trained-{type(surface).__name__}"
    model = surface.call(
        lambda client: client.training.publish(job.name, name, step=2, precision="float16")
    )
    assert model.name == f"models/{name}"
    image = surface.call(
        lambda client: client.generate_images(model=name, class_label="dogs", steps=2)
    )[0]
    assert image.pil.size == (8, 8)
    published = [
        event
        for event in surface.events(lambda client: client.training.watch(job.name))
        if isinstance(event, denoised.Published)
    ]
    assert [(event.model, event.step) for event in published] == [(model.name, 2)]
    surface.call(lambda client: client.models.delete(name))


def test_a_job_is_paused_resumed_cancelled_and_deleted(surface: Surface, dataset: str) -> None:
    job = surface.call(lambda client: client.training.create(settings(dataset, 1_000_000)))
    events = surface.events(lambda client: client.training.watch(job.name))

    def wait_for(state: str) -> None:
        for event in events:
            if isinstance(event, denoised.StateChanged) and event.state == state:
                return
        raise AssertionError(f"the job has ended without being {state}")

    wait_for("running")
    running = surface.call(lambda client: client.training.list(states=["running"]))
    assert job.name in [entry.name for entry in running]
    surface.call(lambda client: client.training.pause(job.name))
    wait_for("paused")
    surface.call(lambda client: client.training.resume(job.name))
    wait_for("running")
    surface.call(lambda client: client.training.cancel(job.name))
    wait_for("cancelled")
    ended = surface.call(lambda client: client.training.get(job.name))
    assert ended.state == TrainingJob.CANCELLED
    surface.call(lambda client: client.training.delete(job.name))
    with pytest.raises(denoised.NotFound):
        surface.call(lambda client: client.training.get(job.name))


def test_a_watch_continues_when_the_connection_breaks(
    connect: Connect, server: Server, start_proxy: StartProxy, dataset: str
) -> None:
    direct = connect(server.address)
    job = direct.call(lambda client: client.training.create(settings(dataset)))
    all_events = list(direct.events(lambda client: client.training.watch(job.name)))
    proxy = start_proxy(server.address, [600, 600])
    through_proxy = connect(proxy.address)
    events = list(through_proxy.events(lambda client: client.training.watch(job.name)))
    assert events == all_events
    assert proxy.connections > 1


def test_a_repeated_request_creates_no_second_job(surface: Surface, dataset: str) -> None:
    jobs = [
        surface.call(lambda client: client.training.create(settings(dataset), request_id=dataset))
        for _ in range(2)
    ]
    assert jobs[0].name == jobs[1].name


def test_an_evaluation_is_a_job(surface: Surface, dataset: str) -> None:
    evaluation = denoised.EvaluationSettings(
        model="emoji-32", dataset=dataset, sample_count=4, sampler={"steps": 2}
    )
    with pytest.raises(denoised.InvalidRequest):
        # The data set has other classes than the model.
        surface.call(lambda client: client.training.create(evaluation))


def test_wrong_settings_are_listed(surface: Surface, dataset: str) -> None:
    wrong: dict[str, Any] = {"optimizer": {"learning_rate": -1}, "batch_size": 0}
    with pytest.raises(denoised.InvalidRequest) as caught:
        surface.call(
            lambda client: client.training.create(
                denoised.TrainingSettings(dataset=dataset, base_model="emoji-32", **wrong)
            )
        )
    fields = {violation.field for violation in caught.value.violations}
    assert {"training.batch_size", "training.optimizer.learning_rate"} <= fields
