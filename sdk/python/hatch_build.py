"""Makes what the wheel has beside the sources: the modules of the protocol, and the program.

The modules are made from `proto/` with the compiler that grpcio-tools carries, below
`forerun._wire`, so that they are nobody's public import. The program is what
`FORERUN_BINARY` names, or what `cargo build --release` makes in this checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO_PACKAGE = "forerun/v1/"
"""Where the protocol's files import each other."""
WIRE_PACKAGE = "forerun/_wire/"
"""Where their modules are."""


class Hook(BuildHookInterface[Any]):
    """Runs before a wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the modules; for a wheel that is not editable, add the program."""
        root = Path(self.root)
        repository = root.parent.parent
        make_modules(repository / "proto", root / "src")
        if version == "editable":
            return
        build_data["shared_scripts"][str(program(repository))] = "forerun"
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def make_modules(proto: Path, source: Path) -> None:
    """Make `forerun/_wire/*_pb2.py` and their types from the protocol's files."""
    sources = sorted((proto / PROTO_PACKAGE).glob("*.proto"))
    if not sources:
        message = f"{proto} has no protocol: the wheel is built in a checkout of the repository"
        raise RuntimeError(message)
    shutil.rmtree(source / WIRE_PACKAGE, ignore_errors=True)
    (source / WIRE_PACKAGE).mkdir(parents=True)
    (source / WIRE_PACKAGE / "__init__.py").touch()
    with tempfile.TemporaryDirectory() as directory:
        moved = Path(directory)
        (moved / WIRE_PACKAGE).mkdir(parents=True)
        for file in sources:
            text = file.read_text().replace(f'import "{PROTO_PACKAGE}', f'import "{WIRE_PACKAGE}')
            (moved / WIRE_PACKAGE / file.name).write_text(text)
        well_known = resources.files("grpc_tools") / "_proto"
        subprocess.run(  # noqa: S603
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"-I{moved}",
                f"-I{well_known}",
                f"--python_out={source}",
                f"--pyi_out={source}",
                *(str(moved / WIRE_PACKAGE / file.name) for file in sources),
            ],
            check=True,
        )


def program(repository: Path) -> Path:
    """Return the program to carry."""
    named = os.environ.get("FORERUN_BINARY")
    if named:
        return Path(named).absolute()
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--package", "forerun-cli"],  # noqa: S607
        cwd=repository,
        check=True,
    )
    target = Path(os.environ.get("CARGO_TARGET_DIR", repository / "target"))
    return target / "release" / "forerun"
