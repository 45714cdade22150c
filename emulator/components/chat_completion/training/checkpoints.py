"""Checkpoints: folders `checkpoint-{step}` in the step's output folder, each whole or not there at all."""

import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from emulator.components.chat_completion.training.model import TrainedModel

STATE, OPTIMIZER = "trainer_state.json", "optimizer.pt"

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        step: optimizer steps done.
        loss_sum: sum of the loss over all steps done; `train_loss` is its mean.
        tokens: tokens trained on.
        seconds: time spent in training steps, over all attempts.
        best_step: the step with the lowest validation loss, None before the first evaluation after a step.
        evaluations_without_gain: in a row, for early stopping.
        passing: the checkpoint only guards against a kill, and goes when there is a newer one.
    """

    step: int = 0
    loss_sum: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_loss: float | None = None
    evaluations_without_gain: int = 0
    passing: bool = False
    log_history: list[dict[str, float]] = field(default_factory=list)


class Checkpoints:
    """Saves, finds and prunes the checkpoints of one run.

    Args:
        folder: where they live.
        limit: how many to keep; -1 for all. The best and the newest one are always kept.
    """

    def __init__(self, folder: Path, limit: int = -1) -> None:
        self._folder = folder
        self._limit = limit

    def path(self, step: int) -> Path:
        return self._folder / f"checkpoint-{step}"

    def all(self) -> list[Path]:
        """Every checkpoint, oldest first."""
        found = [path for path in self._folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))

    def clear(self) -> None:
        """Deletes what another training has left: this one does not go on from it."""
        for path in self.all():
            logger.info("Deleting %s: it is not to be resumed from.", path.name)
            shutil.rmtree(path)

    def save(
        self, model: TrainedModel, optimizer: Any, scheduler: Any, progress: Progress, passing: bool = False
    ) -> Path:
        """Writes a checkpoint under another name and moves it into place, so that a kill leaves none in halves."""
        progress.passing = passing
        target = self.path(progress.step)
        scratch = target.with_name(f"{target.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        model.save_trainable(scratch)
        torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, scratch / OPTIMIZER)
        (scratch / STATE).write_text(json.dumps(asdict(progress)), "utf-8")
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
        self._prune(progress)
        return target

    def load_newest(self, model: TrainedModel, optimizer: Any, scheduler: Any) -> Progress | None:
        """Puts the newest checkpoint's state into model, optimizer and scheduler; None without a checkpoint."""
        if not (found := self.all()):
            return None
        model.load_trainable(found[-1])
        state = torch.load(found[-1] / OPTIMIZER, weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        return Progress(**json.loads((found[-1] / STATE).read_text("utf-8")))

    def _prune(self, progress: Progress) -> None:
        for path in self.all():
            if path != self.path(progress.step) and json.loads((path / STATE).read_text("utf-8"))["passing"]:
                shutil.rmtree(path)
        if self._limit < 1:
            return
        kept = {self.path(progress.step)} | ({self.path(progress.best_step)} if progress.best_step else set())
        old = [path for path in self.all() if path not in kept]
        for path in old[: max(0, len(old) + len(kept) - self._limit)]:
            shutil.rmtree(path)
