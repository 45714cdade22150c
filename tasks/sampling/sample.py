"""Samples a dataset: finds its files, chooses rows, checks each, writes them, and remembers what it wrote."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.sampling.checks import LEAKED, REPEATED, Rules, check
from tasks.sampling.errors import DatasetError, Finding, InvalidRows, SHOWN_FINDINGS
from tasks.sampling.parameters import DatasetSampling
from tasks.sampling.reading import SplitReader
from tasks.sampling.results import SampledDataset, SampledSplit
from tasks.sampling.schema import columns
from tasks.sampling.selection import Selection, select
from tasks.sampling.sources import Source, resolve
from tasks.sampling.writer import SplitWriter, published

if TYPE_CHECKING:
    from blocks.workspace import AzureMLWorkspace

WRITER = f"1+polars-{pl.__version__}"
"""Names how rows are chosen and written. Raise the number whenever the same parameters would give other bytes."""

MANIFEST = "sample.json"
HELD_OUT = "validation"

Progress = Callable[[str, int, int], None]
"""Called with a split's name, its rows done and its rows in all."""


def sample(
    params: DatasetSampling,
    directory: Path,
    *,
    workspace: "AzureMLWorkspace | None" = None,
    hub_token: str | None = None,
    progress: Progress = lambda split, done, total: None,
) -> SampledDataset:
    """Writes the sample into a folder of its own below `directory`, or finds it there.

    Raises:
        DatasetError: the source, a file or a row is not as it must be. Then there is no new folder.
    """
    names = [split for split in params.splits().values() if split is not None]
    source = resolve(params.source, names, revision=params.revision, hub_token=hub_token, workspace=workspace)
    key = _key(source, params)
    folder = directory.absolute() / f"sample-{key[:16]}"
    if (found := _earlier(folder)) is not None:
        return found
    with published(folder) as partial:
        written = _Sampling(params, source, partial, progress).run()
        result = _result(source, key, written, folder)
        (partial / MANIFEST).write_text(result.model_dump_json(indent=2))
    return _earlier(folder) or result


class _Sampling:
    """One run over all splits, the training split first: what it holds must not be in the others."""

    def __init__(self, params: DatasetSampling, source: Source, folder: Path, progress: Progress) -> None:
        self._params = params
        self._source = source
        self._folder = folder
        self._progress = progress
        self._findings: list[Finding] = []
        self._invalid = 0
        self._trained_ids = np.array([], dtype=np.uint64)
        self._trained_fingerprints: list[np.ndarray] = []

    def run(self) -> dict[str, SampledSplit]:
        written: dict[str, SampledSplit] = {}
        for purpose, split in self._params.splits().items():
            if split is not None:
                written |= self._sample_split(purpose, split)
        allowed = self._params.max_dropped if self._params.on_invalid == "drop" else 0
        if self._invalid > allowed:
            raise InvalidRows(self._findings, self._invalid, _remedy(self._params))
        for purpose, its in written.items():
            if its.rows == 0:
                raise DatasetError(f"No row of {its.split} is left for {purpose}: all {its.dropped} were dropped.")
        return written

    def _sample_split(self, purpose: str, split: str) -> dict[str, SampledSplit]:
        params = self._params
        reader = SplitReader(split, self._source.splits[split], may_have_more=params.extra_columns == "drop")
        size = params.sample_size(split, reader.rows)
        if size == 0:
            raise DatasetError(f"{params.percent:g} % of the {reader.rows} rows of {split} is no row. Raise percent, or set rows.")
        held_out_percent = params.validation_percent if purpose == "train" and params.validation_split is None else 0.0
        selection = select(reader, size, params.method, params.seed, held_out_percent)
        if purpose == "train":
            self._trained_ids = np.unique(selection.ids)
        leaked = np.isin(selection.ids, self._trained_ids) if purpose != "train" else np.zeros(size, dtype=bool)
        paths = {purpose: self._folder / f"{split}.jsonl"}
        if selection.held_out.any():
            paths[HELD_OUT] = self._folder / f"{HELD_OUT}.jsonl"
        with ExitStack() as closing:
            writers = {name: SplitWriter(path) for name, path in paths.items()}
            for writer in writers.values():
                closing.callback(writer.close)
            before = self._invalid
            self._pour(reader, selection, leaked, purpose, writers)
        dropped = self._invalid - before
        return {name: writer.result(split, reader.rows, dropped if name == purpose else 0) for name, writer in writers.items()}

    def _pour(
        self, reader: SplitReader, selection: Selection, leaked: np.ndarray, purpose: str, writers: dict[str, SplitWriter]
    ) -> None:
        """Reads, checks and writes the selected rows, a batch at a time."""
        params = self._params
        rules = Rules(
            ends_with=params.ends_with(reader.split),
            has_prompt=reader.has_prompt,
            min_characters=params.min_characters,
            max_characters=params.max_characters,
            max_tokens=params.max_tokens,
        )
        count_tokens = None
        if params.tokenizer is not None and params.max_tokens is not None:
            from tasks.sampling.tokens import token_counter

            count_tokens = token_counter(Path(params.tokenizer))
        repeated = selection.repeated()
        trained = np.concatenate(self._trained_fingerprints) if purpose != "train" and self._trained_fingerprints else None
        done = 0
        for batch in reader.read(selection.indices):
            places = np.searchsorted(selection.indices, batch.indices)
            batch.frame = batch.frame.with_columns(
                pl.Series(REPEATED, repeated[places]),
                pl.Series(LEAKED, leaked[places]),
                pl.Series(HELD_OUT, selection.held_out[places]),
            )
            good, findings = check(batch, rules, trained=trained, count_tokens=count_tokens)
            self._invalid += len(findings)
            self._findings += findings[: SHOWN_FINDINGS - len(self._findings)]
            if purpose == "train":
                self._trained_fingerprints.append(good["fingerprint"].to_numpy())
            for name, writer in writers.items():
                its = good if len(writers) == 1 else good.filter(pl.col(HELD_OUT) == (name == HELD_OUT))
                writer.write(its, columns(reader.has_prompt))
            done += len(batch.frame) + len(batch.unreadable)
            self._progress(reader.split, done, len(selection.indices))


def _key(source: Source, params: DatasetSampling) -> str:
    chosen = params.model_dump(mode="json", exclude={"hub_token_block", "revision"})
    document = {"source": source.id, "revision": source.revision, "parameters": chosen, "writer": WRITER}
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _earlier(folder: Path) -> SampledDataset | None:
    """The sample that an earlier run published in `folder`, unless a file of it has been cut short or removed."""
    try:
        found = SampledDataset.model_validate_json((folder / MANIFEST).read_bytes())
        whole = all(split.path.stat().st_size == split.bytes for split in found.splits().values())
    except (OSError, ValueError):
        return None
    return found.model_copy(update={"reused": True}) if whole else None


def _result(source: Source, key: str, written: dict[str, SampledSplit], folder: Path) -> SampledDataset:
    splits = {purpose: its.model_copy(update={"path": folder / its.path.name}) for purpose, its in written.items()}
    content = "\n".join(f"{purpose} {its.sha256}" for purpose, its in splits.items())
    return SampledDataset(
        source=source.id,
        revision=source.revision,
        key=key,
        sha256=sha256(content.encode()).hexdigest(),
        writer=WRITER,
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
        score=splits.get("score"),
    )


def _remedy(params: DatasetSampling) -> str:
    if params.on_invalid == "drop":
        return f"At most {params.max_dropped} may be dropped. Mend the dataset, or raise max_dropped."
    return "Mend the dataset, or set on_invalid to drop to leave such rows out."
