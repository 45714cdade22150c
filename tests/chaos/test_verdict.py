"""A failed run's last words are looked at closely: these pass, and these do not."""

from __future__ import annotations

import pytest

from tests.chaos.verdict import faults_of


@pytest.mark.parametrize(
    "message",
    [
        "Stage submit_pipeline failed: submit pipeline failed, auth (HTTP 403): Not allowed. What to do: check the roles. "
        "Released: nothing was left to release.",
        "Stage resolve_credentials failed: There is no workspace x, or the identity may not see it. Correct the workspace block. "
        "Released: not everything; the reaper will try again (own endpoints failed, auth: No.).",
        "Stage wait_for_pipeline failed: Job j failed in step s: no.\nNothing was registered. Run again. Released: deleted "
        "endpoint ft-a.",
    ],
)
def test_a_sentence_for_the_person_on_call_passes(message: str) -> None:
    assert faults_of(message) == []


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("", "not of the form"),
        ("Flow run encountered an exception: KeyError", "not of the form"),
        ("Stage None failed: no. Check it. Released: nothing was left to release.", "no stage None"),
        ("Stage submit_pipeline failed: Not allowed. Check the roles.", "not of the form"),
        ("Stage submit_pipeline failed: Not allowed. Released: nothing.", "what to do"),
        (
            "Stage submit_pipeline failed: <WorkspaceDiscoveryUrlKey.API: 'api'> Check it. Released: nothing.",
            "a program's text",
        ),
        ("Stage smoke_score failed: ServiceResponseError('x'). Check it. Released: nothing.", "a program's text"),
        (
            "Stage register_model failed: Too Many Requests ErrorCode:None. Check it. Released: nothing.",
            "a program's text",
        ),
    ],
)
def test_what_only_its_programmer_understands_does_not(message: str, wrong: str) -> None:
    assert any(wrong in fault for fault in faults_of(message)), faults_of(message)
