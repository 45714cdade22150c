"""Samples the dataset that the model is trained, validated, tested and smoke-scored with.

Promise: the same source revision and parameters give the same files, byte for byte, and each row in them has been
checked. When a row, a file or the source is not as it must be, there is no sample and the error says why.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any, cast

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.blocks.system import Secret
from prefect.context import TaskRunContext

from blocks.azure_ml_workspace import AzureMLWorkspace
from tasks.artifacts import publish_markdown, publish_table
from tasks.sampling.parameters import DatasetSampling, SplitOptions
from tasks.sampling.results import Bucket, SampledDataset, SampledSplit
from tasks.stage import run_logger, stage

__all__ = ["Bucket", "DatasetSampling", "SampledDataset", "SampledSplit", "SplitOptions", "sample_dataset"]

SHOWN_ROWS = 5
SHOWN_CHARACTERS = 200
PROGRESS_SECONDS = 2.0
"""The progress artifact is not moved more often: each move is a call to Prefect's API."""


@stage
def sample_dataset(
    params: DatasetSampling, directory: Path, workspace: AzureMLWorkspace | None = None
) -> SampledDataset:
    """Writes the sample below `directory`, or finds there what an earlier run wrote.

    Args:
        params: which rows of which dataset.
        directory: keeps the samples of all runs, each in a folder named by its content's key.
        workspace: where `azureml:` sources lie; not needed for others.

    Raises:
        tasks.sampling.errors.DatasetError: the source, a file or rows are not as they must be.
    """
    from tasks.sampling.sample import sample

    logger = run_logger()
    logger.info("Sampling %s", params.source)
    progress = _Progress()
    sampled = sample(
        params, directory, workspace=workspace, hub_token=_hub_token(params.hub_token_block), progress=progress.move
    )
    progress.finish()
    for purpose, split in sampled.splits().items():
        logger.info(
            "%s: %d of %d rows of %s, %d bytes, sha256 %s, %d dropped",
            purpose, split.rows, split.source_rows, split.split, split.bytes, split.sha256[:12], split.dropped,
        )  # fmt: skip
    logger.info(
        "%s %s (revision %s)", "Reused" if sampled.reused else "Wrote", sampled.train.path.parent, sampled.revision
    )
    _publish(sampled)
    return sampled


class _Progress:
    """A progress artifact that moves over the rows of one split after the other; outside a run there is none."""

    def __init__(self) -> None:
        self._artifact: Any = None
        if TaskRunContext.get():
            self._artifact = create_progress_artifact(0.0, key="dataset-sampling", description="Rows sampled")
        self._moved = monotonic()

    def move(self, split: str, done: int, total: int) -> None:
        """Shows how far `split` is, unless the last move was a moment ago."""
        if monotonic() - self._moved >= PROGRESS_SECONDS:
            self._update(100.0 * done / total, f"{split}: {done} of {total} rows")

    def finish(self) -> None:
        """Shows that all is done."""
        self._update(100.0, "All splits are sampled")

    def _update(self, percent: float, description: str) -> None:
        if self._artifact is not None:
            update_progress_artifact(self._artifact, percent, description=description)
        self._moved = monotonic()


def _hub_token(block: str | None) -> str | None:
    return None if block is None else str(cast(Secret[Any], Secret.load(block)).get())


def _publish(sampled: SampledDataset) -> None:
    """The first rows and the histograms, for people to look at in Prefect's UI."""
    publish_table("dataset-rows", f"First training rows of {sampled.source}", _first_rows(sampled.train.path))
    publish_markdown("dataset", f"Sample of {sampled.source}", _summary(sampled))


def _first_rows(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    rows = pd.read_json(path, lines=True, nrows=SHOWN_ROWS, dtype=False, encoding="utf-8")
    rows["turns"] = rows["messages"].map(len)
    rows["messages"] = rows["messages"].map(
        lambda messages: " / ".join(f"{m['role']}: {m['content']}" for m in messages)
    )
    return rows.map(lambda value: value[:SHOWN_CHARACTERS] if isinstance(value, str) else value).to_dict("records")


def _summary(sampled: SampledDataset) -> str:
    lines = [
        f"`{sampled.source}` at `{sampled.revision}`, content `{sampled.sha256}`",
        "",
        "| purpose | split | rows | of | dropped | bytes | SHA-256 |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for purpose, its in sampled.splits().items():
        lines.append(
            f"| {purpose} | {its.split} | {its.rows} | {its.source_rows} | {its.dropped} | {its.bytes} | `{its.sha256[:16]}` |"
        )
    for title, bars in (
        ("Messages of a conversation", sampled.train.turns),
        ("Characters, up to", sampled.train.characters),
    ):
        top = max((bar.rows for bar in bars), default=1)
        lines += ["", f"**{title}** (training)", "", "| | rows | |", "|---:|---:|---|"]
        lines += [f"| {bar.upper} | {bar.rows} | {'█' * max(1, round(24 * bar.rows / top))} |" for bar in bars]
    return "\n".join(lines)
