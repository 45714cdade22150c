"""Samples a dataset: finds its files, chooses rows, checks each, writes them, and remembers what it wrote."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.sampling.checks import HELD_OUT, LEAKED, REPEATED, Checker, Rules
from tasks.sampling.errors import SHOWN_FINDINGS, DatasetError, Finding, InvalidRows
from tasks.sampling.leakage import TrainingRows
from tasks.sampling.parameters import DatasetSampling
from tasks.sampling.reading import SplitReader
from tasks.sampling.results import SampledDataset, SampledSplit
from tasks.sampling.schema import columns
from tasks.sampling.selection import Selection, select
from tasks.sampling.sources import Source, resolve
from tasks.sampling.tokens import token_counter, tokenizer_file
from tasks.sampling.writer import SplitWriter, published

if TYPE_CHECKING:
    from blocks.azure_ml_workspace import AzureMLWorkspace

WRITER = f"1+polars-{pl.__version__}"
"""Names how rows are chosen and written. Raise the number whenever the same parameters would give other bytes."""

MANIFEST = "sample.json"
TRAIN, VALIDATION = "train", "validation"

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
    shutil.rmtree(folder, ignore_errors=True)
    with published(folder) as partial:
        written = _Sampling(params, source, partial, progress).run()
        result = _result(source, key, written, folder)
        (partial / MANIFEST).write_text(result.model_dump_json(indent=2))
    return result


class _Sampling:
    """One run over all splits, the training split first: what it holds must not be in the others."""

    def __init__(self, params: DatasetSampling, source: Source, folder: Path, progress: Progress) -> None:
        self._params = params
        self._source = source
        self._folder = folder
        self._progress = progress
        self._training = TrainingRows()
        self._findings: list[Finding] = []
        self._invalid = 0
        self._count_tokens = token_counter(params.tokenizer) if params.max_tokens and params.tokenizer else None

    def run(self) -> dict[str, SampledSplit]:
        """Writes every split. Goes on to the last row even where one is invalid, so that a refusal tells of all of them."""
        params = self._params
        written: dict[str, SampledSplit] = {}
        for purpose, split in params.splits().items():
            if split is not None:
                written |= self._sample_split(purpose, split)
        allowed = params.max_dropped if params.on_invalid == "drop" else 0
        if self._invalid > allowed:
            raise InvalidRows(self._findings, self._invalid, _remedy(params))
        for purpose, its in written.items():
            if its.rows == 0:
                raise DatasetError(f"No row of {its.split} is left for {purpose}: all were dropped. Mend the dataset.")
        return written

    def _sample_split(self, purpose: str, split: str) -> dict[str, SampledSplit]:
        with SplitReader(
            split, self._source.splits[split], may_have_more=self._params.extra_columns == "drop"
        ) as reader:
            return self._write(purpose, reader, self._choose(purpose, reader))

    def _choose(self, purpose: str, reader: SplitReader) -> Selection:
        params = self._params
        size = params.sample_size(reader.split, reader.rows)
        if size == 0:
            raise DatasetError(
                f"The sample of {reader.split} would be empty: it has {reader.rows} rows. Raise percent, or set rows."
            )
        holds_out = purpose == TRAIN and params.validation_split is None
        return select(reader, size, params.method, params.seed, params.validation_percent if holds_out else 0.0)

    def _write(self, purpose: str, reader: SplitReader, chosen: Selection) -> dict[str, SampledSplit]:
        names = {purpose: reader.split} | ({VALIDATION: VALIDATION} if chosen.held_out.any() else {})
        before = self._invalid
        with ExitStack() as closing:
            writers = {
                name: closing.enter_context(SplitWriter(self._folder / f"{file}.jsonl")) for name, file in names.items()
            }
            for good in self._checked(purpose, reader, chosen):
                for name, writer in writers.items():
                    its = good if len(writers) == 1 else good.filter(pl.col(HELD_OUT) == (name != purpose))
                    writer.write_rows(its, columns(reader.has_prompt))
        dropped = {purpose: self._invalid - before}
        return {
            name: writer.result(reader.split, reader.rows, dropped.get(name, 0)) for name, writer in writers.items()
        }

    def _checked(self, purpose: str, reader: SplitReader, chosen: Selection) -> Iterator[pl.DataFrame]:
        """The chosen rows that break no rule, a batch at a time, with what the writer wants to know of each."""
        training = purpose == TRAIN
        if training:
            self._training.add_ids(chosen.ids)
        known = pl.DataFrame(
            {
                REPEATED: chosen.repeated(),
                LEAKED: np.zeros(len(chosen.ids), dtype=bool) if training else self._training.have_ids(chosen.ids),
                HELD_OUT: chosen.held_out,
            }
        )
        checker = Checker(self._rules(reader), None if training else self._training)
        done = 0
        for batch in reader.read(chosen.indices):
            places = np.searchsorted(chosen.indices, batch.indices)
            batch.frame = batch.frame.hstack(known[places])
            good, findings = checker.check(batch)
            self._invalid += len(findings)
            self._findings += findings[: SHOWN_FINDINGS - len(self._findings)]
            if training:
                self._training.add_fingerprints(good["fingerprint"].to_numpy())
            yield good
            done += len(batch.frame) + len(batch.unreadable)
            self._progress(reader.split, done, len(chosen.indices))

    def _rules(self, reader: SplitReader) -> Rules:
        params = self._params
        return Rules(
            ends_with=params.ends_with(reader.split),
            has_prompt=reader.has_prompt,
            min_characters=params.min_characters,
            max_characters=params.max_characters,
            max_tokens=params.max_tokens,
            count_tokens=self._count_tokens,
        )


def _key(source: Source, params: DatasetSampling) -> str:
    chosen = params.model_dump(mode="json", exclude={"hub_token_block", "revision"})
    document = {"source": source.id, "revision": source.revision, "parameters": chosen, "writer": WRITER}
    if params.tokenizer is not None:
        document["tokenizer"] = sha256(tokenizer_file(params.tokenizer).read_bytes()).hexdigest()
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
