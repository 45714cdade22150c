"""What is taken for a run, and for one that goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.protos.service_pb2 import GetRun
from mlflow.utils.proto_json_utils import parse_dict

from tasks.azure_ml.errors import classify
from tasks.azure_ml.kinds import Kind
from tasks.azure_ml.tracking import Tracking


class Answered(Tracking):
    """Tracking whose client makes a run of one answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        response = GetRun.Response()
        parse_dict(answer, response)
        self.__dict__["_mlflow"] = SimpleNamespace(get_run=lambda run_id: Run.from_proto(response.run))


def test_a_run_has_its_state_and_of_each_metric_the_last_value_with_its_step() -> None:
    metrics = [{"key": "loss", "value": 1.5, "step": 4}, {"key": "eval_loss", "value": "NaN", "step": 2}]
    run = Answered({"run": {"info": {"run_id": "job", "status": "FINISHED"}, "data": {"metrics": metrics}}}).run("job")
    assert run.ended and run.metrics["loss"] == 1.5 and run.steps == {"loss": 4, "eval_loss": 2}


@pytest.mark.parametrize("answer", [{}, {"login": "https://proxy"}, {"run": {}}, {"run": {"info": {}}}])
def test_an_answer_that_is_no_run_is_none_that_goes_on(answer: dict[str, Any]) -> None:
    with pytest.raises(Exception) as error:
        Answered(answer).run("job")
    info = classify(error.value)
    assert info is not None and info.kind is Kind.TRANSIENT
    assert info.message == "an answer came that is not Azure's, or not all of it"
