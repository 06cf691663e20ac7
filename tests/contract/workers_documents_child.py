"""Submits a document, works on it, and stays until it is killed.

Arguments: state directory, file, collection. Prints the job's id.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lexigram_ray.workers.document_ingestion import DocumentIngestionWorker


async def main(state: str, file: str, collection: str) -> None:
    worker = DocumentIngestionWorker(state=state)
    await worker.start()
    job_id = await worker.ingest_document("d", Path(file), collection, batch_size=4)
    print(job_id, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
