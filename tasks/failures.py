"""Why a job failed, in the failing step's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.azure_ml.azure_errors import PREEMPTED
from tasks.azure_ml.errors import redact
from tasks.azure_ml.tracking import RunDetails, Tracking
from tasks.jobs import JobFailed, JobPreempted
from tasks.stage import run_logger
from tasks.watch import Step

LAST_LINES = 20


def explain(tracking: Tracking, job: str, status: str, steps: Sequence[Step], studio_url: str) -> JobFailed:
    """The exception for `job` that ended as `status`: the failing step, its error, its last log lines."""
    if status == "Canceled":
        return JobFailed(
            f"Job {job} was cancelled in Azure. Nothing was registered. Retry this run: it submits a successor. {studio_url}"
        )
    failed = [step for step in steps if step.status not in ("Completed", "NotStarted", "Canceled")]
    culprit = failed[0] if failed else None
    error, lines = _told(tracking, culprit.run_id if culprit else job)
    where = f"in step {culprit.name}" if culprit else f"({status})"
    text = f"Job {job} failed {where}: {error}.{_listed(lines)}\nNothing was registered or deployed. "
    if is_preemption(error):
        return JobPreempted(redact(f"{text}{studio_url}"))
    text += "Correct the cause and retry this run: it submits a successor with the same parameters. For others, start a new run."
    return JobFailed(redact(f"{text} {studio_url}"))


def is_preemption(error: str) -> bool:
    """Whether a job's error says that its nodes were taken away: Azure's own words, not those of a program that ran there."""
    return re.search(rf"{PREEMPTED}|\bAllocationFailed\b", error, re.IGNORECASE) is not None


def step_failure(tracking: Tracking, job: str, step: Step, studio_url: str) -> JobFailed:
    """The exception for `job` that says Completed though `step` ended badly, as a pipeline may that goes on after a failure.

    Never a JobPreempted: a job that says Completed gets no successor.
    """
    error, lines = _told(tracking, step.run_id)
    text = (
        f"Job {job} says Completed, but its step {step.name} is {step.status}: {error}.{_listed(lines)}\nNothing was registered "
        f"or deployed. Correct the cause and begin a new run: a retry of this one finds the same job. {studio_url}"
    )
    return JobFailed(redact(text))


def _told(tracking: Tracking, run_id: str) -> tuple[str, list[str]]:
    """A run's own error without its full stop, and its last log lines."""
    details = _details(tracking, run_id)
    error = details.error if details else ""
    return (error or "Azure names no error").rstrip("."), _last_lines(tracking, details) if details else []


def _listed(lines: list[str]) -> str:
    return "".join(["\nLast log lines:", *(f"\n  {line}" for line in lines)]) if lines else ""


def _details(tracking: Tracking, run_id: str) -> RunDetails | None:
    """The explanation must not fail for want of an explanation."""
    try:
        return tracking.details(run_id)
    except Exception as error:
        run_logger().warning("The run history of %s cannot be read: %s", run_id, redact(str(error)))
        return None


def _last_lines(tracking: Tracking, details: RunDetails) -> list[str]:
    for path in sorted(details.logs, key=lambda path: ("std_log" not in path, path)):
        try:
            text = tracking.log(details.logs[path])
        except Exception as error:
            run_logger().warning("Log %s cannot be read: %s", path, redact(str(error)))
            continue
        if lines := [line.rstrip() for line in text.splitlines() if line.strip()]:
            return lines[-LAST_LINES:]
    return []
