"""Data sets: pictures to train on."""

from __future__ import annotations

import builtins
import contextlib
import zlib
from collections.abc import Callable, Iterator

from denoised import _rpcs, errors
from denoised._blocking import Surface, blocking
from denoised._connection import Connection
from denoised._message import set_field
from denoised._names import dataset_name
from denoised._retry import Deadline
from denoised._upload import Upload, UploadSource, open_upload, upload_name
from denoised.v1.datasets_pb2 import (
    Dataset,
    DeleteDatasetRequest,
    GetDatasetRequest,
    ListDatasetsRequest,
    UploadChunk,
    UploadDatasetRequest,
    UploadHeader,
)


class AsyncDatasets:
    """Pictures to train on. See docs/datasets.md.

    Methods take the name "datasets/emoji", or "emoji" for short. All of them need a server with
    `--state`; others answer `Unimplemented`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def upload(
        self,
        source: UploadSource,
        name: str | None = None,
        *,
        format: str = "tar",
        progress: Callable[[int, int], None] | None = None,
        timeout: float | None = None,
    ) -> Dataset:
        """Uploads pictures, and returns once the server has read them; `report` describes them.

        Only what the server lacks is sent: an upload that was interrupted continues if it is made
        again within a day, and by itself if the connection breaks. If the server has all of it and
        is reading it, the same call waits for that.

        Args:
            source: a folder, whose sub-folders are classes; a file in `format`; or pictures with
                their names, such as ("cats/1.png", picture), which go through a temporary file.
            name: of the data set. None: that of the folder or file, without endings.
            format: of a file: "tar" (also zip), "cifar10" or "mnist".
            progress: is called with the bytes sent and the bytes in all, on any thread.
            timeout: in seconds. None: no limit.

        Raises:
            ValueError: there is no picture to upload.
            OSError: a file cannot be read.
            InvalidRequest: the server cannot read the upload; the message says why.
            AlreadyExists: there is a data set of this name.
            Aborted: somebody else is uploading a data set of this name.
            ResourceExhausted: a quota or the disk is full.
        """
        request = UploadDatasetRequest()
        header = request.header
        header.name = dataset_name(name or upload_name(source))
        set_field(request, "header.format", format)
        deadline = Deadline(timeout)
        with contextlib.closing(
            await self._connection.offload(lambda: open_upload(source))
        ) as upload:
            header.total_bytes = upload.total_bytes
            header.sha256 = await self._connection.offload(upload.sha256)
            return await self._send(header, upload, progress or _ignore, deadline)

    async def list(self, *, timeout: float | None = None) -> builtins.list[Dataset]:
        """The data sets by name, without their contact sheets."""
        return await self._connection.list_all(
            _rpcs.LIST_DATASETS, ListDatasetsRequest(), lambda page: page.datasets, timeout
        )

    async def get(self, dataset: str, *, timeout: float | None = None) -> Dataset:
        """Describes a data set: its state and, once it has been read, its report.

        Raises:
            NotFound: there is no such data set.
        """
        request = GetDatasetRequest(name=dataset_name(dataset))
        return await self._connection.look_up(_rpcs.GET_DATASET, request, timeout)

    async def delete(self, dataset: str, *, timeout: float | None = None) -> None:
        """Deletes a data set.

        Raises:
            NotFound: there is no such data set.
            FailedPrecondition: an unfinished job uses it, or its bytes are being sent.
        """
        request = DeleteDatasetRequest(name=dataset_name(dataset))
        await self._connection.look_up(_rpcs.DELETE_DATASET, request, timeout)

    async def _send(
        self,
        header: UploadHeader,
        upload: Upload,
        progress: Callable[[int, int], None],
        deadline: Deadline,
    ) -> Dataset:
        """Sends what the server lacks, again whenever the connection breaks."""
        attempts = self._connection.attempts(deadline)
        interrupted: errors.Error | None = None
        while True:
            try:
                dataset = await self._find(header.name)
                if dataset.state == Dataset.READY and interrupted:
                    return dataset  # only its answer was lost
                received = _received(dataset)
                if received > header.offset:
                    attempts.answered()
                header.offset = received
                messages = _messages(header, upload, progress)
                return await self._connection.send(
                    _rpcs.UPLOAD_DATASET, messages, deadline.remaining()
                )
            except errors.Unavailable as error:
                interrupted = error
            except (errors.Aborted, errors.FailedPrecondition):
                if interrupted is None:
                    raise
                # The server only notices now that the previous call has broken.
            await self._connection.wait(attempts, interrupted)

    async def _find(self, name: str) -> Dataset:
        """The data set of that name, an empty one if there is none."""
        try:
            return await self.get(name)
        except errors.NotFound:
            return Dataset()


def _received(dataset: Dataset) -> int:
    """The bytes that need not be sent again: all, while the server is reading the data set."""
    continues = dataset.state in (Dataset.UPLOADING, Dataset.READING)
    return dataset.received_bytes if continues else 0


def _messages(
    header: UploadHeader, upload: Upload, progress: Callable[[int, int], None]
) -> Iterator[UploadDatasetRequest]:
    yield UploadDatasetRequest(header=header)
    sent = header.offset
    for data in upload.chunks(header.offset):
        yield UploadDatasetRequest(chunk=UploadChunk(data=data, crc32=zlib.crc32(data)))
        sent += len(data)
        progress(sent, header.total_bytes)


def _ignore(sent: int, total: int) -> None:
    pass


class Datasets(Surface[AsyncDatasets]):
    """Pictures to train on, as `AsyncDatasets` describes them."""

    upload = blocking(AsyncDatasets.upload)
    list = blocking(AsyncDatasets.list)
    get = blocking(AsyncDatasets.get)
    delete = blocking(AsyncDatasets.delete)
