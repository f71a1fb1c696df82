"""Models and adapters of a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Connect, StartServer
from server import STARTER_MODEL, link_models
from surfaces import Surface

import denoised
from denoised.v1.models_pb2 import Model


def test_models_are_listed_and_described(surface: Surface) -> None:
    models = surface.call(lambda client: client.models.list())
    assert {"models/emoji-32", "models/sd15-like"} <= {model.name for model in models}
    model = surface.call(lambda client: client.models.get("emoji-32"))
    assert [entry.display_name for entry in model.classes][:2] == ["smileys", "people"]
    assert model == surface.call(lambda client: client.models.get("models/emoji-32"))


def test_broken_models_are_listed_on_request(
    connect: Connect, start_server: StartServer, tmp_path: Path
) -> None:
    models = link_models(tmp_path / "some-broken", STARTER_MODEL)
    (models / "broken").mkdir()
    (models / "broken" / "model_index.json").write_text("{")
    surface = connect(start_server(models=models).address)
    good = surface.call(lambda client: client.models.list())
    assert [model.name for model in good] == ["models/emoji-32"]
    both = surface.call(lambda client: client.models.list(show_failed=True))
    assert [model.state for model in both] == [Model.FAILED, Model.LOADED]


def test_models_are_unloaded_and_loaded(surface: Surface) -> None:
    unloaded = surface.call(lambda client: client.models.unload("sd15-like"))
    assert unloaded.state == Model.UNLOADED
    loaded = surface.call(lambda client: client.models.load("sd15-like"))
    assert loaded.state == Model.LOADED


def test_a_watch_sees_a_model_come_and_go(
    connect: Connect, start_server: StartServer, tmp_path: Path
) -> None:
    models = link_models(tmp_path / "changing", STARTER_MODEL)
    surface = connect(start_server(["--manage-models"], models).address)
    events = surface.events(lambda client: client.models.watch())
    assert isinstance(next(events), denoised.ModelChanged)
    assert next(events) == denoised.ModelsListed()
    shutil.copytree(STARTER_MODEL, models / ".new")
    (models / ".new").rename(models / "emoji-64")
    for event in events:
        assert isinstance(event, denoised.ModelChanged)
        if event.model.state == Model.LOADED:
            break
    surface.call(lambda client: client.models.delete("emoji-64"))
    assert denoised.ModelRemoved(name="models/emoji-64") in events
    assert not (models / "emoji-64").exists()
    with pytest.raises(denoised.NotFound):
        surface.call(lambda client: client.models.delete("emoji-64"))


def test_adapters_are_listed_by_the_model_that_they_fit(surface: Surface) -> None:
    adapters = surface.call(lambda client: client.adapters.list())
    names = [adapter.name for adapter in adapters]
    assert "models/sd15-like/adapters/kohya-conv" in names
    assert adapters == surface.call(lambda client: client.adapters.list("sd15-like"))
    assert surface.call(lambda client: client.adapters.list("emoji-32")) == []
