"""What is lost, and what is there twice, after everything that can be broken was broken.

Run by `make chaos`. Everything is real: processes, signals, databases, Lance, the model. What is
left to chance follows from the seed. Prints a line for each fault as soon as it is known, then all
of them as a table; the exit code is 1 unless every figure is 0.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from tests.chaos.faults import SCENARIOS, load
from tests.chaos.orphans import adopt_orphans, end_all, left_behind
from tests.chaos.proof_table import Line, print_line, print_table
from tests.chaos.proof_types import Outcome, Scenario, Trial

ENDED = 128 + signal.SIGTERM


def main() -> int:
    """Run the scenarios that were asked for; 1 where anything is not as it should be."""
    options = _options()
    print(f"seed {options.seed}{', long' if options.long else ''}", flush=True)
    started = time.monotonic()
    # So that whatever is open ends in good order too when somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))
    adopt_orphans()
    root = Path(tempfile.mkdtemp(prefix="lexigram-chaos-"))
    models = _converted(root / "models")
    lines = list[Line]()
    for name in options.only or SCENARIOS:
        folder = root / name
        folder.mkdir()
        trial = Trial(seed=options.seed, long=options.long, root=folder, models=models)
        for line in run(name, load(name), trial):
            print_line(line)
            lines.append(line)
    print_table(lines, time.monotonic() - started)
    if all(line.outcome.is_clean for line in lines):
        shutil.rmtree(root, ignore_errors=True)
        return 0
    print(f"\nrun it again: make chaos SEED={options.seed}; what is left of it: {root}", flush=True)
    return 1


def run(name: str, scenario: Scenario, trial: Trial) -> Iterator[Line]:
    """Yield the outcomes of a scenario; one that breaks off, or leaves processes, is an outcome."""
    started = time.monotonic()
    try:
        for outcome in scenario(trial):
            yield Line(scenario=name, outcome=outcome, seconds=time.monotonic() - started)
            started = time.monotonic()
    except Exception as error:  # noqa: BLE001 - the scenarios after it are still worth running
        traceback.print_exc()
        yield _wrong(name, f"it broke off: {type(error).__name__}: {error}", started)
    if left := left_behind():
        end_all()
        yield _wrong(name, f"processes left behind: {', '.join(left)}", started)


def _wrong(name: str, note: str, started: float) -> Line:
    outcome = Outcome(fault=f"all of {name}", times=0, lost=0, duplicated=0, notes=(note,))
    return Line(scenario=name, outcome=outcome, seconds=time.monotonic() - started)


def _converted(folder: Path) -> Path:
    """Convert the default model, once for all states."""
    folder.mkdir()
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=folder)
    load_provider(model, models_dir=folder).embed_query("warm")
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of all chance"
    )
    parser.add_argument(
        "--long", action="store_true", help="twice as many faults, of some more, and 1,000 kills"
    )
    parser.add_argument(
        "--only",
        action="append",
        type=_known,
        metavar="NAME",
        help=f"one scenario, or several: {', '.join(SCENARIOS)}",
    )
    return parser.parse_args()


def _known(name: str) -> str:
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"no scenario {name!r}; there are {_listed(SCENARIOS)}")
    return name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    sys.exit(main())
