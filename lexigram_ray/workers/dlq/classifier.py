"""From an error to its category: `ErrorClassifier`, and the rules that users add to it.

    ErrorClassifier.classify("connection timed out", job)            # FailureCategory.TRANSIENT
    ErrorClassifier.register(Rule(category=FailureCategory.PERMANENT, pattern="no such tenant"))

The rules that it comes with, and their order, stand in `lexigram_ray/jobs/classifier_rules.py`.
"""

from __future__ import annotations

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.classifier import ErrorClassifier, Verdict
from lexigram_ray.jobs.classifier_user_rules import Rule

__all__ = ["ErrorClassifier", "FailureCategory", "Rule", "Verdict"]
