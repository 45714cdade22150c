"""Every name that is derived from a run.

The same run always gets the same names, and no two runs ever share one: that is what makes a retry, a crash, a resume
and a lost answer the same case. All 128 bits of the flow run id are in them (ids that a scheduler makes begin alike).
"""

from __future__ import annotations

import re
from base64 import b32encode
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from blocks.names import EXPERIMENT, MODEL

PREFIX = "ft-"
RUN_TAG = "prefect_flow_run_id"
SERVER_TAG, BLOCK_TAG = "prefect_server", "prefect_block"
"""Of every resource: which Prefect server knows its run, and which AzureMLWorkspace block that run worked with."""
CREATOR_TAG, CREATOR = "created_by", "finetune"
NIGHT_TAG = "scheduled_start"
"""Of a job: for when the run that submitted it was scheduled."""
DEPLOYMENT = "demo"
OUTPUT = "trained_model"
"""Of the pipeline job: the tuned model."""


@dataclass(frozen=True)
class RunNames:
    """The names of one flow run's resources.

    `resume_run`: the run with whose job it goes on. `job_key`: in its place a word that names a job, which older versions took;
    one run after the other goes on with it.
    """

    run_id: UUID
    resume_run: UUID | None = None
    job_key: str | None = None
    night: datetime | None = None
    """For when the run was scheduled."""
    server: str = ""
    """The id of the Prefect server that knows the run."""
    block: str = ""
    """The AzureMLWorkspace block that it works with."""

    @property
    def endpoint(self) -> str:
        """29 characters."""
        return PREFIX + short(self.run_id)

    @property
    def _base_job(self) -> str:
        return PREFIX + (self.job_key.removeprefix(PREFIX) if self.job_key else short(self.resume_run or self.run_id))

    @property
    def shares(self) -> bool:
        """Whether its job may be another run's."""
        return bool(self.resume_run or self.job_key)

    def job(self, attempt: int) -> str:
        """The run's first job, or its successor `-r2`, `-r3`, ... after failures."""
        return self._base_job if attempt == 1 else f"{self._base_job}-r{attempt}"

    def tags(self, **more: str) -> dict[str, str]:
        """What every resource of the run carries: the reaper and people find its run by them."""
        whose = {SERVER_TAG: self.server, BLOCK_TAG: self.block}
        return {
            RUN_TAG: str(self.run_id),
            CREATOR_TAG: CREATOR,
            **{tag: value for tag, value in whose.items() if value},
            **more,
        }


def short(run_id: UUID) -> str:
    """All of `run_id` in 26 lower-case letters and digits (base32, RFC 4648)."""
    return b32encode(run_id.bytes).decode().rstrip("=").lower()


def predecessor(job: str, attempt: int) -> str | None:
    """The job of the same run before `job`, which is its attempt number `attempt`; None before the first."""
    if attempt == 1:
        return None
    base = job.removesuffix(f"-r{attempt}")
    return base if attempt == 2 else f"{base}-r{attempt - 1}"


def run_id_of(tags: dict[str, str] | None) -> UUID | None:
    """The flow run that made the resource with these `tags`; None if no run of this flow did."""
    try:
        return UUID((tags or {})[RUN_TAG])
    except (KeyError, ValueError):
        return None


def serves(model: str, run_id: UUID) -> str:
    """The description of a run's endpoint."""
    return f"Serves {model}, fine-tuned by flow run {run_id}"


def run_id_in(description: str | None) -> UUID | None:
    """The flow run that a description names; None if it names none."""
    found = re.search(r"fine-tuned by flow run ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", description or "")
    return UUID(found[1]) if found else None


def is_derived(name: str) -> bool:
    """Whether a job or endpoint is called as only runs of this flow call theirs."""
    return re.fullmatch(re.escape(PREFIX) + r"[a-z2-7]{26}(-r\d+)?", name) is not None


def dataset_label(source: str) -> str:
    """What a dataset is called in names: `HuggingFaceH4/ultrachat_200k` is `ultrachat-200k`."""
    last = re.split(r"[/\\:]", source.rstrip("/"))[-1]
    return slug(re.sub(r"\.(parquet|jsonl|json)$", "", last)) or "data"


def dataset_word(source: str) -> str:
    """What a dataset is called in the job's display name: its label without the size, so `ultrachat`."""
    return re.sub(r"-\d+k$", "", dataset_label(source))


def model_name(base_model: str, source: str) -> str:
    """The fine-tuned model's name, as the reference notebook gives it: `{base model}-{dataset}`."""
    return slug(f"{base_model}-{dataset_label(source)}")[: MODEL.longest]


def experiment_name(base_model: str) -> str:
    """The experiment's name where none is chosen, as the reference notebook gives it."""
    return f"chat_completion_{slug(base_model)}"[: EXPERIMENT.longest]


def first_version(night: datetime) -> int:
    """The version that the model of that night gets unless another holds it: seconds since 1970, as the reference notebook's.
    Azure ML takes nothing but positive integers for a model, below 2^31."""
    return int(night.timestamp())


def dated(version: str) -> str:
    """A model's version with the day that it stands for: `1795831200 (27 November 2026)`."""
    if not version.isdecimal() or not 10**9 <= int(version) < 2**31:
        return version
    return f"{version} ({datetime.fromtimestamp(int(version), UTC):%d %B %Y})"


def night_label(due: datetime) -> str:
    """When a run was due, in UTC, for people: to the minute, or to the second for one that somebody started by hand."""
    return f"{due.astimezone(UTC):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def slug(text: str) -> str:
    """`text` in letters, digits and dashes: what every name of Azure ML may have."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
