"""The duty `index_optimization`: collections stay quick to search and no larger than they need be.

For each collection: fragments are merged, the full-text indexes take in new rows, the vector
index is built, kept up and measured, and versions that were replaced long ago go. Readers and
writers go on meanwhile; what a writer comes before is done by the next run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lexigram_ray.core.maintenance_settings import IndexOptimizationSettings
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.each_collection import visit_collections
from lexigram_ray.maintenance.optimization_report import report_of, report_of_plan
from lexigram_ray.maintenance.options import settings_of

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection
    from lexigram_ray.vectors.upkeep import Surroundings, UpkeepRules


def run(context: DutyContext) -> DutyReport:
    """Look after all collections, or the one named; see `IndexOptimizationSettings`.

    Raises:
        UsageError: An option is wrong, or there is no such collection.
    """
    settings = settings_of(context, context.config.maintenance.index_optimization)
    rules = _rules(settings)

    def visit(collection: Collection) -> DutyReport:
        from lexigram_ray.vectors.upkeep import keep_up, planned_upkeep

        if context.dry_run:
            return report_of_plan(collection, planned_upkeep(collection, rules, context.now()))
        done = keep_up(collection, rules, _surroundings(context, collection))
        return report_of(collection, done)

    return visit_collections(context, settings.collection, visit, telling="looking after")


def _rules(settings: IndexOptimizationSettings) -> UpkeepRules:
    from lexigram_ray.vectors.compaction_plan import CompactionRules
    from lexigram_ray.vectors.index_plan import IndexRules
    from lexigram_ray.vectors.upkeep import UpkeepRules

    return UpkeepRules(
        index=IndexRules(
            min_rows=settings.min_rows,
            retrain_share=settings.retrain_share,
            retrain_growth=settings.retrain_growth,
            target_recall=settings.target_recall,
        ),
        compaction=CompactionRules(target_rows=settings.target_rows_per_fragment),
        keep_versions=timedelta(seconds=settings.keep_versions_seconds),
    )


def _surroundings(context: DutyContext, collection: Collection) -> Surroundings:
    import numpy as np

    from lexigram_ray.embedding.devices import available_cpus
    from lexigram_ray.jobs.owner import Owner
    from lexigram_ray.vectors.upkeep import Surroundings

    lease = context.config.jobs.lease_seconds
    return Surroundings(
        turn=lambda: context.store.turn(collection.name, Owner.current(), lease),
        now=context.now,
        rng=np.random.default_rng(),
        cores=available_cpus(),
        tell=context.tell,
        should_stop=context.should_stop,
    )
