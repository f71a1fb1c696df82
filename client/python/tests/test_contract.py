"""The client covers the contract, and the package carries it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from server import REPOSITORY

from denoised import _requests, _rpcs
from denoised.keywords import GenerateKeywords, SamplerKeywords
from denoised.v1.image_generation_pb2 import GenerateRequest
from denoised.v1.sampler_pb2 import SamplerOptions

PROTOS = sorted((REPOSITORY / "proto" / "denoised" / "v1").glob("*.proto"))


def test_every_call_of_the_contract_is_covered() -> None:
    calls = {
        (method.containing_service.full_name, method.name): (
            method.input_type.full_name,
            method.output_type.full_name,
        )
        for proto in PROTOS
        for service in import_module(
            f"denoised.v1.{proto.stem}_pb2"
        ).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    covered = {
        (rpc.service, rpc.method): (
            rpc.request.DESCRIPTOR.full_name,
            rpc.response.DESCRIPTOR.full_name,
        )
        for rpc in vars(_rpcs).values()
        if isinstance(rpc, _rpcs.Rpc) and rpc.service.startswith("denoised.")
    }
    assert calls == covered


def test_every_sampler_option_is_a_keyword() -> None:
    options = {field.name for field in SamplerOptions.DESCRIPTOR.fields}
    assert set(SamplerKeywords.__annotations__) == options


def leaves(fields: Sequence[Any], prefix: str = "") -> set[str]:
    """The paths of the fields of a request that hold values."""
    paths: set[str] = set()
    for field in fields:
        message = field.message_type
        if message is None or field.is_repeated:
            paths.add(prefix + field.name)
        else:
            paths |= leaves(message.fields, f"{prefix}{field.name}.")
    return paths


def test_every_field_of_a_request_has_a_keyword() -> None:
    paths = {
        path
        for path in leaves(GenerateRequest.DESCRIPTOR.fields)
        if not path.startswith("sampler.")
    }
    by_hand = {"model", "class_label", "class_weights", "adapters"}
    by_itself = {"handover", "accept_handover"}  # the client follows generations to other servers
    assert set(_requests._PATHS.values()) | by_hand | by_itself == paths
    keywords = set(GenerateKeywords.__annotations__) - set(SamplerKeywords.__annotations__)
    assert set(_requests._PATHS) | by_hand == keywords


def test_the_version_is_that_of_the_project() -> None:
    project = re.search(
        r"project\(denoised VERSION (\S+)", (REPOSITORY / "CMakeLists.txt").read_text()
    )
    package = re.search(
        r'^version = "(.+)"$', (REPOSITORY / "client/python/pyproject.toml").read_text(), re.M
    )
    assert project is not None
    assert package is not None
    assert project[1] == package[1]


def test_the_license_is_that_of_the_project() -> None:
    copy = REPOSITORY / "client" / "python" / "LICENSE"
    assert copy.read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def run_build(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from an sdist that was unpacked elsewhere, as package installers do."""
    folder = tmp_path_factory.mktemp("dist")
    run_build("--sdist", f"--outdir={folder}", str(REPOSITORY / "client" / "python"))
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        assert not [name for name in names if "_pb2" in name]
        archive.extractall(folder)  # our own archive; Python 3.11.2 knows no filter
    run_build("--wheel", f"--outdir={folder}", str(folder / sdist.name.removesuffix(".tar.gz")))
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_a_wheel_can_be_built_from_an_sdist(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    with wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path)
    for proto in PROTOS:
        for ending in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
            assert f"denoised/v1/{proto.stem}{ending}" in names
    assert "denoised/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    # -I leaves out the folder of these tests.
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import denoised; "
        "from denoised.v1 import models_pb2; print(models_pb2.__file__)"
    )
    output = subprocess.check_output([sys.executable, "-I", "-c", program], text=True)
    assert output.startswith(str(tmp_path))
