"""Pictures as the server sends and takes them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL.Image
import PIL.ImageOps

from denoised._enums import enum_name
from denoised.v1 import image_generation_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RAW_FLOAT32 = "raw_float32"
#: Little-endian, whatever this machine is.
_SAMPLE_TYPE = np.dtype("<f4")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture from the server: the message `Image` of the contract."""

    #: The encoded picture: the bytes of a PNG file, for example.
    data: bytes = field(repr=False)
    #: "png", "jpeg", "webp" or "raw_float32".
    encoding: str
    channels: int
    #: In pixels; of raw samples of latent models, in latent pixels.
    height: int
    width: int

    @classmethod
    def from_message(cls, message: image_generation_pb2.Image) -> Picture:
        """Wraps a picture inside a message, such as `dataset.report.contact_sheet`."""
        return Picture(**picture_fields(message))

    @property
    def pil(self) -> PIL.Image.Image:
        """The decoded picture, anew each time.

        A raw sample x becomes round(clamp(x / 2 + 0.5) * 255).

        Raises:
            ValueError: a raw sample has neither one channel nor three, as latents do; use `numpy`.
        """
        if self.encoding != _RAW_FLOAT32:
            picture = PIL.Image.open(io.BytesIO(self.data))
            picture.load()
            return picture
        if self.channels not in (1, 3):
            raise ValueError(
                f"a sample of {self.channels} channels is not a picture: use numpy(), or ask for "
                'the encoding "png"'
            )
        pixels = np.rint(np.clip(self.numpy() / 2 + 0.5, 0, 1) * 255).astype(np.uint8)
        pixels = np.moveaxis(pixels, 0, -1)
        return PIL.Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels)

    def numpy(self) -> NDArray[Any]:
        """The pixels, or the raw sample.

        Returns:
            uint8 `[height, width, channels]` for pictures; float32 `[channels, height, width]` for
            "raw_float32": the sample itself, in the model's range of [-1, 1] but not clipped to it.
        """
        if self.encoding == _RAW_FLOAT32:
            sample = np.frombuffer(self.data, _SAMPLE_TYPE).astype(np.float32)
            return sample.reshape(self.channels, self.height, self.width)
        return np.asarray(self.pil).reshape(self.height, self.width, self.channels)

    def _repr_png_(self) -> bytes:
        """What notebooks show."""
        return self.data if self.encoding == "png" else _encode_png(self.pil)


#: What calls take as a picture: a PIL image; uint8 pixels `[H, W]` or `[H, W, C]`; the path of a
#: PNG, JPEG or WebP file, or its bytes; or a picture from the server.
PictureLike: TypeAlias = (
    "PIL.Image.Image | NDArray[np.uint8] | bytes | str | os.PathLike[str] | Picture"
)

#: What calls take as noise or as a frame to continue from: float32 `[C, H, W]`, its bytes, or a
#: picture with the encoding "raw_float32".
SampleLike: TypeAlias = "NDArray[Any] | bytes | Picture"


def picture_fields(message: image_generation_pb2.Image) -> dict[str, Any]:
    """The fields of a `Picture`, or of an event that is one."""
    return {
        "data": message.data,
        "encoding": enum_name(image_generation_pb2.Encoding.DESCRIPTOR, message.encoding),
        "channels": message.channels,
        "height": message.height,
        "width": message.width,
    }


def encode_picture(picture: PictureLike) -> bytes:
    """The bytes of a picture file that the server reads."""
    if isinstance(picture, Picture):
        return _encode_png(picture.pil) if picture.encoding == _RAW_FLOAT32 else picture.data
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray):
        return _encode_png(PIL.Image.fromarray(picture))
    if isinstance(picture, PIL.Image.Image):
        return _encode_png(picture)
    return Path(picture).read_bytes()


def encode_sample(sample: SampleLike) -> bytes:
    """The bytes of a raw sample."""
    if isinstance(sample, bytes):
        return sample
    if isinstance(sample, Picture):
        if sample.encoding != _RAW_FLOAT32:
            raise ValueError(
                f'a sample must have the encoding "{_RAW_FLOAT32}"; this one is {sample.encoding}. '
                f'Generate it with image_encoding="{_RAW_FLOAT32}" (frames: frame_encoding)'
            )
        return sample.data
    return np.ascontiguousarray(sample, _SAMPLE_TYPE).tobytes()


def _encode_png(picture: PIL.Image.Image) -> bytes:
    picture = PIL.ImageOps.exif_transpose(picture)  # the server would not see how it was held
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
