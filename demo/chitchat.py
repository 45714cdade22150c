"""Turns the package `chitchat-dataset` (MIT) into a dataset in the schema and the layout of HuggingFaceH4/ultrachat_200k.

The package holds 7,168 chats between two people each, written for BYU's Chit-Chat Challenge and not moderated. Whoever
speaks first becomes the user, the other one the assistant. Of each chat the first `MAX_MESSAGES` messages are kept, and no
more than `MAX_CHARACTERS`, so that a conversation fits into the 256 tokens that a small model is trained with on a CPU.
Chats in which only one person speaks are left out, and so are chats that open like an earlier one: the prompts of all
splits differ. The same package gives the same rows.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

MAX_MESSAGES = 6
MAX_CHARACTERS = 800
ROLES = ("user", "assistant")
SPLITS = {"train_sft": 60, "test_sft": 15, "train_gen": 15, "test_gen": 10}
"""Percent of the conversations. Those of `*_gen` end with the user, whose message a model is to answer."""

Message = dict[str, str]


def convert(out: Path) -> dict[str, int]:
    """Writes `data/{split}-00000-of-00001.parquet` below `out`.

    Returns:
        The rows of each split.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    import polars as pl

    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for chat in _chats():
        messages = _conversation(chat)
        if not messages:
            continue
        prompt = messages[0]["content"]
        prompt_id = sha256(prompt.encode()).hexdigest()
        if prompt_id in seen:
            continue
        split = _split(prompt_id)
        messages = _ended(messages, by="user" if split.endswith("_gen") else "assistant")
        if messages:
            seen.add(prompt_id)
            rows[split].append({"prompt": prompt, "prompt_id": prompt_id, "messages": messages})
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    message = pl.Struct({"content": pl.String, "role": pl.String})
    schema = {"prompt": pl.String(), "prompt_id": pl.String(), "messages": pl.List(message)}
    for split, its in rows.items():
        pl.DataFrame(its, schema).write_parquet(folder / f"{split}-00000-of-00001.parquet")
    return {split: len(its) for split, its in rows.items()}


def _chats() -> Iterator[list[tuple[str, str]]]:
    """Each chat's texts with their senders. Reads the package's file: importing the package is not needed."""
    package = find_spec("chitchat_dataset")
    if package is None or package.origin is None:
        raise FileNotFoundError("The package chitchat-dataset is not installed. Run `make setup`.")
    with open(Path(package.origin).parent / "dataset.json", encoding="utf-8") as file:
        chats = json.load(file)
    for chat in chats.values():
        yield [(text["sender"], " ".join(text["text"].split())) for texts in chat["messages"] for text in texts]


def _conversation(chat: Iterable[tuple[str, str]]) -> list[Message]:
    """The chat's opening with one message a turn, whatever number of texts it was sent in."""
    said = ((sender, text) for sender, text in chat if text)
    messages: list[Message] = []
    characters = 0
    for turn, (_, texts) in enumerate(groupby(said, key=lambda spoken: spoken[0])):
        content = " ".join(text for _, text in texts)
        characters += len(content)
        if turn == MAX_MESSAGES or characters > MAX_CHARACTERS:
            break
        messages.append({"content": content, "role": ROLES[turn % 2]})
    return messages


def _ended(messages: list[Message], by: str) -> list[Message]:
    """The messages up to the last one of `by`; none when that leaves no exchange."""
    if messages[-1]["role"] != by:
        messages = messages[:-1]
    return messages if len(messages) > 1 else []


def _split(prompt_id: str) -> str:
    """The split by the prompt alone, so that a row never moves when others come or go."""
    place = int(prompt_id[:8], 16) % 100
    for split, percent in SPLITS.items():
        if place < percent:
            return split
        place -= percent
    raise AssertionError("the percentages add up to 100")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.chitchat", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write the dataset into")
    out = parser.parse_args().out
    for split, rows in convert(out).items():
        print(f"{split}: {rows} conversations")


if __name__ == "__main__":
    main()
