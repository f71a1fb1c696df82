"""What an upload is made of: the same bytes whenever they are read, from any offset."""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from denoised.pictures import PictureLike, encode_picture

_CHUNK_BYTES = 256 << 10
_END = bytes(2 * tarfile.BLOCKSIZE)
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".webp"))

_log = logging.getLogger("denoised")

#: What can be uploaded: the path of a folder or of a file, or pictures with their names in the
#: archive, such as ("cats/1.png", picture).
UploadSource: TypeAlias = "str | os.PathLike[str] | Iterable[tuple[str, PictureLike]]"


@dataclass(frozen=True)
class _FilePart:
    path: Path
    size: int

    def read(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` on.

        Raises:
            RuntimeError: the file has another size than it had.
        """
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise RuntimeError(f"{self.path} has changed since the upload began; upload again")
            file.seek(offset)
            while piece := file.read(_CHUNK_BYTES):
                yield piece


class Upload:
    """Bytes from memory and from files, one after the other. Memory: those from memory."""

    def __init__(self, parts: Sequence[bytes | _FilePart], spool: IO[bytes] | None = None) -> None:
        self._parts = parts
        self._spool = spool
        self.total_bytes = sum(_size(part) for part in parts)

    def close(self) -> None:
        """Removes the temporary file that holds the bytes, if there is one."""
        if self._spool:
            self._spool.close()

    def chunks(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` on, in chunks of one size. Raises as reading files does."""
        buffer = bytearray()
        for piece in self._pieces(offset):
            buffer += piece
            while len(buffer) >= _CHUNK_BYTES:
                yield bytes(buffer[:_CHUNK_BYTES])
                del buffer[:_CHUNK_BYTES]
        if buffer:
            yield bytes(buffer)

    def sha256(self) -> bytes:
        """Of all bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0):
            digest.update(chunk)
        return digest.digest()

    def _pieces(self, offset: int) -> Iterator[bytes]:
        for part in self._parts:
            if offset >= _size(part):
                offset -= _size(part)
                continue
            if isinstance(part, bytes):
                yield part[offset:]
            else:
                yield from part.read(offset)
            offset = 0


def open_upload(source: UploadSource) -> Upload:
    """Finds what there is to upload. Reads no file to its end.

    Raises:
        ValueError: there is no picture.
        OSError: something cannot be read.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _spooled(source)
    path = Path(source)
    return _folder(path) if path.is_dir() else Upload([_FilePart(path, path.stat().st_size)])


def upload_name(source: UploadSource) -> str:
    """The name of a path without folders and endings: "animals" for "data/animals.tar.gz".

    Raises:
        ValueError: `source` is no path.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError("pictures without a path need a name for their data set")
    name = Path(source).resolve().name
    return name[: name.find(".", 1)] if "." in name[1:] else name


def _size(part: bytes | _FilePart) -> int:
    return len(part) if isinstance(part, bytes) else part.size


def _folder(folder: Path) -> Upload:
    """A tar of the pictures in a folder. The same files give the same bytes."""
    parts: list[bytes | _FilePart] = []
    files = list(_pictures(folder))
    for name, path in sorted(files, key=lambda file: os.fsencode(file[0])):
        size = path.stat().st_size
        parts += [_tar_header(name, size), _FilePart(path, size), _tar_padding(size)]
    if not parts:
        raise ValueError(f"there is no picture in {folder}; PNG, JPEG and WebP files are read")
    return Upload([*parts, _END])


def _spooled(pictures: Iterable[tuple[str, PictureLike]]) -> Upload:
    """A tar of pictures that may be gone once they have been read."""
    spool = tempfile.NamedTemporaryFile(prefix="denoised-")  # noqa: SIM115
    size = 0
    for name, picture in pictures:
        data = encode_picture(picture)
        size += spool.write(_tar_header(name, len(data)) + data + _tar_padding(len(data)))
    if not size:
        raise ValueError("there is no picture to upload")
    size += spool.write(_END)
    spool.flush()
    return Upload([_FilePart(Path(spool.name), size)], spool)


def _pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files to send, with their names in the archive.

    Skips hidden names, and does not follow links to folders. Files that are not pictures are left
    out where they lie beside pictures. Elsewhere they are sent, so that the server can refuse a
    class that has nothing else.
    """
    left_out = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [Path(parent, name) for name in names if not name.startswith(".")]
        files = [file for file in files if file.is_file()]
        pictures = [file for file in files if _is_picture(file)]
        for file in pictures or files:
            yield file.relative_to(folder).as_posix(), file
        left_out += [file for file in files if pictures and file not in pictures]
    if left_out:
        _log.warning("left out %d files, for example %s", len(left_out), left_out[0])


def _is_picture(file: Path) -> bool:
    if file.suffix.lower() in _SUFFIXES:
        return True
    with file.open("rb") as opened:
        start = opened.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def _tar_header(name: str, size: int) -> bytes:
    """Without times or owners, so that the same files give the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _tar_padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
