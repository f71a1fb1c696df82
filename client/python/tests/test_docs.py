"""The examples run exactly as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from server import PIPELINES, REPOSITORY, STARTER_MODEL, Server, handover_key, link_models
from test_training import pictures

EXAMPLE = REPOSITORY / "client" / "python" / "examples" / "generate.py"
GUIDE = (REPOSITORY / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^## (.+?)$|^```python\n(.+?)^```$", GUIDE, re.M | re.S)


def named_blocks() -> list[tuple[str, str]]:
    """The Python blocks of the guide, each with the heading above it."""
    heading = ""
    blocks = []
    for title, block in BLOCKS:
        heading = title or heading
        if block:
            blocks.append((heading, block))
    return blocks


def run(program: Path, folder: Path, server: Server) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=folder,
        env={**os.environ, "DENOISED_SERVER": server.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def guide_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guide")
    models = link_models(folder / "models", STARTER_MODEL, PIPELINES / "sd15-like")
    server = Server(models, folder / "log", [f"--state={folder / 'state'}", handover_key(folder)])
    yield server
    server.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples find in their folder."""
    PIL.Image.linear_gradient("L").convert("RGB").save(tmp_path / "photo.png")
    for name, picture in pictures(8):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return tmp_path


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=heading) for heading, block in named_blocks()]
)
def test_an_example_of_the_guide_runs(block: str, folder: Path, guide_server: Server) -> None:
    before = set(folder.rglob("*.png"))
    program = folder / "example.py"
    program.write_text(block)
    run(program, folder, guide_server)
    # Those that save pictures have done so.
    saved = set(folder.rglob("*.png")) - before
    assert bool(saved) == (".save(" in block)


def test_the_guide_has_examples() -> None:
    assert len(named_blocks()) >= 10


def test_the_example_runs_and_fits_on_a_screen(folder: Path, guide_server: Server) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 25
    run(EXAMPLE, folder, guide_server)
    assert {path.name for path in folder.glob("image-*.png")} == {
        f"image-{index}.png" for index in range(4)
    }
