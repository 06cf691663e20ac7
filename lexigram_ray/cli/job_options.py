"""Options that `ingest` and `embed` share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lexigram_ray.cli.invocation import env

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        envvar=env("address"),
        help="A running Ray cluster (or `auto`); else this machine.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", envvar=env("model"), help="Embedding model, or its folder."
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"] | None,
    typer.Option(
        "--precision",
        envvar=env("precision"),
        help="What the model computes in; int8 trades recall for speed, and says how much.",
    ),
]
NoProgressOption = Annotated[
    bool, typer.Option("--no-progress", envvar=env("no-progress"), help="Show no progress.")
]
JsonProgressOption = Annotated[
    bool,
    typer.Option(
        "--json-progress", envvar=env("json-progress"), help="Progress as JSON Lines on stderr."
    ),
]
