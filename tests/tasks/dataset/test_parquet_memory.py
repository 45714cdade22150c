"""A Parquet file is read within one bound of memory, whatever it is like. Peaks are those of a process of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.core.exceptions import ServiceResponseError

from tasks.sampling.errors import SourceUnavailable, UnreadableFile
from tasks.sampling.formats.bounds import BATCH_BYTES, BATCH_ROWS
from tasks.sampling.formats.parquet import ParquetReader
from tasks.sampling.ranged import RangedFile
from tasks.sampling.tree import DataFile
from tests.emulated import ROOT

MIB = 1 << 20
LONG = 50_000_000

CHILD = """
import json, sys
from pathlib import Path
import numpy as np
import tasks.sampling
from tasks.sampling.errors import SourceUnavailable, UnreadableFile
from tests.tasks.dataset.test_parquet_memory import opened, peak
told = {"rows": 0, "most_bytes": 0, "most_rows": 0, "too_long": 0, "refusal": ""}
try:
    reader = opened(Path(sys.argv[1]))
    for batch in reader.read(np.arange(reader.rows), list(reader.schema)):
        told["rows"] += len(batch.frame)
        told["most_bytes"] = max(told["most_bytes"], int(batch.frame.estimated_size()))
        told["most_rows"] = max(told["most_rows"], len(batch.frame))
        told["too_long"] += len(batch.too_long)
except UnreadableFile as error:
    told["refusal"] = str(error)
print(json.dumps(told | {"peak": peak()}))
"""

FUZZ = """
import random, sys
from pathlib import Path
import numpy as np
from tasks.sampling.errors import SourceUnavailable, UnreadableFile
from tests.tasks.dataset.test_parquet_memory import opened, peak
path, seed = Path(sys.argv[1]), random.Random(1)
data = path.read_bytes()
footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
refused = 0
for number in range(300):
    changed = bytearray(data)
    for _ in range(seed.randint(1, 3)):
        at = seed.randrange(footer, len(data)) if seed.random() < 0.5 else seed.randrange(len(data))
        changed[at] = seed.choice([0, 1, 127, 128, 255, changed[at] ^ 1 << seed.randrange(8)])
    path.write_bytes(changed)
    print("mutant", number, flush=True)
    try:
        reader = opened(path)
        for batch in reader.read(np.arange(reader.rows), list(reader.schema)):
            batch.frame.rows()
    except UnreadableFile:
        refused += 1
print("refused", refused, peak())
"""


SAMPLED = """
import sys
from pathlib import Path
from tasks.sampling.errors import DatasetError
from tasks.sampling.sample import sample
from tests.tasks.dataset.test_parquet_memory import peak
from tests.tasks.dataset.made import only_train
path = Path(sys.argv[1])
try:
    sample(only_train(path), path.parent / "out")
except DatasetError as error:
    print(str(error).splitlines()[0])
print(peak())
"""


def opened(path: Path, max_characters: int = 200_000) -> ParquetReader:
    """A reader of a file on this machine."""
    size = path.stat().st_size
    return ParquetReader(DataFile(path.name, size, lambda: path.open("rb", buffering=0)), max_characters)


def peak() -> int:
    """The most memory that this process had, in bytes; `getrusage` of a started process begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def in_a_process(script: str, path: Path) -> list[str]:
    """What the script prints."""
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit code {done.returncode} after {done.stdout[-200:]}\n{done.stderr[-2000:]}"
    return done.stdout.splitlines()


def read(path: Path) -> dict[str, Any]:
    """What reading the file gives, and the peak of memory."""
    told: dict[str, Any] = json.loads(in_a_process(CHILD, path)[-1])
    return told


def write(path: Path, content: pa.Array, **options: Any) -> None:
    """A file of conversations that begin with these texts."""
    rows = len(content)
    message = pa.StructArray.from_arrays([content, pa.array(["user"] * rows)], ["content", "role"])
    messages = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32)), message)
    ids = pa.array([f"id-{number}" for number in range(rows)])
    pq.write_table(pa.table({"messages": messages, "prompt_id": ids}), path, **options)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where a test writes its file, which may be large and does not stay."""
    path = tmp_path / "rows.parquet"
    yield path
    path.unlink(missing_ok=True)


def test_rows_that_share_one_text_are_read_in_bounded_batches(file: Path) -> None:
    write(file, pa.array(["word " * 180_000] * 500))
    assert file.stat().st_size < 100_000
    told = read(file)
    assert (told["rows"], told["too_long"], told["refusal"]) == (500, 0, "")
    assert told["most_bytes"] < BATCH_BYTES + 900_000 + 4_096  # a batch is full with the row that fills it
    assert told["peak"] < 400 * MIB


def test_many_rows_are_read_some_at_a_time(file: Path) -> None:
    write(file, pa.array([f"row {number}" for number in range(2 * BATCH_ROWS)]))
    assert read(file)["most_rows"] == BATCH_ROWS


@pytest.mark.parametrize("texts", [["x"] * 20, [chr(ord("a") + number) for number in range(20)]], ids=["one", "twenty"])
@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False, "write_batch_size": 1}, {"row_group_size": 1}], ids=str
)
def test_texts_of_fifty_megabytes_are_refused_within_the_bound(
    texts: list[str], options: dict[str, Any], file: Path
) -> None:
    write(file, pa.array([text * LONG for text in texts]), **options)
    [refusal, most] = in_a_process(SAMPLED, file)
    assert re.match(r"rows\.parquet, rows 1 to (1|20), (have a text|lie in a page) of (47|9\d\d) MiB ", refusal), (
        refusal
    )
    assert "Leave rows that long out of the file" in refusal
    # 254 MiB where nothing else runs; beside other work a thread lets go of one more text of 47 MiB later.
    assert int(most) < 330 * MIB


def test_a_whole_sample_of_rows_that_share_one_text_stays_within_the_bound(file: Path) -> None:
    # An export that pastes one document into every row.
    write(file, pa.array(["word " * 180_000] * 500))
    [told, most] = in_a_process(SAMPLED, file)
    assert told.startswith("500 rows break a rule.")
    assert int(most) < 400 * MIB


@pytest.mark.parametrize("compression", ["snappy", "lz4"])
def test_a_dictionary_may_hold_texts_that_no_row_uses(compression: str, file: Path) -> None:
    shared = pa.array(["w" * 900_000, *(f"unused {number}" for number in range(1000))])
    write(file, pa.DictionaryArray.from_arrays(np.zeros(500, dtype=np.int32), shared), compression=compression)
    told = read(file)
    assert (told["rows"], told["refusal"]) == (500, "")
    assert told["most_bytes"] < BATCH_BYTES + 900_000 + 4_096
    assert told["peak"] < 300 * MIB


def test_a_page_of_a_gigabyte_is_refused_before_it_is_read(file: Path) -> None:
    texts = [chr(ord("a") + number) * LONG for number in range(20)]
    write(file, pa.array([f"row {number}" for number in range(1000)] + texts))
    told = read(file)
    assert re.match(r"rows\.parquet, rows 1 to 1020, lie in a page of 9\d\d MiB of messages\.list\.el", told["refusal"])
    assert "Leave rows that long out of the file, or write it with fewer rows a page" in told["refusal"]
    assert told["peak"] < 400 * MIB


def test_the_remedy_for_a_large_page_helps(file: Path) -> None:
    texts = ["x" * (8 * MIB) + f"{number:02}" for number in range(20)]
    write(file, pa.array(texts), use_dictionary=False)
    assert "lie in a page of " in read(file)["refusal"]
    write(file, pa.array(texts), use_dictionary=False, write_batch_size=1)
    told = read(file)
    assert (told["rows"], told["too_long"], told["refusal"]) == (0, 20, "")


def test_a_row_of_millions_of_messages_is_refused(file: Path) -> None:
    count = 30_000_000
    text = pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int32), pa.array(["x"]))
    pq.write_table(pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), text)}), file)
    assert file.stat().st_size < 3_000
    told = read(file)
    assert told["refusal"].startswith("rows.parquet, rows 1 to 1, hold 30,000,000 values in messages.list.element")
    assert told["peak"] < 400 * MIB


@pytest.mark.parametrize(
    "options", [{}, {"compression": "none", "data_page_version": "2.0"}, {"use_dictionary": False}]
)
def test_damaged_bytes_end_neither_in_another_error_nor_in_an_abort(options: dict[str, Any], file: Path) -> None:
    write(file, pa.array([f"What is {number}?" for number in range(30)]), row_group_size=20, **options)
    refused, most = in_a_process(FUZZ, file)[-1].split()[1:]
    assert int(refused) > 50
    assert int(most) < 400 * MIB


def test_a_row_that_is_too_long_is_told_in_its_place(file: Path) -> None:
    write(file, pa.array(["short", "x" * 3_000_000, "short, too"]))
    [batch] = opened(file, max_characters=10).read(np.arange(3), ["messages"])
    assert batch.too_long == [(1, 3_000_004)]
    assert batch.indices.tolist() == [0, 2]
    assert [row[0]["content"] for row in batch.frame["messages"].to_list()] == ["short", "short, too"]


def test_lists_of_fixed_size_categories_and_large_text_are_lists_and_text(file: Path) -> None:
    message = pa.struct([("content", pa.large_string()), ("role", pa.dictionary(pa.int8(), pa.string()))])
    rows = [[{"content": text, "role": "user"}, {"content": "b", "role": "assistant"}] for text in "ac"]
    pq.write_table(pa.table({"messages": pa.array(rows, pa.list_(message, 2))}), file)
    reader = opened(file)
    [batch] = reader.read(np.arange(2), ["messages"])
    assert batch.frame["messages"].to_list() == rows
    assert batch.frame.schema == reader.schema


@pytest.mark.parametrize("columns", [["prompt_id"], ["messages"]])
def test_only_the_row_groups_and_columns_asked_for_are_read(columns: list[str], file: Path) -> None:
    write(file, pa.array([f"{number} " * 500 for number in range(400)]), row_group_size=100)
    reads: list[int] = []

    class Counted:
        """The file's stream; notes how much is read."""

        def __init__(self) -> None:
            self._file = file.open("rb", buffering=0)

        def read(self, size: int = -1) -> bytes:
            data = self._file.read(size)
            reads.append(len(data))
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> "Counted":
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

    reader = ParquetReader(DataFile(file.name, file.stat().st_size, Counted, remote=True), 200_000)  # type: ignore[arg-type]
    reads.clear()
    assert [batch.indices.tolist() for batch in reader.read(np.array([150, 160]), columns)] == [[150, 160]]
    group = pq.read_metadata(file).row_group(1)
    chunks = [group.column(place) for place in range(group.num_columns)]
    wanted = sum(its.total_compressed_size for its in chunks if its.path_in_schema.split(".")[0] in columns)
    assert sum(reads) == wanted
    assert len(reads) == 1


@pytest.mark.parametrize("error", [SourceUnavailable("The hub answered 503."), ServiceResponseError("no answer")])
def test_a_place_that_does_not_answer_is_not_taken_for_a_damaged_file(error: Exception, file: Path) -> None:
    write(file, pa.array([f"{number} " * 500 for number in range(400)]), row_group_size=100)
    data, size = file.read_bytes(), file.stat().st_size
    answers = True

    def fetch(start: int, end: int) -> bytes:
        if not answers:
            raise error
        return data[start:end]

    reader = ParquetReader(DataFile(file.name, size, lambda: RangedFile(size, fetch), remote=True), 200_000)
    answers = False
    with pytest.raises(type(error), match=str(error)):
        list(reader.read(np.arange(400), ["messages"]))


def test_a_column_twice_is_refused(file: Path) -> None:
    column = pa.array(["a"])
    pq.write_table(pa.Table.from_arrays([column, column], names=["messages", "messages"]), file)
    with pytest.raises(UnreadableFile, match=r"rows\.parquet has two columns of one name"):
        opened(file)
