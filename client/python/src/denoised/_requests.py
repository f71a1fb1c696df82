"""From keyword arguments to requests."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from denoised._message import invalid, set_field
from denoised._names import adapter_name, model_name
from denoised._samplers import set_sampler
from denoised.events import Frame
from denoised.keywords import GenerateKeywords, SamplerKeywords
from denoised.pictures import PictureLike, encode_picture, encode_sample
from denoised.v1 import image_generation_pb2, models_pb2

#: The default of `denoise generate --strength`.
_STRENGTH = 0.8

#: Where the value of a keyword goes, if nothing more has to be done.
_PATHS = {
    "count": "count",
    "seed": "seed",
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "prompt_2": "prompt_2",
    "negative_prompt_2": "negative_prompt_2",
    "prompt_syntax": "prompt_syntax",
    "clip_skip": "clip_skip",
    "height": "height",
    "width": "width",
    "original_height": "size_conditioning.original_height",
    "original_width": "size_conditioning.original_width",
    "crop_top": "size_conditioning.crop_top",
    "crop_left": "size_conditioning.crop_left",
    "target_height": "size_conditioning.target_height",
    "target_width": "size_conditioning.target_width",
    "aesthetic_score": "size_conditioning.aesthetic_score",
    "negative_aesthetic_score": "size_conditioning.negative_aesthetic_score",
    "guidance_scale": "guidance.scale",
    "guidance_rescale": "guidance.rescale",
    "guidance_min": "guidance.timestep_min",
    "guidance_max": "guidance.timestep_max",
    "guidance_sigma_min": "guidance.sigma_min",
    "guidance_sigma_max": "guidance.sigma_max",
    "frames": "frames.every_n_steps",
    "frame_kind": "frames.kinds",
    "frame_encoding": "frames.encoding",
    "frame_max_bytes": "frames.max_bytes",
    "frame_skip_last": "frames.skip_last",
    "image_encoding": "image_encoding",
    "init": "start.image.picture.data",
    "strength": "start.image.strength",
    "branch": "start.frame.sample",
    "branch_step": "start.frame.step",
    "from_seed": "start.noise.from.seed",
    "noise": "start.noise.from.sample",
    "to_seed": "start.noise.to.seed",
    "noise_to": "start.noise.to.sample",
    "variation": "start.noise.variation",
    "invert": "start.inversion.picture.data",
    "inpaint": "inpainting.picture.data",
    "mask": "inpainting.mask.data",
    "mask_channel": "inpainting.mask_channel",
    "repaint_jump": "inpainting.jump_length",
    "repaint_times": "inpainting.resamples",
    "priority": "priority",
    "allow_fewer_steps": "allow_fewer_steps",
    "request_id": "request_id",
    "on_disconnect": "on_disconnect",
}


def check_keywords(given: Mapping[str, Any], known: type, call: str) -> None:
    """Raises TypeError, as Python does, for a keyword that the TypedDict `known` lacks."""
    names = known.__annotations__
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f". Did you mean {near[0]}?" if near else ""
            raise TypeError(f"{call}() got an unexpected keyword argument '{name}'{hint}")


def needs_model(keywords: GenerateKeywords) -> bool:
    """Whether the request can only be made once the server has described the model."""
    classes = [keywords.get("class_label"), *(keywords.get("class_weights") or ())]
    return keywords.get("model") is None or any(isinstance(name, str) for name in classes)


def generate_request(
    keywords: GenerateKeywords, model: models_pb2.Model | None
) -> image_generation_pb2.GenerateRequest:
    """The request that `keywords` ask for; `model` is described where `needs_model` says so.

    Raises:
        InvalidRequest: a value is none that its field can have, or two exclude each other.
        TypeError: a value has the wrong type.
        OSError: the file of a picture cannot be read.
    """
    given = _with_defaults({key: value for key, value in keywords.items() if value is not None})
    request = image_generation_pb2.GenerateRequest(
        model=model.name if model else model_name(given["model"])
    )
    set_sampler(request, {name: given.get(name) for name in SamplerKeywords.__annotations__})
    for name, path in _PATHS.items():
        if name in given:
            set_field(request, path, _converted(name, given[name]))
    if "class_label" in given:
        request.class_label = _class_label(given["class_label"], model)
    for name, weight in given.get("class_weights", {}).items():
        request.class_weights.add(class_label=_class_label(name, model), weight=weight)
    for name, scale in _scales(given.get("adapters", ())).items():
        request.adapters.add(name=adapter_name(name), scale=scale)
    return request


def _with_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """What one keyword says about another."""
    if "init" in given:
        given.setdefault("strength", _STRENGTH)
    if isinstance(frame := given.get("branch"), Frame):
        given.setdefault("branch_step", frame.step)
    if "invert" in given:
        given.setdefault("image_encoding", "raw_float32")
    return given


def _converted(name: str, value: Any) -> Any:
    if name in ("init", "invert", "inpaint", "mask"):
        return encode_picture(value)
    if name in ("branch", "noise", "noise_to"):
        return encode_sample(value)
    if name == "frame_kind":
        return _listed(value)
    return value


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _scales(adapters: Mapping[str, float] | Sequence[str]) -> Mapping[str, float]:
    return adapters if isinstance(adapters, Mapping) else dict.fromkeys(_listed(adapters), 1.0)


def _class_label(name: int | str, model: models_pb2.Model | None) -> int:
    """The index of a class by name; a number is an index already."""
    if not isinstance(name, str) or model is None:
        return int(name)
    for entry in model.classes:
        if entry.display_name.lower() == name.lower():
            return entry.label
    classes = ", ".join(f"{entry.display_name} ({entry.label})" for entry in model.classes)
    raise invalid(
        "class_label",
        f'no class is named "{name}"; '
        + (f"there are: {classes}" if classes else f"{model.name} has no classes: leave it out"),
    )


def diffuse_request(
    pictures: PictureLike | Sequence[PictureLike], settings: Mapping[str, Any]
) -> image_generation_pb2.DiffuseRequest:
    """The request with these fields but the model. Raises what `generate_request` does."""
    several = isinstance(pictures, Sequence) and not isinstance(pictures, (str, bytes))
    request = image_generation_pb2.DiffuseRequest()
    for picture in cast("Sequence[PictureLike]", pictures if several else [pictures]):
        request.pictures.add(data=encode_picture(picture))
    for name, value in settings.items():
        if value is not None:
            set_field(request, name, value)
    return request
