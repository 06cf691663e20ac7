"""Run by test_ingest_bad_input: a whole ingestion with a fake embedder; prints its peak memory."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from lexigram_ray.core.config import load_config
from tests.integration.local_ingest import ingest_here


def main(docs: Path, state: Path) -> None:
    report = ingest_here(load_config(state_dir=state), docs, collection="large")
    peak = {
        "self": _peak_mb(),
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print(json.dumps({"report": report.to_dict(), "peak_mb": peak}))


def _peak_mb() -> float:
    # Not ru_maxrss: a new process inherits there what the process that started it once used.
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
