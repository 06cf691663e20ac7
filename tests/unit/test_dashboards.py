"""What `cluster/` gives to Prometheus and Grafana: it names what is exported, and what to do."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lexigram_ray.cli.app import app
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.core.telemetry import METRICS
from lexigram_ray.core.types import JobStatus, Outcome

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"
EXPORTED = {name: metric for metric in METRICS for name in metric.exported_names}
SERIES = re.compile(r"(ray_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)\s*(?:=|=~|!=|!~)\s*"([^"]*)"')
GROUPED = re.compile(r"by \(([^)]*)\)")
VALUES = {"outcome": {*JobStatus, *Outcome}, "status": set(JobStatus)}


def _dashboard() -> dict[str, Any]:
    return json.loads((CLUSTER / "grafana" / "lexigram-ray.json").read_text())


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in _dashboard()["panels"] if panel["type"] != "row"]


def _rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((CLUSTER / "prometheus" / "alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def _expressions() -> Iterator[str]:
    for panel in _panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in _rules())


@pytest.mark.parametrize("expression", sorted(set(_expressions())))
def test_every_series_label_and_value_of_an_expression_is_one_that_is_exported(
    expression: str,
) -> None:
    found = SERIES.findall(expression)
    assert found
    known = {"le"}
    for name, matchers in found:
        assert name in EXPORTED
        labels = EXPORTED[name].labels
        known.update(labels)
        for label, value in LABEL.findall(matchers):
            assert label in labels, f"{name} has no label {label}"
            assert label not in VALUES or value in VALUES[label], f"{label} is never {value}"
    for group in GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= known
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {
        EXPORTED[name].name
        for panel in _panels()
        for target in panel["targets"]
        for name, _ in SERIES.findall(target["expr"])
    }
    assert shown == {metric.name for metric in METRICS}


def test_the_dashboard_is_complete_and_hangs_on_nobody_s_data_source() -> None:
    dashboard = _dashboard()
    assert dashboard["uid"] == "lexigram-ray"
    assert dashboard["title"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    assert set(re.findall(r"\$\{?([a-z]+)\}?", text)) - {"__rate_interval"} <= names
    for panel in _panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Lexigram[A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert "`lexigram-ray " in rule["annotations"]["runbook"]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_every_command_of_a_runbook_is_understood(rule: dict[str, Any]) -> None:
    for line in re.findall(r"`lexigram-ray ([^`]+)`", rule["annotations"]["runbook"]):
        words = shlex.split(line)
        # The command itself, without its arguments.
        command = words[:2] if len(words) > 1 and words[1].islower() else words[:1]
        helped = CliRunner().invoke(app, [*command, "--help"], obj=Invocation.begin(command))
        assert helped.exit_code == 0, line
        options = [word for word in words if word.startswith("--")]
        assert [option for option in options if option not in helped.output] == [], line


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in _rules()]
    assert len(set(names)) == len(names)


def test_the_example_reads_the_rules_and_ray_s_own_list_of_nodes() -> None:
    loaded = yaml.safe_load((CLUSTER / "prometheus" / "prometheus.yml").read_text())
    for name in loaded["rule_files"]:
        assert (CLUSTER / "prometheus" / name).is_file()
    (scrape,) = loaded["scrape_configs"]
    files = scrape["file_sd_configs"][0]["files"]
    assert all(file.endswith("prom_metrics_service_discovery.json") for file in files)


def test_the_page_lists_every_metric_with_its_labels() -> None:
    page = (CLUSTER / "README.md").read_text()
    for metric in METRICS:
        (row,) = re.findall(rf"^\| `{metric.name}` \|.*$", page, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == metric.kind.value
        assert re.sub(r" \([^)]*\)", "", cells[2]) == ", ".join(metric.labels)
