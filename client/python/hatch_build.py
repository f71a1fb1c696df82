"""Generates denoised/v1 from the contract whenever the package is built, also an editable one."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContractBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        root = Path(self.root)
        protos = find_protos(root)
        if self.target_name == "sdist":
            for proto in protos:
                build_data["force_include"][str(proto)] = f"proto/denoised/v1/{proto.name}"
        else:
            generate(protos, root / "src")


def find_protos(root: Path) -> list[Path]:
    """The contract: beside the package in an sdist, at the top of the repository otherwise."""
    for folder in (root / "proto", root.parent.parent / "proto"):
        protos = sorted((folder / "denoised" / "v1").glob("*.proto"))
        if protos:
            return protos
    raise FileNotFoundError(f"there is no proto/denoised/v1 in {root} or two folders above it")


def generate(protos: list[Path], target: Path) -> None:
    arguments = [
        "protoc",
        f"--proto_path={protos[0].parents[2]}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        *map(str, protos),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc failed: {' '.join(arguments)}")
