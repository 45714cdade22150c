"""First child: looks at data and arguments before anything costly happens.

`python -m emulator.components.chat_completion.validate`, component `ft_nlp_common_validation`.
"""

import json
import logging
from argparse import Namespace
from pathlib import Path

from emulator.components.chat_completion.conversation import fault_of, has_an_answer
from emulator.components.chat_completion.records import COLUMN, read_rows
from emulator.components.step import UserError, run

FAULTS_SHOWN = 5

logger = logging.getLogger(__name__)


def validate(arguments: Namespace) -> None:
    """Checks the arguments, then every row of every data input.

    Raises:
        UserError: naming the argument, or the file, row and rule.
    """
    check_arguments(arguments)
    rows = {split: check_split(split, path) for split, path in splits_of(arguments).items()}
    write_report(arguments.validation_info, rows)


def check_arguments(arguments: Namespace) -> None:
    """Rules that the declared types cannot say."""
    if not (arguments.train_file_path or arguments.train_mltable_path):
        raise UserError("There is no training data. Give train_file_path or train_mltable_path.")
    if arguments.max_seq_length != -1 and arguments.max_seq_length < 1:
        raise UserError(
            f"max_seq_length is {arguments.max_seq_length}. Give -1 (the model's own limit) or a positive number."
        )
    if arguments.max_steps != -1 and arguments.max_steps < 1:
        raise UserError(f"max_steps is {arguments.max_steps}. Give -1 (train whole epochs) or a positive number.")
    if arguments.learning_rate <= 0:
        raise UserError(f"learning_rate is {arguments.learning_rate}. Give a positive number.")
    for name in ("adam_beta1", "adam_beta2"):
        if not 0 <= getattr(arguments, name) < 1:
            raise UserError(f"{name} is {getattr(arguments, name)}. Give a number from 0 to below 1.")
    if arguments.adam_epsilon < 0:
        raise UserError(f"adam_epsilon is {arguments.adam_epsilon}. Give a number that is not negative.")


def splits_of(arguments: Namespace) -> dict[str, Path]:
    """The data inputs that were given. An MLTable wins over a file, as in Azure's component."""
    given = {
        split: getattr(arguments, f"{split}_mltable_path") or getattr(arguments, f"{split}_file_path")
        for split in ("train", "validation", "test")
    }
    return {split: path for split, path in given.items() if path}


def check_split(split: str, path: Path) -> int:
    """Checks each row and returns how many there are."""
    faults: list[str] = []
    rows = answered = 0
    for where, row in read_rows(path):
        rows += 1
        if fault := fault_of(row):
            faults.append(f"{where}: {fault}")
        else:
            answered += has_an_answer(row)
    if faults:
        more = f" and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise UserError(
            f"The {split} data has {len(faults)} bad rows of {rows}: {'; '.join(faults[:FAULTS_SHOWN])}{more}."
        )
    if split == "train" and not answered:
        raise UserError(
            f"None of the {rows} rows of the training data has an assistant message of a weight other than 0 in {COLUMN!r}: "
            "there is nothing to learn from. Give rows with an answer."
        )
    logger.info("%s data: %d rows, %d without an answer to learn", split, rows, rows - answered)
    return rows


def write_report(output: Path, rows: dict[str, int]) -> None:
    """`output` is a file to write, or a folder to write it in."""
    file = output / "validation_info.json" if output.is_dir() else output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"status": "Succeeded", "rows": rows}), "utf-8")


if __name__ == "__main__":
    run("ft_nlp_common_validation", validate)
