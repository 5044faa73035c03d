"""Every alarm has its page and every page its alarm; what alarms and the dashboard show is what is counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from chalicelib.contract.counts import Metric
from chalicelib.metrics import NAMESPACE
from infra.functions import FUNCTIONS
from infra.template import environment

ROOT = Path(__file__).resolve().parents[2]
RESOURCES: dict[str, Any] = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())["Resources"]
ALARMS = {name: each["Properties"] for name, each in RESOURCES.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
PAGE = (ROOT / "docs/operating.md").read_text()
SOMETIMES = {name for name in ALARMS if "Condition" in RESOURCES[name]}
OURS = {metric.value for metric in Metric}

AWS_METRICS = {
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/ApiGateway": {"5XXError", "Count", "Latency"},
    "AWS/Lambda": {"Errors", "Throttles", "Duration"},
}
"""AWS's own that we show, as its user guides list them."""


def dashboard() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    return body


def shown() -> list[tuple[str, str, dict[str, str]]]:
    """Give namespace, name and dimensions of every metric on the dashboard."""
    rows = [row for widget in dashboard()["widgets"] for row in widget["properties"].get("metrics", [])]
    found = []
    for namespace, name, *rest in rows:
        words = [word for word in rest if isinstance(word, str)]
        found.append((namespace, name, dict(zip(words[::2], words[1::2], strict=True))))
    return found


def anchors() -> set[str]:
    """Give the anchors of the pages below *Incident pages*: a heading of the third order each."""
    section = PAGE.split("\n## Incident pages\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^### ([a-z-]+)$", section, re.MULTILINE))


def test_every_alarm_has_a_page_and_every_page_an_alarm() -> None:
    """The mail names the page; an alarm that nobody knows what to do about is noise."""
    linked = {name: alarm["AlarmDescription"].rsplit("docs/operating.md#", 1)[1] for name, alarm in ALARMS.items()}
    assert set(linked.values()) == anchors()


ROUNDS = ("SweeperSilentAlarm", "ScalerSilentAlarm")
"""What strikes each minute: no figure is the fault."""


def test_an_alarms_words_are_plain_and_its_way_back_is_told() -> None:
    """A sentence for whoever is woken up; the topic hears of the end as well; the name says the stage."""
    for name, alarm in ALARMS.items():
        assert alarm["AlarmName"]["Fn::Sub"].startswith("comfysheet-${Stage}-"), name
        assert re.match(r"[A-Z].{20,}[.] What to do: docs/", alarm["AlarmDescription"]), name
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["TreatMissingData"] == ("breaching" if name in ROUNDS else "notBreaching"), name


def test_alarms_and_dashboard_look_at_what_is_counted() -> None:
    """A misspelt metric is an alarm that never rings."""
    alarms = [(alarm["Namespace"], alarm["MetricName"]) for alarm in ALARMS.values()]
    for namespace, name in [*alarms, *((namespace, name) for namespace, name, _ in shown())]:
        assert name in (OURS if namespace == NAMESPACE else AWS_METRICS[namespace]), name


def test_our_metrics_are_asked_for_by_the_stage_alone() -> None:
    """A metric is found by exactly the dimensions that it was told with."""
    for name, alarm in ALARMS.items():
        if alarm["Namespace"] == NAMESPACE:
            assert alarm["Dimensions"] == [{"Name": "stage", "Value": {"Ref": "Stage"}}], name
    assert {tuple(of.items()) for namespace, _, of in shown() if namespace == NAMESPACE} == {(("stage", "${Stage}"),)}
    assert environment()["STAGE"] == {"Ref": "Stage"}


def test_the_dashboard_names_functions_and_queues_that_exist() -> None:
    """As the stack names them."""
    functions = {function.name("${Stage}") for function in FUNCTIONS}
    queues = {
        each["Properties"]["QueueName"]["Fn::Sub"] for each in RESOURCES.values() if each["Type"] == "AWS::SQS::Queue"
    }
    for _, _, dimensions in shown():
        assert dimensions.get("FunctionName", "comfysheet-${Stage}") in functions
        assert dimensions.get("QueueName", "comfysheet-${Stage}-jobs") in queues


def test_every_metric_is_counted_somewhere_and_shown_somewhere() -> None:
    """One that nobody counts is a promise; one that nobody sees costs money for nothing."""
    code = "".join(
        path.read_text() for path in (ROOT / "chalicelib").rglob("*.py") if path.name not in ("counts.py", "metrics.py")
    )
    assert {metric.name for metric in Metric if f"Metric.{metric.name}" not in code} == set()
    seen = {name for _, name, _ in shown()} | {alarm["MetricName"] for alarm in ALARMS.values()}
    assert OURS - seen == set()


def test_the_dashboard_lists_every_alarm_that_always_is() -> None:
    """Those of a budget and of the autoscaler are there only where there is one."""
    (arns,) = [each["properties"]["alarms"] for each in dashboard()["widgets"] if each["type"] == "alarm"]
    listed = {arn.rsplit(":alarm:", 1)[1] for arn in arns}
    assert listed == {alarm["AlarmName"]["Fn::Sub"] for name, alarm in ALARMS.items() if name not in SOMETIMES}


def test_every_queue_of_dead_letters_has_its_alarm() -> None:
    """Whatever lands there needs a person."""
    dead = {name for name, each in RESOURCES.items() if each["Type"] == "AWS::SQS::Queue" and "DeadLetters" in name}
    watched = {
        alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for alarm in ALARMS.values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }
    assert watched == dead
