"""What goes wrong, as exceptions."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import pytest
from conftest import Connect, StartServer
from surfaces import Surface

import denoised


def test_an_invalid_request_lists_every_wrong_field(surface: Surface) -> None:
    with pytest.raises(denoised.InvalidRequest) as caught:
        surface.call(
            lambda client: client.generate_images(
                model="emoji-32", class_label=1, count=0, sampler="ddpm", steps=0, eta=0.5
            )
        )
    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in error.violations} == {
        "count",
        "sampler.steps",
        "sampler.eta",
    }
    for field, description in error.violations:
        assert f"{field}: {description}" in str(error)
    assert error.server_request_id


def test_what_is_not_found_is_named(surface: Surface) -> None:
    with pytest.raises(denoised.NotFound) as caught:
        surface.call(lambda client: client.models.get("emoji-33"))
    assert caught.value.resource == "models/emoji-33"
    with pytest.raises(denoised.NotFound) as caught:
        surface.call(lambda client: client.generations.get("nobody"))
    assert caught.value.reason == "GENERATION_NOT_FOUND"


def test_another_request_with_the_same_id_is_refused(surface: Surface) -> None:
    options: dict[str, Any] = {"model": "emoji-32", "class_label": 1, "steps": 2}
    surface.call(lambda client: client.generate_images(**options, request_id="one", seed=1))
    with pytest.raises(denoised.AlreadyExists, match="seed"):
        surface.call(lambda client: client.generate_images(**options, request_id="one", seed=2))


def test_a_server_that_does_not_train_says_so(connect: Connect, start_server: StartServer) -> None:
    surface = connect(start_server().address)
    with pytest.raises(denoised.Unimplemented, match="older than this client, or lack --state"):
        surface.call(lambda client: client.datasets.list())
    with pytest.raises(denoised.PermissionDenied, match="--manage-models"):
        surface.call(lambda client: client.models.unload("emoji-32"))


def test_a_server_that_is_not_there_is_unavailable(connect: Connect) -> None:
    # Nothing listens on port 1.
    surface = connect("127.0.0.1:1", retry=denoised.Retry(max_attempts=1))
    with pytest.raises(denoised.Unavailable, match=r"no connection to 127\.0\.0\.1:1"):
        surface.call(lambda client: client.models.list())


def test_a_deadline_that_passes_is_an_error(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        surface = connect(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(denoised.DeadlineExceeded, match="the deadline passed"):
            surface.call(lambda client: client.models.list(timeout=0.2))


def test_health_is_that_of_the_server_or_of_a_service(surface: Surface) -> None:
    assert surface.call(lambda client: client.health()) == "SERVING"
    assert surface.call(lambda client: client.health("denoised.v1.Training")) == "SERVING"
    with pytest.raises(denoised.NotFound):
        surface.call(lambda client: client.health("denoised.v1.Nothing"))
