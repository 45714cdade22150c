"""Azure ML jobs, as the stages find them: by name, with what their states mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import find
from tasks.azure_ml.states import ENDED, ENDED_BADLY, word
from tasks.naming import RUN_TAG, RunNames, run_id_of
from tasks.runs import RunState, lives, read_run, state_of

if TYPE_CHECKING:
    from azure.ai.ml.entities import Job

MOST_ATTEMPTS = 100


class JobFailed(Exception):
    """The pipeline job ended without a model. The message carries the failing step's own error and last log lines."""


class JobTaken(Exception):
    """The job is another run's, which waits for it."""


class JobPreempted(JobFailed):
    """The job lost its nodes; a successor may well succeed."""


class JobStuck(JobFailed):
    """The job went on without producing anything, or past its deadline."""


def find_job(workspace: AzureMLWorkspace, name: str) -> Job | None:
    """The job called `name`, or None if there is none."""
    return find(lambda: workspace.client().jobs.get(name))


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
    """Makes the job of a run that is over this run's, if it still runs: whose tag it carries decides who cancels it in the end.

    Raises:
        JobTaken: its run is not over, as far as Prefect's server knows.
    """
    of = run_id_of(job.tags)
    if of == names.run_id or word(job.status) in ENDED:
        return job
    its = read_run(of) if of else None
    if of and state_of(its) is RunState.UNKNOWN:
        raise JobTaken(
            f"Job {job.name} still runs, for flow run {of}, which this Prefect server does not know: nobody can say whether it "
            "waits for the job. Nothing of it was touched. Start this run again when the job has ended: nothing trains twice then."
        )
    if its and state_of(its) is RunState.ALIVE:
        raise JobTaken(lives(its, f"Job {job.name}"))
    taken: Job = workspace.client().jobs.update(str(job.name), tags={RUN_TAG: str(names.run_id)})
    return taken


def studio_url(job: Job) -> str:
    """The job's page in Azure ML studio; empty if Azure names none."""
    return str(getattr(job, "studio_url", None) or "")
