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
        "self": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print(json.dumps({"report": report.to_dict(), "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
