"""Tells, before a training is paid for, what of the sample can be learnt by it.

Promise: reads only. It never fails a run, nor holds it up for longer than `DEADLINE_SECONDS`: where there is no forecast, it
says why.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from itertools import accumulate, islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel

from blocks import AzureMLWorkspace
from tasks.artifacts import publish_markdown
from tasks.azure_ml.errors import classify
from tasks.azure_ml.foundation import FoundationModel
from tasks.sampling.errors import DatasetError
from tasks.sampling.results import SampledDataset
from tasks.stage import run_logger

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

DEADLINE_SECONDS = 120.0
COUNTED_BYTES, BATCH_BYTES = 64 << 20, 1 << 20
"""Of a split's file, its first rows: 64 MiB take 7 to 14 s on two cores. And how much of it is decoded at once."""
MOST_BYTES = 64 << 20
"""Of a tokenizer.json; the largest in use have a third of that."""
LONGEST = 10_000_000
"""Tokens. A tokenizer whose model has no limit of its own writes a number of thirty digits."""
TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
LEARNT_FROM = ("train", "validation", "test")
TEXTS_ALONE = (
    "The texts alone are counted. What the chat template adds takes room within the limit, too, so that fewer rows may be learnt; "
    "the ends of answers and calls of tools are learnt, too, so that the trainer may count more tokens."
)
OWN_SHARE = (
    "There is no validation sample, so the component cuts one off the training rows (and a test sample, if there is none): those "
    "rows are not learnt."
)

CountTokens = Callable[[Sequence[Sequence[str]]], list[list[int]]]


class Learnable(BaseModel):
    """What can be learnt of a split. Upper bounds: the tokens that the chat template adds are not counted."""

    sampled: int
    """Rows of the split."""
    rows: int
    """Those of them that were looked at: the first."""
    rows_with_answer: int
    """An answer to be learnt begins within the limit."""
    answer_tokens: int
    """Of the texts of the answers to be learnt."""
    answer_tokens_within: int

    @property
    def looked_at(self) -> str:
        """The rows, as a sentence goes on with them."""
        return f"{self.rows} rows" if self.rows == self.sampled else f"the first {self.rows} of {self.sampled} rows"


class Forecast(BaseModel):
    """What the trainer can learn at most."""

    limit: int | None = None
    """In tokens: max_seq_length, or the model's own; None if that is not known."""
    splits: dict[str, Learnable] = {}
    """By split: train, validation, test."""
    notes: list[str] = []
    """What else of the sample is not learnt, a sentence each."""
    why_none: str = ""
    """Where there is no forecast, a sentence that says why."""

    def sentence(self, split: str) -> str:
        """In one line."""
        its = self.splits[split]
        if self.limit is None:
            return (
                f"{its.looked_at} have {its.answer_tokens:,} tokens of answers; how many can be learnt is not known, since "
                "max_seq_length is the model's own and its tokenizer does not tell it"
            )
        short, use = its.rows - its.rows_with_answer, "learnt" if split == "train" else "measured"
        why = f" ({short} without an answer that begins within {self.limit} tokens, max_seq_length)" if short else ""
        return (
            f"at most {its.rows_with_answer} of {its.looked_at} can be {use}{why}; of the answers' texts "
            f"{its.answer_tokens_within:,} of {its.answer_tokens:,} tokens"
        )


class _NoForecast(Exception):
    """There is none. The message says why."""


def forecast_learning(
    workspace: AzureMLWorkspace,
    model: FoundationModel,
    data: SampledDataset,
    tokenizer: str | None,
    tags: Mapping[str, str],
) -> Forecast:
    """Counts `data` with `tokenizer`, else with the registry model's own; shows it on the run's page and in its log.

    Args:
        tokenizer: a tokenizer.json or its folder.
        tags: the job's, which say of what sample it is made and where it cuts: an adopted job may be another run's.
    """
    made: Future[Forecast] = Future()

    def make() -> None:
        made.set_result(_made_or_why_not(workspace, model, data, tokenizer, tags))

    # What does not answer, or counts for ever, is left behind: a thread that nobody waits for.
    Thread(target=make, daemon=True).start()
    try:
        forecast = made.result(DEADLINE_SECONDS)
    except TimeoutError:
        forecast = _none(f"it was not there within {DEADLINE_SECONDS:g} s")
    _show(forecast)
    return forecast


def learnable(path: Path, sampled: int, count: CountTokens, limit: int | None) -> Learnable:
    """Counts the first `COUNTED_BYTES` of the JSON Lines file `path`, which has `sampled` rows, a batch at a time.

    Args:
        limit: where a sequence is cut, in tokens; None: nowhere.

    Raises:
        DatasetError: the tokenizer cannot encode the rows.
    """
    end = sys.maxsize if limit is None else limit
    found = Learnable(sampled=sampled, rows=0, rows_with_answer=0, answer_tokens=0, answer_tokens_within=0)
    with path.open("rb") as file:
        for lines in islice(iter(partial(file.readlines, BATCH_BYTES), []), COUNTED_BYTES // BATCH_BYTES):
            rows = [json.loads(line)["messages"] for line in lines]
            # Templates may take the blanks at a text's ends away.
            texts = [[(message["content"] or "").strip() for message in messages] for messages in rows]
            for messages, lengths in zip(rows, count(texts), strict=True):
                answers = list(_answers(messages, lengths))
                found.rows += 1
                found.rows_with_answer += any(start < end for start, _ in answers)
                found.answer_tokens += sum(length for _, length in answers)
                found.answer_tokens_within += sum(max(0, min(length, end - start)) for start, length in answers)
    return found


def _answers(messages: list[dict[str, Any]], lengths: list[int]) -> Iterator[tuple[int, int]]:
    """Where each answer that is learnt begins, and how long it is, in tokens."""
    for message, start, length in zip(messages, accumulate(lengths, initial=0), lengths, strict=False):
        if message["role"] == "assistant" and message.get("weight") != 0:
            yield start, length


def _made_or_why_not(
    workspace: AzureMLWorkspace,
    model: FoundationModel,
    data: SampledDataset,
    tokenizer: str | None,
    tags: Mapping[str, str],
) -> Forecast:
    kept = None if tokenizer else _kept(model, data)
    try:
        from tasks.sampling.tokens import text_counter, tokenizer_file

        if tags.get("data_sha256") != data.sha256:
            raise _NoForecast("the job was made from another sample")
        if kept and not kept.is_file():
            _fetch(workspace, model, kept.parent)
        path = kept or tokenizer_file(str(tokenizer))
        asked = int(tags.get("max_seq_length", -1))
        limit, count = asked if asked > 0 else _own_limit(path), text_counter(str(path))
        splits = {name: its for name, its in data.splits().items() if name in LEARNT_FROM}
        counted = {name: learnable(its.path, its.rows, count, limit) for name, its in splits.items()}
        return Forecast(limit=limit, splits=counted, notes=list(_notes(data, _template(path))))
    except _NoForecast as why:
        return _none(str(why))
    except DatasetError as error:
        if kept:
            kept.unlink(missing_ok=True)  # the next run fetches it again
        return _none(str(error))
    except BaseException as error:  # a panic of `tokenizers` is no Exception
        info = classify(error)
        return _none(f"{info.kind}: {info.message}" if info else f"{type(error).__name__} while counting")


def _none(why: str) -> Forecast:
    return Forecast(
        why_none=f"There is no forecast of what can be learnt: {why.rstrip('.')}. The run goes on without; "
        "dataset.tokenizer may name a tokenizer.json."
    )


def _notes(data: SampledDataset, template: str | None) -> Iterator[str]:
    from tasks.sampling.conversations import THOUGHTS

    if data.validation is None:
        yield OWN_SHARE
    for name in ("tools", "tool_calls", *THOUGHTS):
        if (rows := data.train.kept.get(name)) and template is not None and not re.search(rf"\b{name}\b", template):
            yield f"The model's chat template does not write {name}, which {rows} training rows have: that is not learnt."


def _template(tokenizer: Path) -> str | None:
    """The model's chat template, or all that it has; None if it is not known."""
    beside = tokenizer.with_name(TEMPLATE)
    try:
        if beside.is_file():
            return beside.read_text("utf-8")
        return json.dumps(json.loads(tokenizer.with_name(CONFIG).read_text("utf-8"))["chat_template"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _own_limit(tokenizer: Path) -> int | None:
    try:
        limit = json.loads((tokenizer.parent / CONFIG).read_text("utf-8"))["model_max_length"]
        return int(limit) if 0 < limit <= LONGEST else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _kept(model: FoundationModel, data: SampledDataset) -> Path:
    """Where the model's tokenizer is kept once it was fetched: beside the samples, by the place that it is from."""
    place = sha256(model.files.encode()).hexdigest()[:8]
    return data.train.path.parents[1] / "tokenizers" / f"{model.name}-{model.version}-{place}" / TOKENIZER


def _fetch(workspace: AzureMLWorkspace, model: FoundationModel, folder: Path) -> None:
    """Puts the model's tokenizer into `folder`, and nothing else: its weights are gigabytes."""
    container, prefix = _container(workspace, model)
    sizes = {PurePosixPath(blob.name): blob.size for blob in container.list_blobs(name_starts_with=prefix)}
    # MLflow's layouts have it at different depths.
    found = min((blob for blob in sizes if blob.name == TOKENIZER), key=lambda blob: len(blob.parts), default=None)
    if found is None:
        raise _NoForecast(f"{model.name} version {model.version} has no tokenizer.json in the registry")
    if sizes[found] > MOST_BYTES:
        raise _NoForecast(f"the tokenizer.json of {model.name} version {model.version} has {sizes[found] >> 20} MiB")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        # The tokenizer last: once it is there, all is.
        for blob in (found.with_name(CONFIG), found.with_name(TEMPLATE), found):
            if sizes.get(blob, sys.maxsize) <= MOST_BYTES:
                part = Path(scratch, blob.name)
                with part.open("wb") as file:
                    container.download_blob(str(blob)).readinto(file)
                part.replace(folder / blob.name)


def _container(workspace: AzureMLWorkspace, model: FoundationModel) -> tuple[ContainerClient, str]:
    """Where the registry keeps the model's files: their container, opened for reading, and what their names begin with."""
    from azure.ai.ml._utils._registry_utils import get_storage_details_for_registry_assets
    from azure.storage.blob import ContainerClient

    place = urlsplit(model.files)
    if not place.hostname:
        raise _NoForecast(f"the registry does not tell where the files of {model.name} version {model.version} are")
    models = workspace.registry_client().models
    # As the SDK's own download does, which cannot leave the weights out.
    address, _ = get_storage_details_for_registry_assets(
        service_client=models._registry_service_client,
        asset_type="models",
        asset_name=model.name,
        asset_version=model.version,
        rg_name=models._resource_group_name,
        reg_name=workspace.registry_name,
        uri=model.files,
    )
    container, _, prefix = unquote(place.path).strip("/").partition("/")
    account, signature = f"{place.scheme}://{place.netloc}", urlsplit(address).query or None
    # Storage's client would wait for 15 s before it tries again.
    client = ContainerClient(account, container, credential=signature, retry_total=1, initial_backoff=1)
    return client, f"{prefix}/" if prefix else ""


def _show(forecast: Forecast) -> None:
    if forecast.why_none:
        run_logger().info(forecast.why_none)
    for split, its in forecast.splits.items():
        level = logging.WARNING if its.rows_with_answer < its.rows else logging.INFO
        run_logger().log(level, "%s: %s", split, forecast.sentence(split))
    for note in forecast.notes:
        run_logger().warning(note)
    told = "\n".join(f"* **{split}**: {forecast.sentence(split)}." for split in forecast.splits)
    parts = [told, TEXTS_ALONE, *forecast.notes] if told else [forecast.why_none]
    publish_markdown("forecast", "What can be learnt", "\n\n".join(parts))
