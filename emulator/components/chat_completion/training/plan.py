"""What a training run will do, worked out before it starts: how many steps, and what happens after which."""

import math
from argparse import Namespace
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The hyper-parameters of a run, under the component's names, and the steps that follow from them.

    Attributes:
        rows: training rows in an epoch.
        total_steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.
        eval_interval: steps between two evaluations; 0 for none.
        logging_interval: steps between two lines of metrics.
    """

    rows: int
    batch_size: int
    eval_batch_size: int
    accumulation: int
    total_steps: int
    steps_per_epoch: int
    eval_interval: int
    logging_interval: int
    learning_rate: float
    optimizer: str
    scheduler: str
    warmup_steps: int
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float
    seed: int
    save_total_limit: int
    early_stopping_patience: int | None
    early_stopping_threshold: float

    @classmethod
    def of(cls, arguments: Namespace, rows: int) -> "Plan":
        """Works the plan out for `rows` training rows."""
        accumulation = max(1, arguments.gradient_accumulation_steps)
        batches = math.ceil(rows / arguments.per_device_train_batch_size)
        per_epoch = math.ceil(batches / accumulation)
        total = arguments.max_steps if arguments.max_steps > 0 else per_epoch * arguments.num_train_epochs
        return cls(
            rows=rows,
            batch_size=arguments.per_device_train_batch_size,
            eval_batch_size=arguments.per_device_eval_batch_size,
            accumulation=accumulation,
            total_steps=total,
            steps_per_epoch=per_epoch,
            eval_interval=_eval_interval(arguments, per_epoch),
            logging_interval=max(1, arguments.logging_steps) if arguments.logging_strategy == "steps" else per_epoch,
            learning_rate=arguments.learning_rate,
            optimizer=arguments.optim,
            scheduler=arguments.lr_scheduler_type,
            warmup_steps=arguments.warmup_steps,
            weight_decay=arguments.weight_decay,
            adam_beta1=arguments.adam_beta1,
            adam_beta2=arguments.adam_beta2,
            adam_epsilon=arguments.adam_epsilon,
            max_grad_norm=arguments.max_grad_norm,
            seed=arguments.seed,
            save_total_limit=arguments.save_total_limit,
            early_stopping_patience=arguments.early_stopping_patience if arguments.apply_early_stopping else None,
            early_stopping_threshold=arguments.early_stopping_threshold,
        )

    def evaluates_after(self, step: int) -> bool:
        """Whether the validation loss is measured after `step` (always after the last one, unless evaluation is off)."""
        return bool(self.eval_interval) and (step == self.total_steps or step % self.eval_interval == 0)

    def logs_after(self, step: int) -> bool:
        """Whether training metrics are logged after `step`."""
        return step == self.total_steps or step % self.logging_interval == 0

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint is due: after each evaluation, or after each epoch where evaluation is off."""
        return (
            self.evaluates_after(step)
            or step == self.total_steps
            or step % (self.eval_interval or self.steps_per_epoch) == 0
        )


def _eval_interval(arguments: Namespace, steps_per_epoch: int) -> int:
    match arguments.evaluation_strategy:
        case "disable":
            return 0
        case "epoch":
            return steps_per_epoch
    if arguments.evaluation_steps_interval > 0:
        return max(1, math.ceil(arguments.evaluation_steps_interval * steps_per_epoch))
    return max(1, arguments.eval_steps)
