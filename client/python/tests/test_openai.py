"""The official client of OpenAI against the server's images API."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import PIL.Image
import pytest
from server import PIPELINES, REPOSITORY, STARTER_MODEL, Server, link_models

#: Of the starter model: one class of people, few steps, one seed.
PEOPLE: dict[str, Any] = {"class_label": "people", "steps": 4, "seed": 7}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("openai")
    models = link_models(folder / "models", STARTER_MODEL, PIPELINES / "sd15-like")
    server = Server(models, folder / "log", http="127.0.0.1:0")
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    url = f"http://{server.http_address}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """32 x 32, opaque."""
    path = tmp_path / "photo.png"
    PIL.Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """Transparent in its upper half."""
    alpha = PIL.Image.new("L", (32, 32), 255)
    alpha.paste(0, (0, 0, 32, 16))
    picture = PIL.Image.new("RGBA", (32, 32))
    picture.putalpha(alpha)
    path = tmp_path / "mask.png"
    picture.save(path)
    return path


def picture_of(b64_json: str | None) -> PIL.Image.Image:
    assert b64_json
    return PIL.Image.open(io.BytesIO(base64.b64decode(b64_json)))


def pixels(b64_json: str | None) -> np.ndarray[Any, Any]:
    return np.asarray(picture_of(b64_json).convert("RGB"))


def test_generates_images(client: openai.OpenAI) -> None:
    response = client.images.generate(model="emoji-32", prompt="", n=2, extra_body=PEOPLE)
    assert response.data
    assert len(response.data) == 2
    assert [picture_of(image.b64_json).size for image in response.data] == [(32, 32)] * 2
    assert [(image.model_extra or {})["seed"] for image in response.data] == [7, 8]
    assert (response.size, response.output_format) == ("32x32", "png")
    again = client.images.generate(model="emoji-32", prompt="", extra_body=PEOPLE)
    assert again.data
    assert again.data[0].b64_json == response.data[0].b64_json


def test_generates_images_from_text(client: openai.OpenAI) -> None:
    response = client.images.generate(
        model="sd15-like",
        prompt="a red fox",
        size="48x32",
        output_format="webp",
        response_format="b64_json",
        user="somebody",
        extra_body={"negative_prompt": "blurry", "guidance_scale": 2, "steps": 2},
    )
    assert response.data
    picture = picture_of(response.data[0].b64_json)
    assert (picture.format, picture.size) == ("WEBP", (48, 32))
    assert response.usage
    assert response.usage.input_tokens >= 4


def test_streams_partial_images(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        model="emoji-32", prompt="", stream=True, partial_images=3, extra_body=PEOPLE
    )
    indices: list[int] = []
    completed = []
    for event in stream:
        assert picture_of(event.b64_json).size == (32, 32)
        if event.type == "image_generation.partial_image":
            indices.append(event.partial_image_index)
        else:
            assert event.type == "image_generation.completed"
            completed.append(event)
    assert indices == [0, 1, 2]
    (event,) = completed
    assert (event.size, event.background, event.quality) == ("32x32", "opaque", "auto")


def test_edits_the_whole_image(client: openai.OpenAI, photo: Path) -> None:
    extra = {**PEOPLE, "strength": 0.5}
    with photo.open("rb") as file:
        response = client.images.edit(model="emoji-32", image=file, prompt="", extra_body=extra)
    assert response.data
    assert pixels(response.data[0].b64_json).shape == (32, 32, 3)


def test_edits_where_the_mask_is_transparent(
    client: openai.OpenAI, photo: Path, mask: Path
) -> None:
    with photo.open("rb") as image_file, mask.open("rb") as mask_file:
        stream = client.images.edit(
            model="emoji-32",
            image=[image_file],
            mask=mask_file,
            prompt="",
            stream=True,
            partial_images=1,
            extra_body=PEOPLE,
        )
        events = list(stream)
    assert [event.type for event in events] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]
    before, after = np.asarray(PIL.Image.open(photo)), pixels(events[-1].b64_json)
    assert (after[16:] == before[16:]).all()
    assert (after[:16] != before[:16]).any()


def test_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["emoji-32", "sd15-like"]
    model = client.models.retrieve("emoji-32")
    assert (model.id, model.object, model.owned_by) == ("emoji-32", "model", "denoised")


def test_errors_are_the_exceptions_of_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as not_found:
        client.images.generate(model="gpt-image-2", prompt="a fox")
    assert (not_found.value.code, not_found.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-image-2")
    with pytest.raises(openai.BadRequestError, match="must be between 1 and") as bad:
        client.images.generate(model="emoji-32", prompt="", n=0, extra_body=PEOPLE)
    assert bad.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="quality: must be auto"):
        client.images.generate(model="emoji-32", prompt="", quality="high", extra_body=PEOPLE)
    with pytest.raises(openai.BadRequestError, match="image: neither a PNG"):
        client.images.edit(model="emoji-32", image=b"text", prompt="", extra_body=PEOPLE)


def outcomes(server: Server) -> dict[str, int]:
    """How many generations have ended, by how."""
    with urllib.request.urlopen(f"http://{server.http_address}/metrics") as response:
        page = response.read().decode()
    found = re.findall(r'^denoised_requests_total\{outcome="(\w+)"\} (\d+)$', page, re.M)
    return {outcome: int(count) for outcome, count in found}


def test_a_stream_that_is_closed_cancels_its_generation(
    client: openai.OpenAI, server: Server
) -> None:
    before = outcomes(server)
    with client.images.generate(
        model="emoji-32",
        prompt="",
        stream=True,
        partial_images=3,
        extra_body={**PEOPLE, "steps": 1000},
    ) as stream:
        assert next(iter(stream)).type == "image_generation.partial_image"
    while (after := outcomes(server)) == before:
        time.sleep(0.05)
    assert after.get("CANCELLED", 0) == before.get("CANCELLED", 0) + 1


def test_the_example_of_the_page_runs(server: Server, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "openai.md").read_text()
    (block,) = re.findall(r"^```python\n(.+?)^```$", page, re.M | re.S)
    program = tmp_path / "example.py"
    program.write_text(block.replace("127.0.0.1:8080", server.http_address))
    subprocess.run([sys.executable, "-W", "error", program], cwd=tmp_path, check=True)
    for i in range(2):
        assert np.asarray(PIL.Image.open(tmp_path / f"image-{i}.png")).shape == (32, 32, 3)
