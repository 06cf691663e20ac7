"""The workers' module without the framework, with any container: an ingestion to rows."""

from __future__ import annotations

from pathlib import Path

from tests.application_process import in_a_process


def test_a_small_container_runs_an_ingestion_to_rows_and_leaves_no_thread(
    state: Path, tmp_path: Path
) -> None:
    (tmp_path / "tides.md").write_text("# Tides\n\nThe moon pulls the water of the sea.\n")
    told = in_a_process(
        """
        async def live():
            module = WorkersModule.configure()
            [provider] = module.providers
            container = SmallContainer()
            await provider.register(container)
            await provider.boot(container)
            worker = await container.resolve(DocumentIngestionWorker)
            job_id = await worker.ingest_document("tides", Path("tides.md"), "sea")
            while (progress := await worker.get_progress(job_id)).status not in ENDS:
                await asyncio.sleep(0.1)
            health = await provider.health_check()
            print(type(module).__module__, progress.status.value, health.status.value)
            await provider.shutdown()
            print(len(asyncio.all_tasks()))
        asyncio.run(live())
        # One whose result was just taken is on its way out.
        for _ in range(100):
            left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
            if not left:
                break
            time.sleep(0.1)
        print(left)
        import lance
        print(lance.dataset("state/lancedb/sea.lance").to_table(columns=["document_id"]).to_pylist())
        """,
        tmp_path,
        LEX_AI_WORKERS__STATE_DIR=str(state),
    )

    assert told.splitlines() == [
        "lexigram_ray.workers.di._standalone completed healthy",
        "1",
        "[]",
        "[{'document_id': 'tides'}]",
    ]
