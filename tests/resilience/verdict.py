"""What a run made and left, and how every run ended: judged by Azure's and Prefect's own records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tasks.azure_ml.errors import is_not_found
from tasks.azure_ml.states import ENDED, word
from tasks.naming import RunNames, run_id_of

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
MOST_ATTEMPTS = 4
HOOK_FAILED = "An error was encountered while running hook"


@dataclass(frozen=True)
class Expected:
    """How a run may end and how many it may have made by then."""

    ended: str
    """The final state's name."""
    jobs: Collection[int]
    versions: Collection[int]

    def unlike(self, state: str, jobs: int, versions: int) -> list[str]:
        """How a run differs from it that ended in `state` and made so many jobs and model versions."""
        wrong = [] if state == self.ended else [f"ended {state}"]
        wrong += [] if jobs in self.jobs else [f"submitted {jobs} jobs"]
        return wrong + ([] if versions in self.versions else [f"registered {versions} versions"])


def not_well(runs: Iterable[dict[str, Any]]) -> list[str]:
    """Which of the runs that had to put things right did not come to a good end."""
    return [f"flow run {run['name']} is {run['state_name']}" for run in runs if run["state_name"] != "Completed"]


@dataclass(frozen=True)
class Records:
    """Of Azure, through the real MLClient, and of Prefect, through its API: `ask` takes a path, a body and a method."""

    client: Any
    ask: Callable[..., Any]

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:
        """The flow runs that match, the latest first."""
        return self.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 200, **wanted})

    def tasks(self, id: str) -> list[dict[str, Any]]:
        """The flow run's task runs."""
        return self.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [id]}}, "limit": 200})

    def job(self, name: str) -> Any:
        """The job called `name`, or None."""
        return _or_none(lambda: self.client.jobs.get(name))

    def jobs(self, of: UUID | None = None) -> list[Any]:
        """All jobs, or those of one run."""
        names = [] if of is None else [RunNames(of).job(attempt) for attempt in range(1, MOST_ATTEMPTS)]
        found = self.client.jobs.list() if of is None else map(self.job, names)
        return [job for job in found if job is not None]

    def endpoints(self, of: UUID | None = None) -> set[str]:
        """All endpoints, or those that carry one run's tag."""
        found = self.client.online_endpoints.list()
        return {str(endpoint.name) for endpoint in found if of is None or run_id_of(endpoint.tags) == of}

    def versions(self, model: str) -> int:
        """How many versions of `model` are registered."""
        return len(_or_none(lambda: list(self.client.models.list(name=model))) or [])

    def left(self, of: UUID | None = None) -> list[str]:
        """What costs money and is still there: of anybody, or of one run."""
        jobs = [job for job in self.jobs(of) if word(job.status) not in ENDED]
        return [f"left endpoint {name}" for name in sorted(self.endpoints(of))] + [
            f"left job {job.name} {word(job.status)}" for job in jobs
        ]


def _or_none(found: Callable[[], Any]) -> Any:
    try:
        return found()
    except Exception as error:
        if is_not_found(error):
            return None
        raise
