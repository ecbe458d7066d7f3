"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; without it, the defaults.", metavar="FILE")
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="Key of the evidence, in place of the configuration's.", metavar="FILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
