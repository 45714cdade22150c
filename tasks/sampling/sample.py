"""Samples a dataset: finds its files, chooses rows, checks each, writes them, and remembers what it wrote."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.sampling.checks import Checker
from tasks.sampling.conversations import but_for
from tasks.sampling.errors import CARD, NOT_UTF8, SHOWN_FINDINGS, UNKNOWN_KEYS, DatasetError, Finding, InvalidRows
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.reading import SplitReader
from tasks.sampling.results import DroppedRows, Outlook, SampledDataset, SampledSplit, SourceFile
from tasks.sampling.sameness import Seen
from tasks.sampling.selection import Selection, selected
from tasks.sampling.source import Source, resolve
from tasks.sampling.tokens import token_counter, tokenizer_file
from tasks.sampling.writer import SplitWriter, file_sha256, publish, unpublished

if TYPE_CHECKING:
    from blocks.azure_ml_workspace import AzureMLWorkspace

WRITER = f"3+polars-{pl.__version__}"
"""Names how rows are chosen and written. Raise the number whenever the same parameters would give other bytes."""

MANIFEST = "sample.json"
TRAIN, VALIDATION = "train", "validation"

Progress = Callable[[str, int, int], None]
"""Called with a split's name, its rows done and its rows in all."""


def sample(
    params: DatasetParameters,
    directory: Path,
    *,
    workspace: "AzureMLWorkspace | None" = None,
    hub_token: str | None = None,
    progress: Progress = lambda split, done, total: None,
) -> SampledDataset:
    """Writes the sample into a folder of its own below `directory`, or finds it there.

    A kept sample is looked for before anything is read only where the source's place pins its bytes (a commit, ETags); the files
    of this machine are sampled anew, and what comes out is compared. A kept sample is used only if its bytes are still its own.

    Raises:
        DatasetError: the source, a file or a row is not as it must be. Then there is no new folder.
    """
    source = _resolved(params, workspace, hub_token)
    directory = directory.absolute()
    if source.revision is not None and (found := kept(_folder(directory, _key(source, params, source.revision)))):
        return found
    with unpublished(directory) as partial:
        written = _Sampling(params, source, partial, progress).run()
        content = _content(written)
        revision = source.revision or f"content-{content}"
        key = _key(source, params, revision)
        folder = _folder(directory, key)
        result = SampledDataset(
            source=source.id,
            subset=source.subset,
            revision=revision,
            key=key,
            sha256=content,
            writer=WRITER,
            **{TRAIN: None, VALIDATION: None, "test": None, "score": None, **_moved(written, folder)},
        )
        (partial / MANIFEST).write_text(result.model_dump_json(indent=2))
        # The same rows may have been written before, of a source that has other rows by now: those facts are this run's.
        published = publish(partial, folder, is_whole=lambda there: kept(there) is not None)
    return result if published else result.model_copy(update={"reused": True})


def outlook(
    params: DatasetParameters, *, workspace: "AzureMLWorkspace | None" = None, hub_token: str | None = None
) -> dict[str, Outlook]:
    """What `sample` would take, by what for, from the files' own accounts of their rows: no row is read of a columnar file.

    Raises:
        DatasetError: the source, a split, a file's columns or a sample's size is not as it must be.
    """
    source = _resolved(params, workspace, hub_token)
    found = {}
    for purpose, split in params.splits().items():
        if split is not None:
            with SplitReader(split, source, params) as reader:
                found[purpose] = Outlook(split=split, rows=_size(params, reader), source_rows=reader.rows)
    return found


def kept(folder: Path) -> SampledDataset | None:
    """The sample that an earlier run published in `folder`; None unless the bytes of its files are those that it wrote."""
    try:
        found = SampledDataset.model_validate_json((folder / MANIFEST).read_bytes())
        whole = all(file_sha256(split.path) == split.sha256 for split in found.splits().values())
    except (OSError, ValueError):
        return None
    return found.model_copy(update={"reused": True}) if whole else None


class _Sampling:
    """One run over all splits, the training split first: what it holds must not be in the others."""

    def __init__(self, params: DatasetParameters, source: Source, folder: Path, progress: Progress) -> None:
        self._params = params
        self._source = source
        self._folder = folder
        self._progress = progress
        self._seen = Seen()
        self._findings: list[Finding] = []
        self._dropped: dict[str, DroppedRows] = {}
        """Of the split that is being read, by rule."""
        self._rules_broken: set[str] = set()
        self._invalid = self._sampled = 0
        self._count_tokens = token_counter(params.tokenizer) if params.max_tokens and params.tokenizer else None

    def run(self) -> dict[str, SampledSplit]:
        """Writes every split. Goes on to the last row even where one is invalid, so that a refusal tells of all of them."""
        params = self._params
        written: dict[str, SampledSplit] = {}
        for purpose, split in params.splits().items():
            if split is not None:
                written |= self._sample_split(purpose, split)
        if self._invalid > self._allowed():
            raise InvalidRows(self._findings, self._invalid, self._remedy())
        for purpose, its in written.items():
            if its.rows == 0:
                findings = "".join(f"\n  {finding}" for finding in self._findings)
                raise DatasetError(
                    f"No row of {its.split} is left for {purpose}: all were dropped. Mend the dataset.{findings}"
                )
        return written

    def _allowed(self) -> int:
        """How many rows may be invalid."""
        if self._params.on_invalid == "fail":
            return 0
        return min(self._params.max_dropped, int(self._params.max_dropped_percent * self._sampled / 100.0))

    def _remedy(self) -> str:
        params = self._params
        if all(rule.endswith(UNKNOWN_KEYS) for rule in self._rules_broken):
            names = dict.fromkeys(name for finding in self._findings for name in re.findall(r"\w+", finding.excerpt))
            lost = but_for(names)
            lost = f"{lost};" if lost else ","
            return f"Set extra_columns to drop to leave such keys out of the sample{lost} or mend the dataset."
        if NOT_UTF8 in self._rules_broken:
            return (
                "Write the file as UTF-8 (of an older Windows: `iconv -f WINDOWS-1252 -t UTF-8`), or name its encoding in the "
                f"{CARD}. Dropping such rows would drop those with letters beyond English."
            )
        if self._invalid == self._sampled:
            return "That is every row of the sample. Mend the dataset or the parameters."
        if params.on_invalid == "fail":
            return "Mend the dataset, or set on_invalid to drop to leave such rows out."
        if self._invalid > params.max_dropped:
            return f"At most {params.max_dropped} may be dropped. Mend the dataset, or raise max_dropped."
        return (
            f"That is {100 * self._invalid / self._sampled:.3g} % of the {self._sampled} sampled rows, and at most "
            f"{params.max_dropped_percent:g} % may be dropped. Mend the dataset, or raise max_dropped_percent."
        )

    def _sample_split(self, purpose: str, split: str) -> dict[str, SampledSplit]:
        params = self._params
        with SplitReader(split, self._source, params) as reader:
            size = _size(params, reader)
            holds_out = purpose == TRAIN and params.validation_split is None
            share = params.validation_percent if holds_out else 0.0
            with selected(reader, size, params.method, params.seed, share, self._folder) as chosen:
                return self._write(purpose, reader, chosen)

    def _write(self, purpose: str, reader: SplitReader, chosen: Selection) -> dict[str, SampledSplit]:
        names = [purpose] if chosen.held_out is None else [purpose, VALIDATION]
        self._dropped = {}
        counted: dict[str, Counter[str]] = {"left_out": Counter(), "kept": Counter()}
        with ExitStack() as closing:
            # Named by what they are for: whatever a split is called, two files never have one name.
            writers = {name: closing.enter_context(SplitWriter(self._folder / f"{name}.jsonl")) for name in names}
            for good in self._checked(purpose, reader, chosen):
                if good["left_out"].null_count() < len(good):
                    counted["left_out"].update(good["left_out"].drop_nulls().explode())
                if good["extras"].null_count() < len(good):
                    for its in good["extras"].drop_nulls():
                        counted["kept"].update(_kinds(its))
                for name, writer in writers.items():
                    writer.write_rows(
                        good if len(writers) == 1 else good.filter(pl.col("held_out") == (name != purpose))
                    )
        more: dict[str, Any] = {
            "files": [SourceFile(name=file.name, bytes=file.size) for file in reader.files],
            **{name: dict(sorted(its.items())) for name, its in counted.items()},
        }
        dropped = {purpose: list(self._dropped.values())}
        return {
            name: writer.result(
                reader.split,
                reader.rows,
                dropped=sum(its.rows for its in dropped.get(name, [])),
                dropped_for=dropped.get(name, []),
                **more,
            )
            for name, writer in writers.items()
        }

    def _checked(self, purpose: str, reader: SplitReader, chosen: Selection) -> Iterator[pl.DataFrame]:
        """The chosen rows that break no rule, a batch at a time, with what the writer wants to know of each."""
        checker = Checker(self._params, reader.split, purpose, self._seen, self._count_tokens)
        done = 0
        for batch in chosen.batches:
            done += len(batch.frame) + len(batch.unreadable)
            chosen.mark(batch)
            good, findings = checker.check(batch, reader.files[batch.file].name)
            self._note(findings)
            yield good if batch.with_prompt else good.drop("prompt")
            self._progress(reader.split, done, len(chosen.indices))
        self._sampled += done

    def _note(self, findings: list[Finding]) -> None:
        self._invalid += len(findings)
        self._findings += findings[: SHOWN_FINDINGS - len(self._findings)]
        for its in findings:
            first = f"{its.file}, row {its.row}: {its.excerpt}"
            self._dropped.setdefault(its.kind, DroppedRows(rule=its.kind, rows=0, first=first)).rows += 1
            self._rules_broken.add(its.kind)


def _size(params: DatasetParameters, reader: SplitReader) -> int:
    """How many rows are sampled.

    Raises:
        DatasetError: none would be.
    """
    if reader.rows == 0:
        raise DatasetError(f"Split {reader.split} of {params.source} has no row. Check how the dataset was written.")
    size = params.sample_size(reader.split, reader.rows)
    if size == 0:
        raise DatasetError(
            f"The sample of {reader.split} would be empty: it has {reader.rows} rows. Raise percent, or set rows."
        )
    return size


def _kinds(extras: str) -> set[str]:
    """What a row's messages carry beside role and text."""
    row = json.loads(extras)
    found = {name for message in row["messages"] for name in message if name not in ("role", "content")}
    return found | ({"tools"} if row["tools"] else set())


def _key(source: Source, params: DatasetParameters, revision: str) -> str:
    chosen = params.model_dump(mode="json", exclude={"hub_token_block", "revision"})
    document = {"source": source.id, "revision": revision, "parameters": chosen, "writer": WRITER}
    # A card is not among the files that a revision may stand for, and says how they are read.
    document["reader_options"] = {name: str(value) for name, value in source.reader_options.items()}
    if params.tokenizer is not None:
        document["tokenizer"] = file_sha256(tokenizer_file(params.tokenizer))
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _resolved(params: DatasetParameters, workspace: "AzureMLWorkspace | None", hub_token: str | None) -> Source:
    """The files of all splits that are asked for."""
    return resolve(
        params.source,
        [split for split in params.splits().values() if split is not None],
        subset=params.subset,
        revision=params.revision,
        hub_token=hub_token,
        workspace=workspace,
    )


def _folder(directory: Path, key: str) -> Path:
    return directory / f"sample-{key[:16]}"


def _content(written: dict[str, SampledSplit]) -> str:
    return sha256("\n".join(f"{purpose} {its.sha256}" for purpose, its in written.items()).encode()).hexdigest()


def _moved(written: dict[str, SampledSplit], folder: Path) -> dict[str, SampledSplit]:
    return {purpose: its.model_copy(update={"path": folder / its.path.name}) for purpose, its in written.items()}
