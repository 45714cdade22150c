"""What a failed job's error is taken for."""

from typing import Any

import pytest

from tasks.azure_ml.tracking import RunDetails, Tracking, _error_text
from tasks.failures import explain, is_preemption, step_failure
from tasks.jobs import JobFailed, JobPreempted
from tasks.watch import Step


@pytest.mark.parametrize(
    ("error", "preempted"),
    [
        (
            "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. Reason: Received pre-emption warning",
            True,
        ),
        ("Nodes of this job got preempted.", True),
        ("AllocationFailed: Allocation failed. We do not have sufficient capacity for the requested VM size", True),
        ("ValueError: Sequence group 0 is preempted by PreemptionMode.RECOMPUTE, not enough KV cache space", False),
        ("ModuleNotFoundError: No module named 'preempt_handler'", False),
        ("RuntimeError: unable to allocate: insufficient shared memory capacity", False),
        ("KeyError: 'x' (checkpoint saved on preemption disabled)", False),
        ("", False),
    ],
)
def test_a_program_that_speaks_of_pre_emption_was_not_pre_empted(error: str, preempted: bool) -> None:
    assert is_preemption(error) is preempted


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"code": "UserError", "message": "The disk is full."}, "UserError: The disk is full."),
        ({"code": None, "message": "The disk is full."}, "The disk is full."),
        ({"code": "UserError"}, "UserError"),
        ({}, ""),
    ],
)
def test_of_an_error_what_azure_names_is_told(error: dict[str, str | None], text: str) -> None:
    assert _error_text(error) == text


STEPS = [
    Step(run_id="1", name="import", status="Completed"),
    Step(run_id="2", name="train", status="Failed"),
    Step(run_id="3", name="convert", status="NotStarted"),
]


class Kept(Tracking):
    """What the run history has of step 2."""

    def __init__(self, error: str, logs: dict[str, str] | None = None) -> None:
        nowhere: Any = None
        super().__init__(nowhere, "azureml://nowhere/mlflow/v1.0")
        self._error, self._logs = error, logs or {}

    def details(self, run_id: str) -> RunDetails:
        return RunDetails("Failed", {"2": self._error}[run_id], {path: path for path in self._logs})

    def log(self, url: str) -> str:
        return self._logs[url]


LOGS = {
    "system_logs/a.log": "Nothing of interest.",
    "user_logs/std_log.txt": "\n".join(
        [*(f"line {n} of it" for n in range(30)), "", "GET https://a/b?sig=SECRET&se=2"]
    ),
}


def test_a_failure_is_told_by_the_failing_steps_last_lines_without_secrets() -> None:
    failure = explain(Kept("UserError: client_secret=SECRET, no.", LOGS), "ft-x", "Failed", STEPS, "")
    assert type(failure) is JobFailed
    said = str(failure).splitlines()
    assert said[0] == "Job ft-x failed in step train: UserError: client_secret=********, no."
    assert said[2:22] == [*(f"  line {n} of it" for n in range(11, 30)), "  GET https://a/b?sig=********&se=2"]
    assert said[22].startswith("Nothing was registered or deployed. Correct the cause and retry this run")


def test_lost_nodes_are_told_as_that_without_secrets() -> None:
    lost = Kept("PreemptionError: Nodes of this job got pre-empted. password=SECRET", LOGS)
    failure = explain(lost, "ft-x", "Failed", STEPS, "")
    assert type(failure) is JobPreempted
    assert "SECRET" not in str(failure)


def test_a_step_that_failed_in_a_completed_job_is_told_without_secrets_and_gets_no_successor() -> None:
    lost = Kept("PreemptionError: Nodes of this job got pre-empted. password=SECRET", LOGS)
    failure = step_failure(lost, "ft-x", STEPS[1], "")
    assert type(failure) is JobFailed
    assert "SECRET" not in str(failure) and "its step train is Failed: PreemptionError" in str(failure)
