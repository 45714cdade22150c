"""The cells of the matrix: at which stage a run is met, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flows.stages import STAGES
from tests.resilience.seen import KEPT, Book
from tests.resilience.verdict import Expected


class Stage(StrEnum):
    """The flow's stages, in the order in which a run can be met in them."""

    # Into the class while it is made: every name becomes a member.
    vars().update({stage.name.upper(): stage.name for stage in STAGES})


class Death(StrEnum):
    """What happens to a run."""

    KILLED = "SIGKILL of the flow process"
    TERMINATED = "SIGTERM"
    RESCHEDULED = "SIGTERM with reschedule, twice"
    WORKER_KILLED = "SIGKILL of worker and flow"
    WORKER_SHUT_DOWN = "worker shutdown"
    CANCELLED = "cancel"
    SERVER_RESTARTED = "server restart"
    SUSPENDED = "suspend and resume"

    @property
    def survived(self) -> bool:
        """Whether the same run goes on afterwards, to its end."""
        return self in (Death.RESCHEDULED, Death.WORKER_SHUT_DOWN, Death.SERVER_RESTARTED, Death.SUSPENDED)


@dataclass(frozen=True)
class Cell:
    """A stage and a death in it."""

    stage: Stage
    death: Death

    def __str__(self) -> str:
        return f"{self.stage} x {self.death}"

    @property
    def stages(self) -> tuple[str, ...]:
        """The one, by its name."""
        return (self.stage.value,)

    @property
    def expected(self) -> Expected:
        """How the run must end that meets its last death here, and what it may have made by then."""
        if self.death.survived:
            return Expected("Completed", {1}, {1})
        ended = "Cancelled" if self.death is Death.CANCELLED else "Crashed"
        return Expected(ended, self._made_by(Stage["SUBMIT_PIPELINE"]), self._made_by(Stage["REGISTER_MODEL"]))

    def _made_by(self, maker: Stage) -> set[int]:
        """How many of what the stage `maker` makes: one after it, none before it, and in it nobody knows."""
        here, there = list(Stage).index(self.stage), list(Stage).index(maker)
        return {0, 1} if here == there else {int(here > there)}


OWN = ("cells", "holds", "ordeal", "site", "strikes", "verdict")
BOOK = Book(KEPT / "deaths.jsonl", Cell, ("deployments", "prefect.yaml", *(f"tests/deaths/{name}.py" for name in OWN)))

WHOLE = [Cell(stage, death) for stage in Stage for death in Death]

AT = (
    "submit_pipeline", "create_endpoint", "submit_pipeline", "validate_compute", "wait_for_pipeline", "wait_for_pipeline",
    "create_deployment", "register_model",
)  # fmt: skip
SLICE = [Cell(Stage(stage), death) for stage, death in zip(AT, Death, strict=True)]
"""One of each death; the stages are those that make something which can be doubled or left running."""
