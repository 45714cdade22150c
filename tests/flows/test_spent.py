"""What a run's machines are said to have cost, however it ended."""

from __future__ import annotations

from typing import Any

import pytest

from flows.outcome import spent, staying
from tasks.compute import ValidatedCompute
from tasks.cost import Prices
from tasks.registration import RegisteredModel
from tasks.watch import MachineTime

PRICES = Prices(
    currency="EUR", source="a test", dedicated={"trainer": 3.0, "server": 0.5}, low_priority={"trainer": 1.0}
)
CLUSTER = ValidatedCompute(
    cluster="c",
    size="trainer",
    gpus_per_node=1,
    nodes=2,
    max_nodes=4,
    tier="dedicated",
    created=False,
    rule="",
    instance_type="server",
    instance_count=1,
    serving_rule="",
    quota=[],
)

CHEAP = CLUSTER.model_copy(update={"tier": "low_priority"})


def worked(*jobs: float) -> MachineTime:
    """Nodes that worked for so many seconds on one job after the other."""
    machines = MachineTime()
    for number, seconds in enumerate(jobs):
        machines.note(f"job-{number}", 0.0)
        machines.note(f"job-{number}", seconds)
    return machines


@pytest.mark.parametrize(
    ("made", "machines", "hours", "cost"),
    [
        pytest.param({"seconds": {"wait_for_pipeline": 7200.0}}, worked(3600), 2.0, 6.0, id="steps, not the wait"),
        pytest.param({"seconds": {}}, worked(1800, 1800), 2.0, 6.0, id="a try that was preempted"),
        pytest.param({"seconds": {}}, worked(1800), 1.0, 3.0, id="a run that came to its end"),
        pytest.param(
            {
                "seconds": {
                    "wait_for_pipeline": 3600.0,
                    "create_deployment": 3400.0,
                    "smoke_score": 100.0,
                    "teardown": 100.0,
                },
                "endpoint": "there",
            },
            worked(1800),
            2.0,
            3.5,
            id="a deployment that failed",
        ),
        pytest.param({"seconds": {"teardown": 3600.0}}, worked(1800), 1.0, 3.0, id="no endpoint to tear down"),
        pytest.param(
            {"compute": CHEAP, "seconds": {"create_deployment": 3600.0}, "endpoint": "there"},
            worked(1800),
            2.0,
            1.5,
            id="low priority trains and never serves",
        ),
    ],
)
def test_a_run_that_failed_says_what_it_used(
    made: dict[str, Any], machines: MachineTime, hours: float, cost: float
) -> None:
    bill = spent({"compute": CLUSTER, **made}, machines.seconds, PRICES)
    assert bill is not None
    assert bill.sentence() == f"{hours:.2f} machine hours, about {cost:.2f} EUR"


def test_what_ended_before_anything_was_used_has_no_bill() -> None:
    assert spent({"compute": CLUSTER, "seconds": {"wait_for_pipeline": 300.0}}, worked(0).seconds, PRICES) is None
    assert spent({"seconds": {"resolve_credentials": 3.0}}, 0.0, PRICES) is None
    assert spent({"compute": CLUSTER, "seconds": {"wait_for_pipeline": 3.0}}, 3.0, None) is None


MODEL = RegisteredModel(id="m", name="chat", version="1795831200", tags={})


@pytest.mark.parametrize(
    ("made", "endpoints", "said"),
    [
        ({}, [], ""),
        ({"compute": CLUSTER}, [], "cluster c, which scales to zero and then costs nothing"),
        (
            {"compute": CLUSTER.model_copy(update={"min_nodes": 2})},
            [],
            "cluster c, which keeps 2 of its nodes for about 6.00 EUR an hour",
        ),
        (
            {"compute": CHEAP.model_copy(update={"min_nodes": 2, "instance_count": 3})},
            ["ft-x"],
            "endpoint ft-x, which costs about 1.50 EUR an hour while a deployment serves; cluster c, which keeps 2 of its nodes "
            "for about 2.00 EUR an hour",
        ),
        (
            {"compute": CLUSTER, "model": MODEL},
            ["ft-x"],
            "model chat version 1795831200 (28 November 2026); endpoint ft-x, which costs about 0.50 EUR an hour while a "
            "deployment serves; cluster c, which scales to zero and then costs nothing",
        ),
        (
            {"compute": CLUSTER.model_copy(update={"instance_type": "unheard-of"})},
            ["ft-x"],
            "endpoint ft-x, which costs an unknown price an hour while a deployment serves; cluster c, which scales to zero and "
            "then costs nothing",
        ),
    ],
)
def test_what_stays_is_told_with_its_price(made: dict[str, Any], endpoints: list[str], said: str) -> None:
    assert staying(made, PRICES, endpoints) == said
