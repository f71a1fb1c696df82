"""Generating images, and everything that a request can say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from server import PIPELINES
from surfaces import Surface

import denoised
from denoised.v1.sampler_pb2 import Sampler, SamplerOptions

PEOPLE: dict[str, Any] = {"model": "emoji-32", "class_label": "people"}
FEW_STEPS: dict[str, Any] = {"sampler": "dpmpp_2m", "steps": 4}


def test_a_generation_is_a_stream_of_typed_events(surface: Surface) -> None:
    events = list(
        surface.events(
            lambda client: client.generate(
                **PEOPLE, **FEW_STEPS, seed=117, count=2, guidance_scale=3, frames=2
            )
        )
    )
    accepted, finished = events[0], events[-1]
    assert isinstance(accepted, denoised.Accepted)
    assert accepted.model == "models/emoji-32"
    assert accepted.seed == 117
    assert accepted.class_weights == {1: 1.0}
    assert accepted.steps == 4
    assert accepted.sampler.solver_order == 2
    assert accepted.guidance is not None
    assert accepted.guidance.scale == 3
    assert isinstance(finished, denoised.Finished)
    assert finished.images == 2
    assert finished.elapsed_seconds > 0
    assert any(isinstance(event, denoised.Started) for event in events)
    assert any(isinstance(event, denoised.Progress) for event in events)
    frames = [event for event in events if isinstance(event, denoised.Frame)]
    assert {(frame.image_index, frame.step) for frame in frames} == {(0, 2), (0, 4), (1, 2), (1, 4)}
    assert {frame.kind for frame in frames} == {"x0"}
    images = [event for event in events if isinstance(event, denoised.Image)]
    assert {image.seed for image in images} == {117, 118}
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    assert all(event.time.tzinfo for event in events)


def test_images_come_as_bytes_pixels_and_pil(surface: Surface) -> None:
    images = surface.call(
        lambda client: client.generate_images(**PEOPLE, **FEW_STEPS, count=3, seed=1)
    )
    assert [image.image_index for image in images] == [0, 1, 2]
    for image in images:
        decoded = PIL.Image.open(io.BytesIO(image.data))
        assert image.pil.size == (32, 32)
        assert image.pil.tobytes() == decoded.tobytes()
        assert image.numpy().shape == (32, 32, 3)
        assert image.numpy().tobytes() == decoded.tobytes()


def test_raw_samples_are_arrays_and_the_same_pictures(surface: Surface) -> None:
    options: dict[str, Any] = {**PEOPLE, **FEW_STEPS, "seed": 5}
    raw = surface.call(
        lambda client: client.generate_images(**options, image_encoding="raw_float32")
    )[0]
    png = surface.call(lambda client: client.generate_images(**options))[0]
    assert raw.numpy().dtype == np.float32
    assert raw.numpy().shape == (3, 32, 32)
    assert raw.pil.tobytes() == png.pil.tobytes()
    assert raw._repr_png_().startswith(b"\x89PNG")


def test_a_seed_makes_the_same_image_in_both_clients(
    client: denoised.Client, surface: Surface
) -> None:
    mine = client.generate_images(**PEOPLE, **FEW_STEPS, seed=9)
    theirs = surface.call(lambda other: other.generate_images(**PEOPLE, **FEW_STEPS, seed=9))
    assert mine[0].data == theirs[0].data


def test_a_ready_request_is_sent_as_it_is(surface: Surface) -> None:
    request = denoised.GenerateRequest(
        model="models/emoji-32", class_label=1, seed=9, sampler=SamplerOptions(steps=3)
    )
    images = surface.call(lambda client: client.generate_images(request))
    again = surface.call(lambda client: client.generate_images(**PEOPLE, steps=3, seed=9))
    assert images[0].data == again[0].data
    assert request.request_id == ""


def test_classes_can_be_blended(client: denoised.Client) -> None:
    accepted = next(
        client.generate(
            model="emoji-32", class_weights={"Animals": 3, 3: 1}, **FEW_STEPS, request_id="blend"
        )
    )
    assert isinstance(accepted, denoised.Accepted)
    assert accepted.class_weights == {2: 0.75, 3: 0.25}


def test_prompts_sizes_and_adapters_reach_a_text_to_image_model(surface: Surface) -> None:
    events = list(
        surface.events(
            lambda client: client.generate(
                model="sd15-like",
                prompt="a (red:1.3) fox",
                negative_prompt="blurry",
                height=32,
                width=48,
                steps=2,
                guidance_scale=5,
                clip_skip=1,
                adapters={"kohya-conv": 0.5},
            )
        )
    )
    accepted = events[0]
    assert isinstance(accepted, denoised.Accepted)
    assert (accepted.height, accepted.width) == (32, 48)
    assert accepted.prompt is not None
    assert accepted.prompt.tokens > 0
    assert accepted.negative_prompt is not None
    assert accepted.prompt_syntax == "weighted"
    assert accepted.clip_skip == 1
    assert [(adapter.name, adapter.scale) for adapter in accepted.adapters] == [
        ("models/sd15-like/adapters/kohya-conv", 0.5)
    ]
    images = [event for event in events if isinstance(event, denoised.Image)]
    assert images[0].pil.size == (48, 32)


def test_a_guidance_scale_of_zero_is_sent(client: denoised.Client) -> None:
    accepted = next(
        client.generate(model="sd15-like", prompt="", steps=1, guidance_scale=0, seed=1)
    )
    assert isinstance(accepted, denoised.Accepted)
    assert accepted.guidance is None or accepted.guidance.scale == 0
    assert accepted.evaluations == 1


SINGLESTEP = {"dpm_solver_2s", "dpm_solver_3s", "dpmpp_2s", "dpmpp_3s", "dpmpp_2s_sde"}


@pytest.mark.parametrize("name", [name for name in denoised.SAMPLERS if name != "consistency"])
def test_every_sampler_has_the_name_that_denoise_gives_it(
    client: denoised.Client, name: str
) -> None:
    plan = client.plan("emoji-32", sampler=name, steps=4)
    kind = Sampler.Name(plan.sampler.sampler).removeprefix("SAMPLER_").lower()
    # "dpmpp_2m_sde" is order 2 of "dpmpp_sde", and "dpmpp_2s" of "dpmpp_singlestep".
    parts = [part for part in name.split("_") if not part[0].isdigit()]
    assert [part for part in kind.split("_") if part != "singlestep"] == [
        part for part in parts if part != "singlestep"
    ]
    order = [int(part[0]) for part in name.split("_") if part[0].isdigit()]
    assert not order or plan.sampler.solver_order == order[0]
    assert ("singlestep" in kind) == ("singlestep" in name or name in SINGLESTEP)


def test_a_sampler_that_does_not_suit_the_model_is_refused_by_its_name(
    client: denoised.Client,
) -> None:
    with pytest.raises(denoised.InvalidRequest, match="consistency is not for this model"):
        client.plan("emoji-32", sampler="consistency")


PICTURE = PIPELINES / "sd15-like" / "images" / "image-32x32.png"
MASK = PIPELINES / "sd15-like" / "images" / "mask-32x32.png"


def test_pictures_may_be_files_bytes_pixels_or_pil(client: denoised.Client) -> None:
    pil = PIL.Image.open(PICTURE)
    images = {
        client.generate_images(**PEOPLE, **FEW_STEPS, seed=3, init=picture, strength=0.5)[0].data
        for picture in (PICTURE, str(PICTURE), PICTURE.read_bytes(), np.asarray(pil), pil)
    }
    assert len(images) == 1


def test_pil_pictures_are_sent_upright() -> None:
    upright = PIL.Image.open(PICTURE).convert("RGB")
    held = upright.transpose(PIL.Image.Transpose.ROTATE_90)
    exif = held.getexif()
    exif[0x0112] = 6  # rotated to the left
    file = io.BytesIO()
    held.save(file, "PNG", exif=exif)
    sent = denoised.pictures.encode_picture(PIL.Image.open(file))
    assert PIL.Image.open(io.BytesIO(sent)).tobytes() == upright.tobytes()


def test_strength_is_as_in_denoise_unless_given(client: denoised.Client) -> None:
    accepted = next(client.generate(**PEOPLE, steps=10, init=PICTURE))
    assert isinstance(accepted, denoised.Accepted)
    assert (accepted.first_step, accepted.steps) == (2, 8)


def test_inpainting_keeps_what_is_black(client: denoised.Client) -> None:
    image = client.generate_images(
        **PEOPLE, steps=4, inpaint=PICTURE, mask=MASK, repaint_jump=2, repaint_times=2
    )[0]
    picture = np.asarray(PIL.Image.open(PICTURE).convert("RGB"))
    mask = np.asarray(PIL.Image.open(MASK).convert("L"))
    assert (image.numpy()[mask == 0] == picture[mask == 0]).all()
    assert (image.numpy()[mask == 255] != picture[mask == 255]).any()


def test_a_frame_continues_as_its_generation_did(client: denoised.Client) -> None:
    options: dict[str, Any] = {**PEOPLE, "sampler": "ddim", "steps": 6, "seed": 5}
    events = list(
        client.generate(**options, frames=1, frame_kind=["x_t", "x0"], frame_encoding="raw_float32")
    )
    frame = next(
        event
        for event in events
        if isinstance(event, denoised.Frame) and event.step == 2 and event.kind == "x_t"
    )
    image = next(event for event in events if isinstance(event, denoised.Image))
    assert client.generate_images(**options, branch=frame)[0].data == image.data


def test_noise_may_be_a_seed_or_an_array(client: denoised.Client) -> None:
    noise = np.random.default_rng(1).standard_normal((3, 32, 32), dtype=np.float32)
    from_array = client.generate_images(
        **PEOPLE, **FEW_STEPS, noise=noise, noise_to=-noise, count=2
    )
    from_bytes = client.generate_images(**PEOPLE, **FEW_STEPS, noise=noise.tobytes())
    assert from_array[0].data == from_bytes[0].data
    assert from_array[1].data != from_bytes[0].data
    seeds = client.generate_images(
        **PEOPLE, **FEW_STEPS, from_seed=3, to_seed=4, count=2, variation=0
    )
    own = client.generate_images(**PEOPLE, **FEW_STEPS, seed=3)
    assert seeds[0].data == own[0].data


def test_an_inverted_picture_comes_back(client: denoised.Client) -> None:
    options: dict[str, Any] = {**PEOPLE, "sampler": "ddim", "steps": 50}
    picture = client.generate_images(**PEOPLE, **FEW_STEPS, seed=1, guidance_scale=3)[0]
    noise = client.generate_images(**options, invert=picture)[0]
    assert noise.encoding == "raw_float32"
    back = client.generate_images(**options, noise=noise, clip_sample=False)[0]
    difference = back.numpy().astype(float) - picture.numpy().astype(float)
    assert np.abs(difference).mean() < 16


def test_diffusing_turns_pictures_into_noise(surface: Surface) -> None:
    events = list(
        surface.events(
            lambda client: client.diffuse(
                [PICTURE, PICTURE],
                model="emoji-32",
                seed=1,
                timesteps=[0, 500, 999],
                encoding="raw_float32",
            )
        )
    )
    accepted, *frames, finished = events
    assert isinstance(accepted, denoised.DiffuseAccepted)
    assert accepted.mode == "closed_form"
    assert isinstance(finished, denoised.DiffuseFinished)
    assert finished.frames == len(frames) == 8
    noisiest = [frame for frame in frames if frame.level.timestep == 999]
    assert {frame.picture_index for frame in noisiest} == {0, 1}
    assert abs(noisiest[0].numpy().std() - 1) < 0.2


def test_a_plan_has_the_numbers_of_the_sampler(surface: Surface) -> None:
    plan = surface.call(lambda client: client.plan("emoji-32", sampler="unipc", steps=5))
    assert len(plan.evaluations) == 5


def test_the_only_model_needs_no_name(start_server: Any, connect: Any) -> None:
    surface = connect(start_server().address)
    images = surface.call(lambda client: client.generate_images(class_label=0, steps=2))
    assert len(images) == 1


def test_one_of_several_models_has_to_be_named(surface: Surface) -> None:
    with pytest.raises(denoised.InvalidRequest, match="emoji-32, sd15-like"):
        surface.call(lambda client: client.generate_images(class_label=0, steps=2))


def test_unknown_keywords_are_refused_as_python_does(client: denoised.Client) -> None:
    with pytest.raises(TypeError, match=r"'stepz'. Did you mean steps\?"):
        client.generate(stepz=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a request or keywords"):
        client.generate(denoised.GenerateRequest(), steps=3)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"sampler": "dpm"}, denoised.InvalidRequest, 'sampler: "dpm" is none of ddpm, '),
        ({"sampler": "dpmpp_2m", "solver_order": 3}, denoised.InvalidRequest, "has an order"),
        ({"frames": 1, "frame_kind": "x1"}, denoised.InvalidRequest, '"x1" is none of x_t, x0'),
        ({"steps": 2**40}, denoised.InvalidRequest, "sampler.steps: Value out of range"),
        ({"steps": "many"}, TypeError, "sampler.steps cannot be 'many'"),
        ({"init": PICTURE, "from_seed": 1}, denoised.InvalidRequest, "excludes start.image"),
        ({"class_label": "dragons"}, denoised.InvalidRequest, r"there are: smileys \(0\)"),
    ],
)
def test_a_value_that_no_request_can_have_is_named(
    client: denoised.Client, keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        client.generate_images(**{**PEOPLE, **keywords})
