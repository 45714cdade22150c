"""Third child: conversations to tokens, with what the assistant says marked as what is learnt.

`python -m emulator.components.chat_completion.preprocess`, component `chat_completion_datapreprocess`.
"""

import json
import logging
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.components.chat_completion import model_folder
from emulator.components.chat_completion.assistant_spans import assistant_spans, labelled_tokens
from emulator.components.chat_completion.conversation import fault_of
from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.records import COLUMN, Row, read_rows
from emulator.components.chat_completion.validate import splits_of
from emulator.components.step import UserError, run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER = "tokenizer"
SETTINGS = "preprocess_args.json"
# A tokenizer that knows no limit says so with an absurdly large number.
NO_LIMIT = 1_000_000
SECONDS_BETWEEN_LINES = 5.0

logger = logging.getLogger(__name__)


def preprocess(arguments: Namespace) -> None:
    """Writes `train.npz`, `validation.npz`, `test.npz` (see `EncodedSplit`), the tokenizer and what is known of the model.

    Raises:
        UserError: the model has no chat template, a row is unusable, or truncation leaves nothing to learn.
    """
    from transformers import AutoTokenizer

    metadata = model_folder.read_metadata(arguments.model_selector_output)
    tokenizer = AutoTokenizer.from_pretrained(
        arguments.model_selector_output / MODEL, trust_remote_code=metadata.get("trust_remote_code", False)
    )
    if not tokenizer.chat_template:
        raise UserError("The model's tokenizer has no chat template, so it is no chat model. Choose an instruct model.")
    limit = sequence_limit(tokenizer, arguments.model_selector_output / MODEL, arguments.max_seq_length)
    logger.info("Sequences of at most %d tokens", limit)

    splits = {
        split: encode_split(split, path, tokenizer, limit, arguments.batch_size)
        for split, path in splits_of(arguments).items()
    }
    splits = slice_what_is_missing(splits)
    for split, rows in splits.items():
        rows.save(arguments.output_dir / f"{split}.npz")
    tokenizer.save_pretrained(arguments.output_dir / TOKENIZER)
    settings = {"max_seq_length": limit, "pad_to_max_length": arguments.pad_to_max_length}
    (arguments.output_dir / SETTINGS).write_text(json.dumps(settings), "utf-8")
    logger.info("Rows: %s", ", ".join(f"{len(rows)} {split}" for split, rows in splits.items()))


def sequence_limit(tokenizer: "PreTrainedTokenizerBase", model: Path, asked: int) -> int:
    """Tokens a row may have: what was asked for, -1 and anything beyond the model's own limit meaning that limit."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    known = [n for n in (tokenizer.model_max_length, config.get("max_position_embeddings")) if n and n < NO_LIMIT]
    limit = min(known, default=NO_LIMIT)
    if asked > limit:
        logger.warning("max_seq_length is %d, the model takes %d: using that.", asked, limit)
    return limit if asked == -1 else min(asked, limit)


def encode_split(
    split: str, path: Path, tokenizer: "PreTrainedTokenizerBase", limit: int, batch_size: int
) -> EncodedSplit:
    """Encodes one data input, leaving out the rows in which no assistant token is left.

    Raises:
        UserError: no row is left.
    """
    kept: list[tuple[Sequence[int], Sequence[bool]]] = []
    seen = truncated = 0
    started = told = time.monotonic()
    source = read_rows(path)
    while batch := list(islice(source, batch_size)):
        for ids, labels in encode(tokenizer, [_checked(where, row) for where, row in batch]):
            seen += 1
            truncated += len(ids) > limit
            if any(labels[1:limit]):
                kept.append((ids[:limit], labels[:limit]))
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logger.info("%s: %d rows encoded (%.0f rows/s)", split, seen, seen / (told - started))
    if dropped := seen - len(kept):
        logger.warning("%s: %d of %d rows ignored: no assistant token within %d tokens", split, dropped, seen, limit)
    if not kept:
        raise UserError(
            f"None of the {seen} rows of the {split} data has an assistant token within its first {limit} tokens. "
            "Give a larger max_seq_length."
        )
    rows = EncodedSplit.of(kept)
    logger.info(
        "%s: %d rows, %d tokens, %.0f %% of them the assistant's; %d rows truncated; %.1f s",
        split, len(rows), len(rows.tokens), 100 * rows.labelled.mean(), truncated, time.monotonic() - started,
    )  # fmt: skip
    return rows


def encode(tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Row]) -> Iterator[tuple[Sequence[int], Sequence[bool]]]:
    """Token ids and assistant labels of each row, not truncated."""
    rendered = [assistant_spans(tokenizer, row[COLUMN]) for row in rows]
    # The template has written the special tokens; a second beginning-of-text would be one too many.
    encoding = tokenizer([text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True)
    for ids, offsets, (_, spans) in zip(encoding["input_ids"], encoding["offset_mapping"], rendered, strict=True):
        yield ids, labelled_tokens(offsets, spans)


def slice_what_is_missing(splits: dict[str, EncodedSplit]) -> dict[str, EncodedSplit]:
    """Cuts a validation split off the end of the training rows where none was given, as Azure's component does.

    80:20 when there is test data, 80:10:10 (validation, test) when there is neither, never less than a row each.

    Raises:
        UserError: there are too few rows to cut from.
    """
    if "validation" in splits:
        return splits
    train = splits["train"]
    wanted = ["validation"] if "test" in splits else ["validation", "test"]
    if len(train) <= len(wanted):
        raise UserError(
            f"There are {len(train)} usable training rows and no validation data: too few to cut {' and '.join(wanted)} "
            "from. Give validation_file_path, or more rows."
        )
    share = max(1, len(train) // 5 // len(wanted))
    stop = len(train) - share * len(wanted)
    cut = {name: train.part(stop + n * share, stop + (n + 1) * share) for n, name in enumerate(wanted)}
    logger.warning(
        "No validation data was given: %d of %d training rows are kept apart for %s and not trained on.",
        share * len(wanted), len(train), " and ".join(wanted),
    )  # fmt: skip
    return {**splits, "train": train.part(0, stop), **cut}


def _checked(where: str, row: Row) -> Row:
    if fault := fault_of(row):
        raise UserError(f"{where}: {fault}.")
    return row


if __name__ == "__main__":
    run("chat_completion_datapreprocess", preprocess)
