"""Third child: conversations to tokens, with what the assistant says marked as what is learnt.

`python -m emulator.components.chat_completion.preprocess`, component `chat_completion_datapreprocess`.
"""

import json
import logging
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emulator.components.chat_completion import model_folder
from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.encoder import Encoder
from emulator.components.chat_completion.figures import Figures, use
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.records import read_rows
from emulator.components.chat_completion.validate import splits_of
from emulator.components.step import UserError, run
from emulator.components.tracking import MetricLog, runs_of_this_step

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
    model = arguments.model_selector_output / MODEL
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=metadata.get("trust_remote_code", False))
    if not tokenizer.chat_template:
        raise UserError("The model's tokenizer has no chat template, so it is no chat model. Choose an instruct model.")
    limit = sequence_limit(tokenizer, model, arguments.max_seq_length)
    logger.info("Sequences of at most %d tokens", limit)

    encoder = Encoder(tokenizer, stops_of(model))
    with MetricLog(runs_of_this_step()) as metrics:
        splits = {
            split: encode_split(split, path, encoder, limit, arguments.batch_size, metrics)
            for split, path in splits_of(arguments).items()
        }
        splits = slice_what_is_missing(splits)
        for split, rows in splits.items():
            rows.save(arguments.output_dir / f"{split}.npz")
            metrics.log(use(split, rows), step=0)
    tokenizer.save_pretrained(arguments.output_dir / TOKENIZER)
    settings = {"max_seq_length": limit, "pad_to_max_length": arguments.pad_to_max_length}
    (arguments.output_dir / SETTINGS).write_text(json.dumps(settings), "utf-8")
    logger.info("Rows: %s", ", ".join(f"{len(rows)} {split}" for split, rows in splits.items()))


def stops_of(model: Path) -> set[int]:
    """The ids that end an answer, as the model's configuration names them."""
    stops: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        if (file := model / name).is_file():
            named = json.loads(file.read_text("utf-8")).get("eos_token_id")
            stops |= set(named if isinstance(named, list) else [] if named is None else [named])
    return stops


def sequence_limit(tokenizer: "PreTrainedTokenizerBase", model: Path, asked: int) -> int:
    """Tokens a row may have: what was asked for, -1 and anything beyond the model's own limit meaning that limit."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    known = [n for n in (tokenizer.model_max_length, config.get("max_position_embeddings")) if n and n < NO_LIMIT]
    limit = min(known, default=NO_LIMIT)
    if asked > limit:
        logger.warning("max_seq_length is %d, the model takes %d: using that.", asked, limit)
    return limit if asked == -1 else min(asked, limit)


def encode_split(
    split: str, path: Path, encoder: Encoder, limit: int, batch_size: int, metrics: MetricLog
) -> EncodedSplit:
    """Encodes one data input, leaving out the rows in which there is nothing to learn, and logs what became of its rows.

    Raises:
        UserError: a row cannot be encoded, or none is left.
    """
    kept: list[tuple[Sequence[int], NDArray[np.bool_]]] = []
    figures = Figures()
    started = told = time.monotonic()
    source = read_rows(path)
    while batch := list(islice(source, batch_size)):
        for row in encoder.encode(batch):
            figures.rows += 1
            figures.answers_left_out += len(row.left_out(limit))
            if changed := row.left_out(len(row.ids)):
                figures.answers_changed += len(changed)
                figures.first_changed = figures.first_changed or f"{row.where}, message {changed[0]}"
            # No token comes before the first, so that one cannot be learnt.
            if row.labels[1:limit].any():
                kept.append((row.ids[:limit], row.labels[:limit]))
                figures.truncated += len(row.ids) > limit
            elif row.labels[1:].any():
                figures.too_long += 1
            else:
                figures.nothing_to_learn += 1
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            logger.info("%s: %d rows encoded (%.0f rows/s)", split, figures.rows, figures.rows / (told - started))
    metrics.log(figures.metrics(split), step=0)
    if figures.answers_changed:
        logger.warning(
            "%s: the chat template leaves out %d answers or a part of them (as of earlier turns' thoughts); what is left "
            "is learnt. The first: %s", split, figures.answers_changed, figures.first_changed,
        )  # fmt: skip
    if figures.left_out:
        logger.warning("%s: %d of %d rows left out: %s", split, figures.left_out, figures.rows, figures.reasons(limit))
    if not kept:
        raise UserError(
            f"None of the {figures.rows} rows of the {split} data can be learnt from: {figures.reasons(limit)}. "
            + ("Give a larger max_seq_length." if figures.too_long else "Give rows with an answer of the assistant.")
        )
    rows = EncodedSplit.of(kept)
    logger.info(
        "%s: %d rows, %d tokens, %.0f %% of them the assistant's; %d rows truncated; %.1f s",
        split, len(rows), len(rows.tokens), 100 * rows.labelled.mean(), figures.truncated, time.monotonic() - started,
    )  # fmt: skip
    return rows


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


if __name__ == "__main__":
    run("chat_completion_datapreprocess", preprocess)
