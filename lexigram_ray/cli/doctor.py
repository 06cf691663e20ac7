"""`lexigram-ray doctor`: is this machine ready, and if not, what is to be done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
)

if TYPE_CHECKING:
    from lexigram_ray.cli.checks import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check this machine, its configuration, the state directory and the model.

    Examples:
      lexigram-ray doctor
      lexigram-ray doctor --state /var/lib/lexigram-ray
      lexigram-ray doctor --json | jq '.checks[] | select(.status != "ok")'

    It starts nothing and changes nothing. Exit code 1: a check failed.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    from lexigram_ray.cli.checks import config_check, configured_checks, machine_checks
    from lexigram_ray.cli.setting_checks import setting_checks

    found, settings = config_check(invocation.load_config)
    checks = [*machine_checks(), found]
    if settings is not None:
        checks += configured_checks(settings)
        checks += setting_checks(settings, checks)
    if invocation.json:
        invocation.answer({"checks": [check.to_dict() for check in checks]})
    else:
        _print(checks)
    failed = any(check.status == "fail" for check in checks)
    return EXIT_FAILED if failed else EXIT_DONE


def _print(checks: Sequence[Check]) -> None:
    from lexigram_ray.cli.output import paint, printable, write_line

    width = max(len(check.name) for check in checks)
    for check in checks:
        status = paint(f"{check.status:<4}", STYLES[check.status], sys.stdout)
        write_line(sys.stdout, f"{status}  {check.name:<{width}}  {printable(check.detail)}")
        if check.fix:
            write_line(sys.stdout, f"{'':<{width + 8}}fix: {printable(check.fix)}")
