"""The training loop."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.training.batches import Batch, collate, evaluation_order, steps_from
from emulator.components.chat_completion.training.checkpoints import Checkpoints, Progress
from emulator.components.chat_completion.training.model import TrainedModel
from emulator.components.chat_completion.training.objective import AssistantLoss
from emulator.components.chat_completion.training.plan import Plan
from emulator.components.step import Terminated, UserError
from emulator.components.tracking import MetricLog

# A node that is taken away loses at most this much work, whatever the evaluation strategy is.
SECONDS_BETWEEN_CHECKPOINTS = 60.0
SECONDS_BETWEEN_LINES = 10.0

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a model as planned, from its newest checkpoint on where there is one.

    Everything random in a step follows from the plan's seed and the step's number. So a run that was interrupted ends
    where an uninterrupted one would.
    """

    def __init__(
        self,
        model: TrainedModel,
        train: EncodedSplit,
        validation: EncodedSplit,
        plan: Plan,
        metrics: MetricLog,
        checkpoints: Checkpoints,
        *,
        pad_to: int | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model = model
        self._train = train
        self._validation = validation
        self._plan = plan
        self._metrics = metrics
        self._checkpoints = checkpoints
        self._pad_to = pad_to
        self._stop_requested = stop_requested
        self._loss = AssistantLoss(model.module, model.autocast)
        self._parameters = list(model.trainable().values())
        self._optimizer = _optimizer(model, plan)
        self._scheduler = _scheduler(self._optimizer, plan)
        self._progress = Progress()
        self._saved_at = self._told_at = time.monotonic()

    def run(self) -> Progress:
        """Trains to the end (or until early stopping), leaving the best weights in the model.

        Raises:
            Terminated: a stop was requested; a checkpoint of the last finished step has been left.
        """
        self._resume()
        window: list[tuple[float, int, float]] = []
        for step, group in steps_from(self._train.lengths, self._plan, self._progress.step):
            started = time.monotonic()
            loss, norm, tokens = self._step(step, group)
            seconds = time.monotonic() - started
            window.append((loss, tokens, seconds))
            self._count(step, loss, tokens, seconds)
            if self._plan.logs_after(step):
                self._log_training(window, norm)
                window = []
            elif time.monotonic() - self._told_at > SECONDS_BETWEEN_LINES:
                self._tell(window)
            if self._plan.evaluates_after(step):
                self._evaluate_and_compare()
            if self._plan.saves_after(step):
                self._save()
            elif time.monotonic() - self._saved_at > SECONDS_BETWEEN_CHECKPOINTS:
                self._save(passing=True)
            if self._out_of_patience():
                logger.info("Early stopping: no gain in %d evaluations", self._progress.evaluations_without_gain)
                break
        self._finish()
        return self._progress

    def _resume(self) -> None:
        self._model.module.train()
        if found := self._checkpoints.load_newest(self._model, self._optimizer, self._scheduler):
            self._progress = found
            logger.info("Resuming from checkpoint-%d of %d steps", found.step, self._plan.total_steps)
            self._record({"checkpoint_load_step": float(found.step)})
        elif self._plan.eval_interval:
            self._evaluate()

    def _step(self, step: int, group: list[list[int]]) -> tuple[float, float, int]:
        """One optimizer step. Returns the mean loss per assistant token, the gradient's norm, and the tokens read."""
        torch.manual_seed(self._plan.seed + step)
        batches = [collate(self._train, rows, self._pad_to) for rows in group]
        learnt = sum(len(batch.targets) for batch in batches)
        loss = 0.0
        for batch in batches:
            self._stop_if_asked()
            part = self._loss(batch) / learnt
            part.backward()
            loss += part.item()
        if not math.isfinite(loss):
            raise UserError(f"The loss is {loss} at step {step}: training diverges. Give a smaller learning_rate.")
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._plan.max_grad_norm or math.inf)
        self._optimizer.step()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss, float(norm), sum(batch.tokens for batch in batches)

    def _count(self, step: int, loss: float, tokens: int, seconds: float) -> None:
        self._progress.step = step
        self._progress.loss_sum += loss
        self._progress.tokens += tokens
        self._progress.seconds += seconds

    def _evaluate(self) -> float:
        """Measures the loss per assistant token on the validation rows."""
        started = time.monotonic()
        total = 0.0
        count = 0
        order = evaluation_order(self._validation.lengths, self._plan.eval_batch_size)
        self._model.module.eval()
        with torch.inference_mode():
            for rows in order:
                self._stop_if_asked()
                batch: Batch = collate(self._validation, rows, self._pad_to)
                total += self._loss(batch).item()
                count += len(batch.targets)
        self._model.module.train()
        loss, seconds = total / count, time.monotonic() - started
        self._record(
            {
                "eval_loss": loss,
                "eval_runtime": seconds,
                "eval_samples_per_second": len(self._validation) / seconds,
                "eval_steps_per_second": len(order) / seconds,
                "epoch": self._epoch,
            }
        )
        logger.info("step %d/%d · eval_loss %.4f (%.1f s)", self._progress.step, self._plan.total_steps, loss, seconds)
        return loss

    def _evaluate_and_compare(self) -> None:
        loss, progress = self._evaluate(), self._progress
        gained = progress.best_loss is None or loss < progress.best_loss - self._plan.early_stopping_threshold
        progress.evaluations_without_gain = 0 if gained else progress.evaluations_without_gain + 1
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step

    def _out_of_patience(self) -> bool:
        patience = self._plan.early_stopping_patience
        return patience is not None and self._progress.evaluations_without_gain >= patience

    def _save(self, passing: bool = False) -> None:
        self._checkpoints.save(self._model, self._optimizer, self._scheduler, self._progress, passing)
        self._saved_at = time.monotonic()
        self._record({"checkpoint_save_step": float(self._progress.step)})

    def _stop_if_asked(self) -> None:
        if not self._stop_requested():
            return
        step = self._progress.step
        if step and not self._checkpoints.path(step).is_dir():
            self._checkpoints.save(self._model, self._optimizer, self._scheduler, self._progress, passing=True)
        raise Terminated(f"Asked to stop: stopped after step {step} of {self._plan.total_steps}.")

    def _finish(self) -> None:
        progress = self._progress
        seconds = max(progress.seconds, 1e-9)
        self._record(
            {
                "train_loss": progress.loss_sum / max(progress.step, 1),
                "train_runtime": progress.seconds,
                "train_samples_per_second": progress.step * self._plan.rows / self._plan.steps_per_epoch / seconds,
                "train_steps_per_second": progress.step / seconds,
                "train_tokens_per_second": progress.tokens / seconds,
                "epoch": self._epoch,
            }
        )
        logger.info(
            "Trained %d steps in %.1f s: train_loss %.4f, %.0f tokens/s",
            progress.step, progress.seconds, progress.loss_sum / max(progress.step, 1), progress.tokens / seconds,
        )  # fmt: skip
        if progress.best_step is not None and progress.best_step != progress.step:
            logger.info(
                "The best weights are those of step %d (eval_loss %.4f)", progress.best_step, progress.best_loss
            )
            self._model.load_trainable(self._checkpoints.path(progress.best_step))

    @property
    def _epoch(self) -> float:
        return self._progress.step / self._plan.steps_per_epoch

    def _log_training(self, window: list[tuple[float, int, float]], norm: float) -> None:
        self._record(
            {
                "loss": sum(loss for loss, _, _ in window) / len(window),
                "grad_norm": norm,
                "learning_rate": self._scheduler.get_last_lr()[0],
                "epoch": self._epoch,
                "tokens_per_second": _speed(window),
            }
        )
        self._tell(window)

    def _tell(self, window: list[tuple[float, int, float]]) -> None:
        progress, total = self._progress, self._plan.total_steps
        remaining = round((total - progress.step) * progress.seconds / progress.step)
        logger.info(
            "step %d/%d · epoch %.2f · loss %.4f · lr %.2e · %.0f tokens/s · %d:%02d left",
            progress.step, total, self._epoch, window[-1][0], self._scheduler.get_last_lr()[0], _speed(window),
            *divmod(remaining, 60),
        )  # fmt: skip
        self._told_at = time.monotonic()

    def _record(self, values: dict[str, float]) -> None:
        self._progress.log_history.append({**values, "step": self._progress.step})
        self._metrics.log(values, self._progress.step)


def _speed(window: list[tuple[float, int, float]]) -> float:
    return sum(tokens for _, tokens, _ in window) / max(sum(seconds for _, _, seconds in window), 1e-9)


def _optimizer(model: TrainedModel, plan: Plan) -> Any:
    # Biases and the gains of normalisation layers (vectors) are not decayed, as is usual.
    parameters = list(model.trainable().values())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if plan.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(groups, lr=plan.learning_rate, scale_parameter=False, relative_step=False)
    betas = (plan.adam_beta1, plan.adam_beta2)
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=betas, eps=plan.adam_epsilon, fused=True)


def _scheduler(optimizer: Any, plan: Plan) -> Any:
    from transformers import get_scheduler

    return get_scheduler(plan.scheduler, optimizer, plan.warmup_steps, plan.total_steps)
