"""What a run is said to have made, and its machines to have cost, however it ended."""

from __future__ import annotations

from typing import Any

import pytest

from flows import outcome
from flows.outcome import FlowResult, publish_bad_end, spent, staying
from flows.run import RunRecord
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ValidatedCompute
from tasks.cost import Prices
from tasks.endpoint import Endpoint
from tasks.forecast import Forecast
from tasks.metrics import MetricReview
from tasks.registration import RegisteredModel
from tasks.release import Released
from tasks.sampling.results import SampledDataset, SampledSplit
from tasks.scoring import SmokeResult
from tasks.waiting import FinishedJob
from tasks.watch import MachineTime
from tests.partial import with_only

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

ENDPOINT = Endpoint(name="ft-x", scoring_uri="https://ft-x")
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
                "endpoint": ENDPOINT,
            },
            worked(1800),
            2.0,
            3.5,
            id="a deployment that failed",
        ),
        pytest.param({"seconds": {"teardown": 3600.0}}, worked(1800), 1.0, 3.0, id="no endpoint to tear down"),
        pytest.param(
            {"compute": CHEAP, "seconds": {"create_deployment": 3600.0}, "endpoint": ENDPOINT},
            worked(1800),
            2.0,
            1.5,
            id="low priority trains and never serves",
        ),
        pytest.param(
            {
                "compute": CLUSTER.model_copy(update={"instance_count": 2}),
                "seconds": {"create_deployment": 3600.0},
                "endpoint": ENDPOINT,
            },
            worked(1800),
            3.0,
            4.0,
            id="two instances serve",
        ),
    ],
)
def test_a_run_that_failed_says_what_it_used(
    made: dict[str, Any], machines: MachineTime, hours: float, cost: float
) -> None:
    bill = spent(RunRecord(**{"compute": CLUSTER, **made}, machines=machines, prices=PRICES))
    assert bill is not None
    assert bill.sentence() == f"{hours:.2f} machine hours, about {cost:.2f} EUR"


def test_the_bill_of_a_job_that_another_run_began_says_so_however_it_ended() -> None:
    told = "2.00 machine hours, about 6.00 EUR, of which the run that began the job tells its part, too"
    bill = spent(RunRecord(compute=CLUSTER, machines=worked(3600), prices=PRICES, resumed=True))
    assert bill is not None and bill.sentence() == told
    result = ended(machine_seconds=3600.0, resumed=True)
    result.add_up(PRICES)
    assert result.cost is not None and result.cost.sentence() == told


def test_what_ended_before_anything_was_used_has_no_bill() -> None:
    waited = {"wait_for_pipeline": 300.0}
    assert spent(RunRecord(compute=CLUSTER, seconds=waited, machines=worked(0), prices=PRICES)) is None
    assert spent(RunRecord(seconds={"resolve_credentials": 3.0}, prices=PRICES)) is None
    assert spent(RunRecord(compute=CLUSTER, seconds=waited, machines=worked(3))) is None


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
            "endpoint ft-x, which costs about 1.50 EUR an hour while a deployment serves, until the reaper deletes it; cluster "
            "c, which keeps 2 of its nodes for about 2.00 EUR an hour",
        ),
        (
            {"compute": CLUSTER, "model": MODEL},
            ["ft-x"],
            "model chat version 1795831200 (28 November 2026); endpoint ft-x, which costs about 0.50 EUR an hour while a "
            "deployment serves, until the reaper deletes it; cluster c, which scales to zero and then costs nothing",
        ),
        (
            {"compute": CLUSTER.model_copy(update={"instance_type": "unheard-of"})},
            ["ft-x"],
            "endpoint ft-x, which costs an unknown price an hour while a deployment serves, until the reaper deletes it; "
            "cluster c, which scales to zero and then costs nothing",
        ),
    ],
)
def test_what_stays_is_told_with_its_price(made: dict[str, Any], endpoints: list[str], said: str) -> None:
    assert staying(RunRecord(**made, prices=PRICES), endpoints) == said


REVIEW = MetricReview(
    eval_loss_before=2.0, eval_loss=1.5, train_loss=None, steps=1, champion=None, accepted=True, reasons=[]
)
DELETED = Released(deleted_endpoints=["ft-x"])


def ended(**changes: Any) -> FlowResult:
    """A run with what its sentence and its bill are made of."""
    made = {"compute": CLUSTER, "review": REVIEW, "model": MODEL, "released": Released(), "seconds": {}, **changes}
    return FlowResult.model_construct(**made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Accepted with validation loss 2.000 -> 1.500: "),
        ({"review": REVIEW.model_copy(update={"eval_loss_before": None})}, "Accepted with validation loss 1.500: "),
        ({"review": REVIEW.model_copy(update={"eval_loss": None})}, "Accepted without a validation loss: "),
        (
            {"smoke": with_only(SmokeResult, slowest_seconds=2.54)},
            "Accepted with validation loss 2.000 -> 1.500, answers in 2.5 s: ",
        ),
    ],
)
def test_a_good_run_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    assert ended(**changes).sentence() == f"{said}chat version 1795831200 (28 November 2026)"


def test_a_closed_gate_is_one_sentence_too() -> None:
    review = REVIEW.model_copy(update={"reasons": ["It is too high.", "It is worse."]})
    said = "It is too high. It is worse. Nothing was registered or deployed."
    assert ended(model=None, review=review).sentence() == said


@pytest.mark.parametrize(
    ("changes", "serving", "sentence"),
    [
        ({}, [], "1.00 machine hours, about 3.00 EUR"),
        ({"endpoint": ENDPOINT, "released": DELETED}, [], "2.00 machine hours, about 3.50 EUR"),
        ({"endpoint": ENDPOINT}, ["ft-x"], "2.00 machine hours, about 3.50 EUR"),
    ],
    ids=["none", "deleted", "kept"],
)
def test_an_endpoint_is_billed_whether_it_still_serves_or_not(
    changes: dict[str, Any], serving: list[str], sentence: str
) -> None:
    result = ended(machine_seconds=1800.0, seconds={"create_deployment": 3600.0}, **changes)
    result.add_up(PRICES)
    assert result.serving == serving
    until = "until somebody deletes it" if serving else ""
    assert until in result.stays and ("endpoint" in result.stays) == bool(serving)
    assert result.cost is not None and result.cost.serves_on is bool(serving)
    assert result.cost.sentence().startswith(sentence)


def test_an_endpoint_with_a_time_to_live_is_told_with_its_end_and_its_price() -> None:
    result = ended(endpoint=ENDPOINT.model_copy(update={"expires": "2026-11-29 02:00"}), machine_seconds=0.0)
    result.add_up(PRICES)
    assert result.stays.startswith(
        "endpoint ft-x, which costs about 0.50 EUR an hour while a deployment serves, until the reaper's first pass after "
        "2026-11-29 02:00 UTC; cluster c"
    )


@pytest.mark.parametrize("notes", [["It will be retired."], []])
def test_the_summary_has_what_is_to_be_known_of_the_base_model(
    notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = with_only(
        FoundationModel, name="m", version="1", id="azureml://registries/r/models/m/versions/1", notes=notes
    )
    pages: list[str] = []
    monkeypatch.setattr(outcome, "publish_markdown", lambda key, said, page: pages.append(page))
    publish_bad_end("Failed", "why", RunRecord(base_model=base), cost=None, released="", stays="")
    train = with_only(SampledSplit, rows=1, split="train")
    ended(
        verdict="accepted",
        base_model=base,
        dataset=with_only(SampledDataset, source="s", train=train, sha256="0"),
        job=with_only(FinishedJob, name="j", studio_url="", forecast=Forecast()),
        tracking_uri="",
    ).publish()
    good, bad = pages[-1], pages[0]
    for page in (good, bad):
        assert ("| Warnings | It will be retired. |" in page) == bool(notes) and "m, version 1" in page
