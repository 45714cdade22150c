"""What a failed job's error is taken for."""

import pytest

from tasks.failures import is_preemption
from tasks.tracking import _error_text


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
