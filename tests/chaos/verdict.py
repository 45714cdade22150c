"""What is asked of a run's last words, and which calls a run may do without."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from tests.chaos.calls import EVERY_STAGE, Call

FORM = re.compile(r"Stage (?P<stage>\w+) failed: (?P<said>.+) Released: (?P<released>.+)\.", re.DOTALL)
UNRELEASED = "not everything; the reaper will try again"
# What a program would say to a programmer.
_MACHINE_TEXT = re.compile(
    r"<\w[\w.]*[:( ]|Traceback|\bobject at 0x|\b[A-Z]\w+(?:Error|Exception)\b|ErrorCode:|\bNone\b"
)
# A sentence that begins with what somebody can do.
_ADVICE = re.compile(
    r"(?:^|[.;:] |\n)(?:ask|check|choose|correct|create|delete|grant|let|look|make|put|raise|read|register|retry|run|see)\s+\w+"
    r"|(?:^|[.;:] |\n)(?:set|start|take|try|use)\s+\w+",
    re.IGNORECASE,
)

CAN_DO_WITHOUT = {
    "GET */computeOperationsStatus/*": "the stage is tried again and finds the cluster there",
    "GET */mfeOperationsStatus/*": "the stage is tried again and finds the endpoint or the deployment there",
    "GET */history/*/details*": "how long a step took is only shown",
    "POST */mlflow/runs/log-batch*": "the trainer loses its measurements, not the model; where the gate has a bound, it is closed",
}
"""Calls without which a run may complete, as the matrix names them, and why."""


def may_do_without(call: Call) -> str | None:
    """Why a run may complete although `call` goes wrong for ever; None if it must not."""
    return next((why for glob, why in CAN_DO_WITHOUT.items() if fnmatchcase(str(call), glob)), None)


def faults_of(message: str) -> list[str]:
    """What is wrong with a failed run's message: it must name the stage, say what is the matter in words, and what to do."""
    found = FORM.fullmatch(message)
    if found is None:
        return ["the message is not of the form 'Stage ... failed: ... Released: ...'"]
    wrong = []
    if found["stage"] not in EVERY_STAGE:
        wrong.append(f"there is no stage {found['stage']}")
    if machine := _MACHINE_TEXT.search(message):
        wrong.append(f"the message shows a program's text ({machine[0]!r})")
    if not _ADVICE.search(found["said"]):
        wrong.append("the message does not say what to do")
    return wrong


def stage_of(message: str) -> str:
    """The stage that a message names; empty if it names none."""
    found = re.search(r"Stage (\w+) failed: ", message)
    return found[1] if found else ""
