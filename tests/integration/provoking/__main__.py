"""Provoke every error anew and write the list that the unit test judges.

`python -m tests.integration.provoking`
"""

from __future__ import annotations

import json
import logging

import ray

from tests.integration.provoking.catalog import LIST, all_cases, provoked, written
from tests.postgres_server import end_all_servers


def main() -> None:
    """Write the list."""
    options = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 300 << 20}
    ray.init(address="local", log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        listed = [written(case, provoked(case)) for case in all_cases(with_ray=True)]
    finally:
        ray.shutdown()
        end_all_servers()
    LIST.write_text(json.dumps(listed, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
