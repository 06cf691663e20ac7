"""Embedding beside its peers: the same real chunks, the same model, the same machine, one go.

Run by `make bench`. Prints Markdown, and keeps the figures as JSON and as a picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.children import ChildFailed
from tests.benchmarks.environments import PEERS, NotInstalled, python_of
from tests.benchmarks.figures import Figure, Rate, print_figures, print_rates
from tests.benchmarks.machine import print_machine
from tests.benchmarks.measured import Measured, Sizes
from tests.benchmarks.parts import PARTS
from tests.command_line import REPOSITORY

FOLDER = REPOSITORY / ".bench"


def main() -> int:
    """Measure, print, keep; 1 where a goal is missed."""
    options = _options()
    started = time.monotonic()
    sizes = Sizes(
        chunks=options.chunks,
        peer_chunks=options.peer_chunks,
        compared=options.chunks if options.all_rows else options.compared,
        rows=options.rows,
    )
    measured = Measured(FOLDER, sizes)
    print_machine(measured.machine)
    figures: dict[str, list[Figure]] = {}
    for name in options.only:
        title, part = PARTS[name]
        try:
            figures[name] = list(part(measured))
        except (ChildFailed, NotInstalled) as error:
            figures[name] = [Figure(name="not measured", value=None, ok=False, note=str(error))]
        print_figures(title, figures[name])
    rates = _rates(measured)
    if rates:
        print_rates(rates, measured.our_rate)
    _keep(measured, figures, rates)
    missed = [item for items in figures.values() for item in items if item.ok is False]
    print(f"\n{len(missed)} goals missed, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000, help="of them for us")
    parser.add_argument("--peer-chunks", type=int, default=1_000, help="of them for each peer")
    parser.add_argument("--compared", type=int, default=2_000, help="rows held against fp32")
    parser.add_argument("--all-rows", action="store_true", help="hold every row against fp32")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the fake provider's job")
    parser.add_argument(
        "--only",
        type=_part_names,
        default=list(PARTS),
        metavar="PART,...",
        help=f"some of {', '.join(PARTS)}",
    )
    return parser.parse_args()


def _part_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names).difference(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no part is called {', '.join(sorted(unknown))}")
    # The peers' first look is before anything of ours.
    return [name for name in PARTS if name in names]


def _rates(measured: Measured) -> list[Rate]:
    """Return the contenders that this run measured, slowest first."""
    # What `once` has worked out stands in the instance: nothing is measured for this.
    known = vars(measured)
    rates = list(known.get("peers", ()))
    rates += [known["our_rate"]] if "our_rate" in known else []
    rates += [measured.engine_rate] if "engine" in known and "our_rate" in known else []
    return sorted(rates, key=lambda rate: rate.chunks_per_second or 0.0)


def _keep(measured: Measured, figures: dict[str, list[Figure]], rates: list[Rate]) -> None:
    folder = FOLDER / "results"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "embed.json"
    record = {
        "machine": measured.machine,
        "figures": {name: [item.to_record() for item in items] for name, items in figures.items()},
        "rates": [rate.to_record() for rate in rates],
    }
    results.write_text(json.dumps(record, indent=2), encoding="utf-8")
    print(f"\nkept in {results.relative_to(REPOSITORY)}", end="")
    if len(rates) > 1:
        picture = folder / "embed.png"
        try:
            python = python_of("peers", FOLDER)
            subprocess.run([python, PEERS / "plot.py", results, picture], check=True)
        except (NotInstalled, subprocess.CalledProcessError) as error:
            print(f", without a picture: {error}", end="")
        else:
            print(f" and {picture.relative_to(REPOSITORY)}", end="")
    print()


if __name__ == "__main__":
    sys.exit(main())
