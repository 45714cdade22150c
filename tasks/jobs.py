"""Azure ML jobs, as the stages find them: by name, with what their states mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks import AzureMLWorkspace
from tasks.errors import if_there
from tasks.naming import RUN_TAG, RunNames, run_id_of
from tasks.states import word

if TYPE_CHECKING:
    from azure.ai.ml.entities import Job

COMPLETED = "Completed"
ENDED_BADLY = frozenset({"Failed", "Canceled"})
"""NotResponding is no end: from it a job goes back to any state (Microsoft Learn, KnownJobStatus)."""
ENDED = ENDED_BADLY | {COMPLETED}
CANCELLING = "CancelRequested"
WORKING = frozenset({"Running", "Finalizing", CANCELLING, "NotResponding"})
"""In these a job or step has its nodes; before, they are waited for, which costs nothing."""
MOST_ATTEMPTS = 100


class JobFailed(Exception):
    """The pipeline job ended without a model. The message carries the failing step's own error and last log lines."""


class JobPreempted(JobFailed):
    """The job lost its nodes; a successor may well succeed."""


class JobStuck(JobFailed):
    """The job went on without producing anything, or past its deadline."""


def find_job(workspace: AzureMLWorkspace, name: str) -> Job | None:
    """The job called `name`, or None if there is none."""
    return if_there(lambda: workspace.client().jobs.get(name))


def attempts(workspace: AzureMLWorkspace, names: RunNames) -> list[Job]:
    """The run's jobs, oldest first. There is a second only after the first ended badly."""
    found: list[Job] = []
    for attempt in range(1, MOST_ATTEMPTS):
        job = find_job(workspace, names.job(attempt))
        if job is None:
            break
        found.append(job)
        if word(job.status) not in ENDED_BADLY:
            break
    return found


def take_over(workspace: AzureMLWorkspace, job: Job, names: RunNames) -> Job:
    """Makes another run's job this run's, if it still runs: whose tag it carries decides who cancels it in the end."""
    if run_id_of(job.tags) == names.run_id or word(job.status) in ENDED:
        return job
    return workspace.client().jobs.update(str(job.name), tags={RUN_TAG: str(names.run_id)})


def studio_url(job: Job) -> str:
    """The job's page in Azure ML studio; empty if Azure names none."""
    return str(getattr(job, "studio_url", None) or "")
