"""What a run's machines are said to have cost, however it ended."""

from __future__ import annotations

from typing import Any

import pytest

from flows.outcome import spent
from tasks.compute import ValidatedCompute
from tasks.cost import Prices
from tasks.waiting import FinishedJob
from tasks.watch import Step

PRICES = Prices(currency="EUR", source="a test", dedicated={"trainer": 3.0, "server": 0.5}, low_priority={})
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


def job(attempt: int = 1, step_seconds: float | None = 1800) -> FinishedJob:
    """One whose last try was looked at for an hour."""
    steps = [Step(run_id="r", name="train", status="Completed", seconds=step_seconds)]
    return FinishedJob(
        name="j", attempt=attempt, seconds=3600, steps=steps, metrics={}, tags={}, studio_url="https://studio"
    )


@pytest.mark.parametrize(
    ("made", "hours", "cost"),
    [
        pytest.param({"seconds": {"wait_for_pipeline": 7200.0}}, 4.0, 12.0, id="the whole wait for a job that failed"),
        pytest.param({"seconds": {"wait_for_pipeline": 3600.0}, "job": job()}, 1.0, 3.0, id="steps"),
        pytest.param(
            {"seconds": {"wait_for_pipeline": 3600.0}, "job": job(step_seconds=None)}, 2.0, 6.0, id="no times of steps"
        ),
        pytest.param(
            {"seconds": {"wait_for_pipeline": 5400.0}, "job": job(attempt=2)}, 2.0, 6.0, id="a try that was preempted"
        ),
        pytest.param(
            {
                "seconds": {"wait_for_pipeline": 3600.0, "create_deployment": 3500.0, "smoke_score": 100.0},
                "job": job(),
                "endpoint": "there",
            },
            2.0,
            3.5,
            id="a deployment that failed",
        ),
    ],
)
def test_a_run_that_failed_says_what_it_used(made: dict[str, Any], hours: float, cost: float) -> None:
    bill = spent({"compute": CLUSTER, **made}, PRICES)
    assert bill is not None
    assert bill.sentence() == f"{hours:.2f} machine hours, about {cost:.2f} EUR"


def test_what_ended_before_anything_was_used_has_no_bill() -> None:
    assert spent({"compute": CLUSTER, "seconds": {"validate_compute": 3.0}}, PRICES) is None
    assert spent({"seconds": {"resolve_credentials": 3.0}}, PRICES) is None
    assert spent({"compute": CLUSTER, "seconds": {"wait_for_pipeline": 3.0}}, None) is None
