"""What `hpo submit` and `hpo run` share: from a file and `--set` to the data of a specification."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hpo import specfile
from hpo.trainables import BUILT_IN

SpecArg = Annotated[Path, typer.Argument(metavar="SPEC", help="The specification: a .toml, .yaml or .json file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as budget.trials=4.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name the study otherwise than the file does.")]


def read(spec: Path, assignments: list[str] | None, name: str | None) -> dict[str, Any]:
    """The data, with constants that name a file made absolute: the workers have another current folder."""
    data = specfile.override(specfile.read_file(spec), assignments or [])
    if name is not None:
        data["name"] = name
    built_in = BUILT_IN.get(str(data.get("trainable")))
    fixed = data.get("fixed")
    if built_in is not None and isinstance(fixed, dict):
        for key in built_in.files:
            for folder in (Path.cwd(), spec.absolute().parent):
                path = folder / str(fixed.get(key))
                if key in fixed and path.is_file():
                    fixed[key] = str(path.resolve())
                    break
    return data
