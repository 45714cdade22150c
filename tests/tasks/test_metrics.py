"""The gate, and what the page tells of the rows."""

from itertools import pairwise
from math import inf, isfinite, isnan, nan
from typing import Any

import pytest

from tasks.azure_ml.errors import classify
from tasks.azure_ml.kinds import Kind
from tasks.azure_ml.tracking import _value
from tasks.forecast import Forecast, Learnable
from tasks.metrics import Champion, GateParameters, LearntRows, MetricReview, _learnt, _page, history_table, why_closed

CHAMPION = Champion(version="3", eval_loss=1.0)


def test_without_bounds_the_gate_is_open() -> None:
    assert why_closed(GateParameters(), None, 5.0, CHAMPION) == []
    assert why_closed(GateParameters(), None, None, None) == []


@pytest.mark.parametrize(("loss", "closed"), [(1.5, False), (1.6, True)])
def test_the_absolute_bound(loss: float, closed: bool) -> None:
    assert bool(why_closed(GateParameters(max_eval_loss=1.5), None, loss, None)) is closed


@pytest.mark.parametrize(("loss", "closed"), [(1.1, False), (1.2, True)])
def test_a_model_may_be_worse_than_the_champion_only_by_so_much(loss: float, closed: bool) -> None:
    reasons = why_closed(GateParameters(max_worse_than_champion=0.1), None, loss, CHAMPION)
    assert bool(reasons) is closed
    assert all("version 3" in reason for reason in reasons)


def test_a_champion_is_named_with_its_day() -> None:
    champion = Champion(version="1795744800", eval_loss=1.0)
    [reason] = why_closed(GateParameters(max_worse_than_champion=0.1), None, 1.2, champion)
    assert (
        reason
        == "Validation loss 1.2000 is worse than the 1.0000 of version 1795744800 (27 November 2026) by more than 0.1."
    )
    page = _page(REVIEW.model_copy(update={"champion": champion, "eval_loss": 1.2}), Forecast())
    assert "0.2000 higher than version 1795744800 (27 November 2026), which was registered last" in page


def test_the_first_model_has_no_champion_to_beat() -> None:
    assert why_closed(GateParameters(max_worse_than_champion=0.0), None, 9.0, None) == []


def test_a_model_that_training_made_worse_is_rejected_on_request() -> None:
    assert why_closed(GateParameters(must_improve=True), 2.0, 2.0, None)
    assert not why_closed(GateParameters(must_improve=True), 2.0, 1.9, None)


def test_a_diverged_model_is_always_rejected() -> None:
    assert why_closed(GateParameters(), 2.0, float("nan"), None)


def answered(metric: dict[str, Any]) -> float:
    """The value of a metric as MLflow's client reads it from an answer."""
    from mlflow.protos.service_pb2 import GetRun
    from mlflow.utils.proto_json_utils import parse_dict

    response = GetRun.Response()
    parse_dict({"run": {"data": {"metrics": [{"key": "eval_loss", **metric}]}}}, response)
    return float(response.run.data.metrics[0].value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (1.7976931348623157e308, inf), ("-1.7976931348623157e+308", -inf), ("1.797e308", inf), ("Infinity", inf),
        ("-Infinity", -inf), (0.25, 0.25), ("0.25", 0.25), (1e300, 1e300),
    ],
)  # fmt: skip
def test_an_infinity_is_one_however_the_store_wrote_it(written: float | str, value: float) -> None:
    assert _value(answered({"value": written})) == value
    assert bool(why_closed(GateParameters(), 2.0, value, None)) is not isfinite(value)


def test_what_is_no_number_is_none() -> None:
    assert isnan(_value(answered({"value": "NaN"})))


@pytest.mark.parametrize("metric", [{"value": None}, {}])
def test_a_loss_that_is_missing_closes_the_gate(metric: dict[str, Any]) -> None:
    assert why_closed(GateParameters(), 2.0, _value(answered(metric)), None)


@pytest.mark.parametrize("written", ["nan", "-nan(ind)"])
def test_what_mlflow_cannot_read_is_an_answer_that_is_not_azures(written: str) -> None:
    with pytest.raises(Exception) as error:
        answered({"value": written})
    assert (fault := classify(error.value)) is not None and fault.kind is Kind.TRANSIENT
    assert fault.message == "an answer came that is not Azure's, or not all of it"


@pytest.mark.parametrize("loss", [0.0, -0.5])
def test_a_loss_that_no_model_reaches_closes_the_gate(loss: float) -> None:
    assert why_closed(GateParameters(), 2.0, loss, None)
    assert why_closed(GateParameters(), None, None, None, trained=loss)
    assert why_closed(GateParameters(), 2.0, 1.5, None, trained=0.0) == [], "only a rounded one"


def test_what_diverged_before_training_is_no_bound_to_be_under() -> None:
    assert why_closed(GateParameters(must_improve=True), float("nan"), 2.0, None)


def test_a_gate_with_a_bound_needs_a_measurement() -> None:
    assert why_closed(GateParameters(max_eval_loss=1.0), None, None, None)


REVIEW = MetricReview(
    eval_loss_before=None, eval_loss=None, train_loss=None, steps=1, champion=None, accepted=True, reasons=[]
)
LEARNABLE = Learnable(sampled=90, rows=90, rows_with_answer=40, answer_tokens=5000, answer_tokens_within=1234)
USED = LearntRows(used=37, left_out=53, too_long=53, truncated=2, tokens=4000, tokens_with_loss=1100)
UNTOLD = "The component does not tell what it used. The forecast is an upper bound."


def test_figures_that_are_no_numbers_are_left_out_and_a_split_without_rows_too() -> None:
    logged = {"train_rows_used": 37.0, "train_rows_left_out": nan, "train_tokens": inf, "validation_tokens": 40.0}
    unknown = dict.fromkeys(("left_out", "too_long", "truncated", "tokens", "tokens_with_loss"), 0)
    assert _learnt(logged) == {"train": LearntRows(used=37, **unknown)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "; 53 rows were left out, for no answer within max_seq_length; 2 cut off"),
        ({"left_out": 60}, "; 60 rows were left out, 53 of them for no answer within max_seq_length; 2 cut off"),
        ({"left_out": 1, "too_long": 0, "truncated": 0}, "; 1 row was left out"),
        ({"left_out": 0, "too_long": 0, "truncated": 0}, ""),
    ],
)
def test_what_was_learnt_is_one_sentence(changes: dict[str, int], said: str) -> None:
    rows = USED.model_copy(update=changes)
    count = f"37 of {37 + rows.left_out} rows, 1,100 of their 4,000 tokens are learnt"
    assert rows.sentence() == count + said


def test_the_history_shows_the_losses_beside_each_other_by_step() -> None:
    curves = {"training loss": [(2, 1.5), (4, nan)], "validation loss": [(0, 2.25), (4, 1.75)]}
    assert history_table(curves).splitlines() == [
        "| step | training loss | validation loss |",
        "| --- | --- | --- |",
        "| 0 |  | 2.2500 |",
        "| 2 | 1.5000 |  |",
        "| 4 | nan | 1.7500 |",
    ]
    assert history_table({}) == ""


@pytest.mark.parametrize(("length", "shown"), [(1, 1), (20, 20), (21, 20), (5000, 20)])
def test_of_a_long_history_even_steps_are_shown_with_the_first_and_the_last(length: int, shown: int) -> None:
    rows = history_table({"training loss": [(step, 1.0) for step in range(length)]}).splitlines()[2:]
    steps = [int(row.split("|")[1]) for row in rows]
    assert (len(steps), steps[0], steps[-1]) == (shown, 0, length - 1)
    gaps = [after - before for before, after in pairwise(steps)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("loss", [inf, nan])
def test_a_loss_that_diverged_is_not_said_to_be_higher_or_lower(loss: float) -> None:
    page = _page(
        REVIEW.model_copy(update={"eval_loss_before": 2.0, "eval_loss": loss, "champion": CHAMPION}), Forecast()
    )
    assert f"| Validation loss | {loss:.4f} |" in page
    assert "higher" not in page and "lower" not in page


def test_the_forecast_and_the_trainers_figures_are_beside_each_other() -> None:
    page = _page(
        REVIEW.model_copy(update={"learnt": {"train": USED}}), Forecast(limit=512, splits={"train": LEARNABLE})
    )
    assert "| train | 90 | 40 of 90 rows | 37 | 53 | 53 | 2 | 5,000 | 1,234 | 1,100 | 4,000 |" in page
    assert UNTOLD not in page


def test_rows_that_the_component_cuts_off_for_validation_are_told_as_such() -> None:
    cut = LearntRows(used=4, left_out=0, too_long=0, truncated=0, tokens=40, tokens_with_loss=11)
    forecast = Forecast(limit=512, splits={"train": LEARNABLE}, notes=["What the component cuts off."])
    page = _page(REVIEW.model_copy(update={"learnt": {"train": USED, "validation": cut}}), forecast)
    assert "| validation | 4 | cut off train | 4 | 0 |" in page
    assert "What the component cuts off." in page


def test_without_the_trainers_figures_the_forecast_says_that_it_is_a_bound() -> None:
    first = LEARNABLE.model_copy(update={"sampled": 200})
    page = _page(REVIEW, Forecast(limit=512, splits={"train": first}))
    unknown = " | ".join(["unknown"] * 4)
    assert f"| train | 200 | 40 of the first 90 of 200 rows | {unknown} | 5,000 | 1,234 | unknown | unknown |" in page
    assert UNTOLD in page


def test_without_a_forecast_the_trainers_figures_stand_alone_and_it_is_said_why() -> None:
    page = _page(
        REVIEW.model_copy(update={"learnt": {"train": USED}}), Forecast(why_none="There is none: no tokenizer.")
    )
    assert "| train | 90 | unknown | 37 | 53 | 53 | 2 | unknown | unknown | 1,100 | 4,000 |" in page
    assert "There is none: no tokenizer." in page
    assert "Learnt from" not in _page(REVIEW, Forecast())


def test_without_a_limit_no_row_is_said_to_be_learnt() -> None:
    page = _page(REVIEW, Forecast(splits={"train": LEARNABLE}))
    assert (
        "| train | 90 | unknown | unknown | unknown | unknown | unknown | 5,000 | unknown | unknown | unknown |" in page
    )
