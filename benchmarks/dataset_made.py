"""Makes a dataset of ultrachat_200k's schema, layout and size, of nonsense.

Rows, shards and groups are the hub's: https://huggingface.co/datasets/HuggingFaceH4/ultrachat_200k. Text is about as long
as there (7 kB a conversation) and compresses about as well.
"""

import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

SPLITS = {"train_sft": (207_865, 3), "test_sft": (23_110, 1), "train_gen": (256_032, 3), "test_gen": (28_304, 1)}
"""Rows and files of each split."""

GROUP_ROWS = 1000
LETTERS = "etaoinshrdlucmfwypvbgk"
PHRASES = 600


def make(folder: Path, scale: float) -> None:
    """Writes the Parquet files below `folder / "data"`, with `scale` times as many rows as the original has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("content", pa.string()), ("role", pa.string())])
    schema = pa.schema([("prompt", pa.string()), ("prompt_id", pa.string()), ("messages", pa.list_(message))])
    rng = random.Random(0)
    phrases = _phrases(rng)
    (folder / "data").mkdir(parents=True)
    for split, (rows, shards) in SPLITS.items():
        total = max(shards, int(rows * scale))
        for shard in range(shards):
            path = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
            numbers = range(total * shard // shards, total * (shard + 1) // shards)
            with pq.ParquetWriter(path, schema, compression="snappy") as writer:
                for start in range(0, len(numbers), GROUP_ROWS):
                    group = numbers[start : start + GROUP_ROWS]
                    writer.write_table(pa.Table.from_pylist(list(_rows(split, group, phrases, rng)), schema))


def _rows(split: str, numbers: range, phrases: list[str], rng: random.Random) -> Iterator[dict[str, Any]]:
    for number in numbers:
        messages = []
        for turn in range(rng.choice([2, 4, 6, 6, 8, 8])):
            length = rng.randint(8, 14) if turn % 2 else rng.randint(1, 4)
            content = f"{split} {number} {turn} " + " ".join(rng.choices(phrases, k=length))
            messages.append({"content": content, "role": ("user", "assistant")[turn % 2]})
        prompt = messages[0]["content"]
        yield {"prompt": prompt, "prompt_id": sha256(prompt.encode()).hexdigest(), "messages": messages}


def _phrases(rng: random.Random) -> list[str]:
    """Of 24 words each, with some of the characters that writers of JSON escape."""
    words = ["".join(rng.choices(LETTERS, k=rng.randint(2, 9))) for _ in range(8000)]
    words += ["naïve", "don't", '"so"', "either/or", "\n\n", "日本", "🙂"]
    return [" ".join(rng.choices(words, k=24)) for _ in range(PHRASES)]
