"""What is shipped for Prometheus and Grafana fits what the daemon publishes."""
import itertools
import json
import re

import pytest

from exposition import Exposition, promtool, published
from harness import ROOT

RULES = ROOT / "docker/prometheus/alerts.yml"
RULE_TESTS = ROOT / "docker/prometheus/alerts_test.yml"
SCRAPE = ROOT / "docker/prometheus/prometheus.yml"
DASHBOARD = ROOT / "docker/grafana/mlpd.json"

METRIC = re.compile(r"\b(?:mlpd|process)_\w+")
ADDED = {"job", "instance"}  # labels that Prometheus itself adds
# What Grafana puts in place of its variables before it asks Prometheus.
VARIABLES = {"$__rate_interval": "5m", "$job": "mlpd", "$instance": "a:1", "$model": "fashion-mnist"}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def expressions():
    """Every PromQL expression of the dashboard, with what it belongs to."""
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]


def filled(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def labels_in(expression):
    """The label names that a PromQL expression speaks of."""
    inside = re.findall(r"\{([^{}]*)\}", expression)
    grouped = re.findall(r"\b(?:by|without|ignoring|on) ?\(([^()]*)\)", expression)
    return {name for text in inside for name in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', text)} | {
        name.strip() for text in grouped for name in text.split(",")}


# --- the exposition ---


def test_promtool_has_nothing_to_say_about_the_metrics():
    promtool("check", "metrics", stdin=published().text)


def test_the_published_metrics_are_those_that_operators_were_promised():
    page = published()
    for name, kind in {"requests_total": "counter", "rows_total": "counter", "batches_total": "counter",
                       "rejected_total": "counter", "expired_total": "counter", "cancelled_total": "counter",
                       "queue_rows": "gauge", "inflight_requests": "gauge", "connections": "gauge",
                       "build_info": "gauge", "model_info": "gauge", "start_time_seconds": "gauge",
                       "request_seconds": "histogram", "queue_seconds": "histogram", "compute_seconds": "histogram",
                       "batch_rows": "histogram"}.items():
        assert page.types["mlpd_" + name] == kind
    for name in ("cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds",
                 "start_time_seconds"):
        assert "process_" + name in page.types


def test_what_was_received_is_answered_lost_or_in_flight():
    page = published()
    assert page.sum("mlpd_received_total") == (page.sum("mlpd_requests_total") + page.sum("mlpd_lost_total") +
                                               page.sum("mlpd_inflight_requests"))


def test_histograms_grow_from_bucket_to_bucket_up_to_their_count():
    page = published()
    for family in (name for name, kind in page.types.items() if kind == "histogram"):
        series = {}
        for (name, labels), value in page.samples.items():
            if name == family + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        assert series, family
        for rest, buckets in series.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(bounds) and bounds[-1] == float("inf")
            assert list(counts) == sorted(counts)
            assert counts[-1] == page.value(family + "_count", **dict(rest))


def test_the_reader_refuses_what_is_no_exposition():
    for text in ("a 1", "a{b=c} 1\n", 'a{b="\\x"} 1\n', "a 1\na 2\n", "a\n", "# TYPE a gauge\n# TYPE a gauge\n"):
        with pytest.raises(AssertionError):
            Exposition(text)


# --- the alerts ---


def test_promtool_accepts_the_rules_and_the_scrape():
    promtool("check", "rules", RULES)
    promtool("check", "config", SCRAPE)


def test_the_alerts_fire_when_they_should_and_only_then():
    promtool("test", "rules", RULE_TESTS.name, cwd=RULE_TESTS.parent)


def test_each_alert_is_seen_firing_and_seen_silent():
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert len(alerts) == len(set(alerts)) >= 9
    tests = re.findall(r"alertname: (\w+)\n +exp_alerts:(.*)", RULE_TESTS.read_text())
    for alert in alerts:
        expected = {silent.strip() for name, silent in tests if name == alert}
        assert expected == {"", "[]"}, f"{alert} is not tested both ways"


@pytest.mark.parametrize("path", [RULES, RULE_TESTS, SCRAPE], ids=lambda path: path.name)
def test_the_files_for_prometheus_name_only_metrics_that_are_published(path):
    unknown = set(METRIC.findall(path.read_text())) - published().names() - set(published().types)
    assert not unknown, f"{path.name} speaks of {sorted(unknown)}"


def test_the_alerts_speak_only_of_labels_that_are_published():
    rules = re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*))", RULES.read_text())
    assert len(rules) == RULES.read_text().count("- alert:")
    for rule in rules:
        unknown = labels_in("".join(rule)) - published().labels() - ADDED
        assert not unknown, f"{rule} speaks of {sorted(unknown)}"


# --- the dashboard ---


def test_the_dashboard_asks_only_for_what_is_published():
    page = published()
    assert len(list(expressions())) > 20
    for title, expression in expressions():
        names = set(METRIC.findall(expression))
        assert names and names <= page.names(), f"{title} asks for {sorted(names - page.names())}"
        unknown = labels_in(expression) - page.labels() - ADDED
        assert not unknown, f"{title} asks for labels {sorted(unknown)}"
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            assert set(METRIC.findall(variable["definition"])) <= page.names()


def test_the_dashboard_shows_every_metric_that_is_not_a_constant_of_the_program():
    shown = " ".join(expression for _, expression in expressions())
    unseen = {family for family in published().types if family not in shown}
    assert unseen <= {"mlpd_received_total", "mlpd_log_lines_lost_total", "mlpd_model_load_failures_total",
                      "process_start_time_seconds", "process_virtual_memory_bytes", "process_threads"}, unseen


def test_the_dashboard_s_expressions_are_promql(tmp_path):
    rules = [{"record": f"panel:{number}", "expr": filled(expression)}
             for number, (_, expression) in enumerate(expressions())]
    assert "$" not in json.dumps(rules)
    path = tmp_path / "expressions.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", path)


def test_the_dashboard_can_be_imported_into_any_grafana():
    """No id and no data source of the Grafana it was made in; variables that exist; panels that do not overlap."""
    board = dashboard()
    assert board["id"] is None and board["uid"] and board["title"] and board["schemaVersion"] >= 36
    variables = {variable["name"] for variable in board["templating"]["list"]}
    text = DASHBOARD.read_text()
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == variables
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", "-- Grafana --", board["uid"]}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"] and (panel["type"] == "row" or panel["description"])
    for a, b in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        assert (a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or
                b["y"] + b["h"] <= a["y"]), f"{a} and {b} overlap"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
