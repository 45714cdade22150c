"""Reviews what the training measured, and decides whether the model goes on.

Promise: reads only. A closed gate is an answer, not a failure.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from tasks.artifacts import line_chart, markdown_table, publish_markdown
from tasks.azure_ml.errors import find
from tasks.azure_ml.tracking import Measured, Tracking
from tasks.credentials import WorkspaceIdentity
from tasks.forecast import LEARNT_FROM, Forecast
from tasks.form import ParameterGroup
from tasks.naming import dated, predecessor
from tasks.stage import run_logger, stage
from tasks.waiting import FinishedJob

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

LOSS, EVAL_LOSS = "loss", "eval_loss"
"""As transformers' Trainer names them; the component logs them under these names to the pipeline's run."""
SHOWN_STEPS = 20
"""Of a history, at most: more are for the chart, and for MLflow."""
RESUMED_AT = "checkpoint_load_step"
FIGURES = {
    "used": "rows_used", "left_out": "rows_left_out", "too_long": "rows_left_out_too_long", "truncated": "rows_truncated",
    "tokens": "tokens", "tokens_with_loss": "tokens_with_loss",
}  # fmt: skip
"""The metrics that tell what became of a split's rows, behind its name and an underscore."""


class GateParameters(ParameterGroup):
    """What a model must reach to be registered. An empty field sets no bound."""

    max_eval_loss: float | None = Field(
        None,
        gt=0,
        title="Highest loss",
        description="Validation loss (nats a token) above which the model is rejected.",
        examples=[1.5],
    )
    max_worse_than_champion: float | None = Field(
        None,
        ge=0,
        title="Worse than champion by",
        description="How much higher the validation loss may be than the champion's (nats a token): the newest version of the same "
        "model name that has one. Without a champion nothing is checked.",
        examples=[0.05],
    )
    must_improve: bool = Field(
        False,
        title="Must improve",
        description="Reject a model whose validation loss is not lower than before training. Where the component measures none "
        "before training, nothing is checked.",
    )


class Champion(BaseModel):
    """The version registered last that has a validation loss."""

    version: str
    eval_loss: float


class LearntRows(BaseModel):
    """What the trainer made of a split, by its own figures. None where the component logs none, as Azure's does not."""

    used: int
    left_out: int
    too_long: int
    """Of those left out: no answer begins within `max_seq_length`."""
    truncated: int
    """Of those used: the end is cut off."""
    tokens: int
    tokens_with_loss: int

    def sentence(self) -> str:
        """In one line."""
        rows = self.used + self.left_out
        told = f"{self.used} of {rows} rows, {self.tokens_with_loss:,} of their {self.tokens:,} tokens are learnt"
        if self.left_out:
            some = f"{self.too_long} of them " if self.too_long < self.left_out else ""
            why = f", {some}for no answer within max_seq_length" if self.too_long else ""
            told += f"; {self.left_out} {'row was' if self.left_out == 1 else 'rows were'} left out{why}"
        return told + (f"; {self.truncated} cut off" if self.truncated else "")


class MetricReview(BaseModel):
    """What was measured, and the verdict."""

    eval_loss_before: float | None
    """Before the first training step; None where the component does not measure it."""
    eval_loss: float | None
    train_loss: float | None
    steps: int
    learnt: dict[str, LearntRows] = {}
    """By split: train, validation, test."""
    champion: Champion | None
    accepted: bool
    reasons: list[str]
    """Why the gate is closed; empty if it is open."""


@stage
def review_metrics(
    workspace: AzureMLWorkspace, where: WorkspaceIdentity, job: FinishedJob, gate: GateParameters, model_name: str
) -> MetricReview:
    """Reads the job's loss and validation loss, compares them with `gate` and the champion among `model_name`'s versions."""
    tracking = Tracking(workspace, where.tracking_uri)
    run_id, metrics = _measured_run(tracking, job)
    loss = curve(_history(tracking, run_id, LOSS, job.name, job.attempt))
    evaluations = curve(_history(tracking, run_id, EVAL_LOSS, job.name, job.attempt))
    champion = find_champion(workspace, model_name, other_than_job=job.name)
    before = evaluations[0][1] if len(evaluations) > 1 and evaluations[0][0] == 0 else None
    after = evaluations[-1][1] if evaluations else None
    trained = loss[-1][1] if loss else None
    reasons = why_closed(gate, before, after, champion, trained)
    review = MetricReview(
        eval_loss_before=before,
        eval_loss=after,
        train_loss=trained,
        steps=max((step for step, _ in [*loss, *evaluations]), default=0),
        learnt=_learnt(metrics),
        champion=champion,
        accepted=not reasons,
        reasons=reasons,
    )
    for split, rows in review.learnt.items():
        run_logger().log(logging.WARNING if rows.left_out else logging.INFO, "%s: %s", split, rows.sentence())
    run_logger().info(
        "Validation loss %s -> %s; gate %s",
        _shown(before),
        _shown(after),
        "open" if review.accepted else "closed: " + " ".join(reasons),
    )
    curves = {name: line for name, line in (("training loss", loss), ("validation loss", evaluations)) if line}
    page = (line_chart(curves), _page(review, job.forecast), history_table(curves))
    publish_markdown("metrics", f"Metrics of {job.name}", "\n\n".join(filter(None, page)))
    return review


def history_table(curves: dict[str, list[tuple[int, float]]]) -> str:
    """The `curves`, each of (step, value), beside each other by step: all of a short history, evenly chosen steps of a long one,
    the first and the last among them. Empty if there are none."""
    from pandas import DataFrame

    table = DataFrame({name: {step: _shown(value) for step, value in line} for name, line in curves.items()})
    if table.empty:
        return ""
    shown = min(SHOWN_STEPS, len(table))
    places = sorted({round(number * (len(table) - 1) / max(1, shown - 1)) for number in range(shown)})
    chosen = table.sort_index().fillna("").iloc[places]
    return markdown_table(("step", *chosen.columns), chosen.itertuples())


def _page(review: MetricReview, forecast: Forecast) -> str:
    """What was measured against what there was, and the verdict in words."""
    champion, after = review.champion, review.eval_loss
    rows = {
        "Validation loss before training": _shown(review.eval_loss_before),
        "Validation loss": _shown(after),
        "Of the model registered last": _shown(champion.eval_loss) if champion else "there is none",
        "Training loss, last": _shown(review.train_loss),
        "Steps": review.steps,
    }
    compared = [_change(review.eval_loss_before, after, "before training")]
    if champion is not None:
        compared.append(
            _change(champion.eval_loss, after, f"version {dated(champion.version)}, which was registered last")
        )
    verdict = (
        "The gate is open: the model goes on." if review.accepted else "The gate is closed: " + " ".join(review.reasons)
    )
    table = markdown_table(("Loss in nats a token", ""), rows.items())
    learnt = _forecast_and_learnt(forecast, review.learnt)
    return "\n\n".join([table, *filter(None, (*learnt, *compared)), f"**{verdict}**"])


def _forecast_and_learnt(forecast: Forecast, learnt: dict[str, LearntRows]) -> list[str]:
    """What could be learnt at most, beside what the trainer says that it used; nothing where neither is known."""
    rows = []
    for split in LEARNT_FROM:
        told, used = forecast.splits.get(split), learnt.get(split)
        if told is None and used is None:
            continue
        limited = told if forecast.limit is not None else None
        missing = "cut off train" if forecast.splits and told is None else "unknown"
        rows.append(
            (
                split,
                told.sampled if told else used.used + used.left_out if used else "",
                f"{limited.rows_with_answer} of {limited.looked_at}" if limited else missing,
                *((used.used, used.left_out, used.too_long, used.truncated) if used else ("unknown",) * 4),
                f"{told.answer_tokens:,}" if told else "unknown",
                f"{limited.answer_tokens_within:,}" if limited else "unknown",
                *((f"{used.tokens_with_loss:,}", f"{used.tokens:,}") if used else ("unknown",) * 2),
            )
        )
    header = (
        "Learnt from", "rows sampled", "can be learnt, at most", "used by the trainer", "left out", "too long", "cut off",
        "tokens of answers", "of them within the limit", "with loss", "of the tokens used",
    )  # fmt: skip
    untold = "" if learnt else "The component does not tell what it used. The forecast is an upper bound."
    return [markdown_table(header, rows), untold, *forecast.notes, forecast.why_none] if rows else [forecast.why_none]


def _learnt(metrics: dict[str, float]) -> dict[str, LearntRows]:
    """The trainer's figures among a run's last metrics."""
    found = {}
    for split in ("train", "validation", "test"):
        figures = {
            name: int(metrics[f"{split}_{metric}"])
            for name, metric in FIGURES.items()
            if math.isfinite(metrics.get(f"{split}_{metric}", math.nan))
        }
        if "used" in figures:
            found[split] = LearntRows(**{name: figures.get(name, 0) for name in FIGURES})
    return found


def _change(before: float | None, after: float | None, what: str) -> str:
    if before is None or after is None or not math.isfinite(after - before):
        return ""
    return f"The validation loss is {abs(after - before):.4f} {'lower' if after < before else 'higher'} than {what}."


def curve(measured: Sequence[Measured]) -> list[tuple[int, float]]:
    """(step, value), one a step: the last that was logged there. But at the last step one that is not finite counts before
    others: what was measured beside it does not make the training sound."""
    ordered = sorted(measured)
    values = {point.step: point.value for point in ordered}
    for point in ordered:
        if point.step == ordered[-1].step and not math.isfinite(point.value):
            values[point.step] = point.value
    return list(values.items())


def why_closed(
    gate: GateParameters,
    before: float | None,
    after: float | None,
    champion: Champion | None,
    trained: float | None = None,
) -> list[str]:
    """Why the model must not go on: a training that diverged, a loss that is none, or the bounds of `gate` that are not kept.

    Args:
        before, after: validation loss before and after the training.
        trained: the last training loss.
    """
    for name, loss in (("validation", after), ("training", trained)):
        if loss is not None and not math.isfinite(loss):
            return [f"The {name} loss is {loss}: the training diverged."]
    # A training loss of 0 beside a validation loss is only a rounded one: transformers logs four decimals of it.
    name, loss = ("validation", after) if after is not None else ("training", trained)
    if loss is not None and loss <= 0:
        # https://github.com/huggingface/trl/issues/6668
        return [f"The {name} loss is {loss:g}, which no model reaches: most likely no token had a loss, as where max_seq_length "
                "cuts off every answer."]  # fmt: skip
    bounded = gate.max_eval_loss is not None or gate.max_worse_than_champion is not None or gate.must_improve
    if after is None:
        return ["The job logged no validation loss, so the gate cannot be judged."] if bounded else []
    reasons = []
    if gate.max_eval_loss is not None and after > gate.max_eval_loss:
        reasons.append(f"Validation loss {after:.4f} is above the bound {gate.max_eval_loss:g}.")
    worst = gate.max_worse_than_champion
    if worst is not None and champion is not None and after > champion.eval_loss + worst:
        reasons.append(
            f"Validation loss {after:.4f} is worse than the {champion.eval_loss:.4f} of version {dated(champion.version)} by more "
            f"than {worst:g}."
        )
    if gate.must_improve and before is not None and not after < before:
        reasons.append(f"Validation loss {after:.4f} is not lower than the {before:.4f} before training.")
    return reasons


def find_champion(workspace: AzureMLWorkspace, model_name: str, other_than_job: str) -> Champion | None:
    """The newest version of `model_name` that carries a validation loss which can be compared with, apart from one made from
    this very job."""
    versions = find(lambda: list(workspace.client().models.list(name=model_name))) or []
    measured = [
        version
        for version in versions
        if _loss_of(version) is not None and (version.tags or {}).get("job") != other_than_job
    ]
    if not measured:
        return None
    newest = max(measured, key=lambda version: str(getattr(version.creation_context, "created_at", "")))
    return Champion(version=str(newest.version), eval_loss=_loss_of(newest) or 0.0)


def _loss_of(version: Model) -> float | None:
    try:
        loss = float((version.tags or {})[EVAL_LOSS])
    except (KeyError, ValueError):
        return None
    return loss if 0 < loss < math.inf else None


def _measured_run(tracking: Tracking, job: FinishedJob) -> tuple[str, dict[str, float]]:
    """The pipeline's own run, or where the component logged nothing there, the step that did; and its last metrics."""
    own = tracking.run(job.name).metrics
    if not {LOSS, EVAL_LOSS} & own.keys():
        for step in job.steps:
            metrics = tracking.run(step.run_id).metrics
            if {LOSS, EVAL_LOSS} & metrics.keys():
                return step.run_id, metrics
    return job.name, own


def _history(tracking: Tracking, run_id: str, metric: str, job: str, attempt: int) -> list[Measured]:
    """What `job` measured; for one that went on from a checkpoint also what its predecessor measured up to there."""
    own = tracking.history(run_id, metric)
    before = predecessor(job, attempt)
    resumed_at = tracking.run(run_id).metrics.get(RESUMED_AT) if before else None
    if before is None or resumed_at is None:
        return own
    earlier = _history(tracking, before, metric, before, attempt - 1)
    return [point for point in earlier if point.step <= resumed_at] + own


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
