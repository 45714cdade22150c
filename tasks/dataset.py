"""Samples the dataset that the model is trained, validated, tested and smoke-scored with.

Promise: the same source revision and parameters give the same files, byte for byte, and each row in them has been
checked. When a row, a file or the source is not as it must be, there is no sample and the error says why.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from textwrap import shorten
from time import monotonic
from typing import Any, cast

from prefect.blocks.system import Secret

from blocks.azure_ml_workspace import AzureMLWorkspace
from tasks.artifacts import markdown_table, publish_markdown, publish_table
from tasks.progress import Progress
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import Outlook, SampledDataset
from tasks.stage import run_logger, stage

SHOWN_ROWS = 10
SHOWN_CHARACTERS = 40
PROGRESS_SECONDS = 2.0
"""The progress artifact is not moved more often: each move is a call to Prefect's API."""


@stage
def sample_dataset(
    params: DatasetParameters, directory: Path, workspace: AzureMLWorkspace | None = None
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
    progress = _SamplingProgress()
    sampled = sample(
        params, directory, workspace=workspace, hub_token=_hub_token(params.hub_token_block), progress=progress.move
    )
    progress.finish()
    for purpose, split in sampled.splits().items():
        logger.info(
            "%s: %d of %d rows of %s, %d bytes, sha256 %s, %d dropped",
            purpose, split.rows, split.source_rows, split.split, split.bytes, split.sha256[:12], split.dropped,
        )  # fmt: skip
        for its in split.dropped_for:
            logger.warning("%s: %d rows were left out: %s; the first: %s", purpose, its.rows, its.rule, its.first)
    logger.info(
        "%s %s (subset %s, revision %s)",
        "Reused" if sampled.reused else "Wrote",
        sampled.train.path.parent,
        sampled.subset,
        sampled.revision,
    )
    _publish(sampled)
    return sampled


@stage
def look_at_dataset(params: DatasetParameters, workspace: AzureMLWorkspace | None = None) -> dict[str, Outlook]:
    """What `sample_dataset` would take, by what for; nothing is written.

    Raises:
        tasks.sampling.errors.DatasetError: the source or a file is not as it must be. Rows are not looked at.
    """
    from tasks.sampling.sample import outlook

    return outlook(params, workspace=workspace, hub_token=_hub_token(params.hub_token_block))


class _SamplingProgress:
    """Moves over the rows of one split after the other."""

    def __init__(self) -> None:
        self._progress = Progress("dataset-sampling")
        self._progress.move(0.0, "Looking for the dataset")
        self._moved = monotonic()

    def move(self, split: str, done: int, total: int) -> None:
        """Shows how far `split` is, unless the last move was a moment ago."""
        if monotonic() - self._moved >= PROGRESS_SECONDS:
            self._progress.move(100.0 * done / total, f"{split}: {done} of {total} rows")
            self._moved = monotonic()

    def finish(self) -> None:
        """Shows that all is done."""
        self._progress.move(100.0, "All splits are sampled")


def _hub_token(block: str | None) -> str | None:
    return None if block is None else str(cast(Secret[Any], Secret.load(block)).get())


def _publish(sampled: SampledDataset) -> None:
    """The first rows and the histograms, for people to look at in Prefect's UI."""
    publish_table(
        "dataset-rows", f"First rows of {sampled.train.split} of {sampled.source}", _first_rows(sampled.train.path)
    )
    publish_markdown("dataset", f"Sample of {sampled.source}", _summary(sampled))


def _first_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line)["messages"] for line in islice(lines, SHOWN_ROWS)]
    return [
        {
            "messages": len(messages),
            "characters": sum(len(message["content"] or "") for message in messages),
            "begins": _shortened(messages[0]),
            "ends": _shortened(messages[-1]),
        }
        for messages in rows
    ]


def _shortened(message: dict[str, Any]) -> str:
    said = message["content"] or json.dumps(message.get("tool_calls"))
    return shorten(f"{message['role']}: {said}", SHOWN_CHARACTERS, placeholder=" ...")


def _summary(sampled: SampledDataset) -> str:
    files = markdown_table(
        ("used to", "split", "rows sampled", "of", "dropped", "bytes", "SHA-256"),
        [
            (purpose, its.split, its.rows, its.source_rows, its.dropped, its.bytes, f"`{its.sha256[:16]}`")
            for purpose, its in sampled.splits().items()
        ],
    )
    what = {
        "Source": f"`{sampled.source}`",
        "Subset": f"`{sampled.subset}`",
        "Revision": f"`{sampled.revision[:40]}`",
        "SHA-256": f"`{sampled.sha256}`",
    }
    parts = [
        markdown_table(("Sample", "written earlier" if sampled.reused else "written by this run"), what.items()),
        files,
        "How many of the rows can be learnt, the page `forecast` tells once model and sequence length are known.",
        markdown_table(
            ("split", "read from", "bytes"),
            [
                (its.split, f"`{file.name}`", file.bytes)
                for its in {its.split: its for its in sampled.splits().values()}.values()
                for file in its.files
            ],
        ),
    ]
    if dropped := [
        (purpose, its.rule, its.rows, its.first)
        for purpose, split in sampled.splits().items()
        for its in split.dropped_for
    ]:
        parts.append(markdown_table(("sample", "Rows left out, as on_invalid says", "rows", "the first"), dropped))
    for title, column in (("Left out, as extra_columns says", "left_out"), ("Kept beside roles and texts", "kept")):
        if found := [
            (purpose, f"`{name}`", rows)
            for purpose, its in sampled.splits().items()
            for name, rows in getattr(its, column).items()
        ]:
            parts.append(markdown_table(("sample", title, "rows"), found))
    for title, bars in (
        ("Messages of a training conversation", sampled.train.turns),
        ("Characters of a training conversation, up to", sampled.train.characters),
    ):
        top = max((bar.rows for bar in bars), default=1)
        shown = [(bar.upper, bar.rows, "█" * max(1, round(24 * bar.rows / top))) for bar in bars]
        parts.append(markdown_table((title, "rows", ""), shown))
    return "\n\n".join(parts)
