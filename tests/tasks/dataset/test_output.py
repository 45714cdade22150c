"""What a sample is on the disk, and when it is there."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.sampling.errors import InvalidRows
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample
from tasks.sampling.tokens import text_counter
from tests.tasks.dataset.made import (
    Row,
    conversation,
    conversations,
    dataset,
    only_train,
    read_jsonl,
    rows_of,
    sample_all,
    write_jsonl,
    write_parquet,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda text: text.strip() != ""
)


@st.composite
def _rows(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 6))):
        texts = draw(st.lists(TEXT, min_size=1, max_size=3).map(lambda texts: texts * 2))
        texts[0] = f"{number}{texts[0]}"
        messages = [{"content": text, "role": ("user", "assistant")[turn % 2]} for turn, text in enumerate(texts)]
        rows.append({"prompt": texts[0], "messages": messages, "prompt_id": f"{number} {draw(TEXT)}"})
    return rows


@pytest.mark.parametrize("form", [write_parquet, write_jsonl])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_rows())
def test_what_is_accepted_is_read_back_equal(form: Any, tmp_path: Path, rows: list[Row]) -> None:
    made = tmp_path / str(time.monotonic_ns())
    source = form(made / f"rows{'.parquet' if form is write_parquet else '.jsonl'}", rows)
    assert rows_of(source, made / "out") == rows


ODD_TEXTS = {
    "line separator": "one\u2028two\u2029three\x85four",
    "carriage return": "one\r\ntwo\rthree",
    "controls": "nul \x00, unit separator \x1f, delete \x7f",
    "quotes and slashes": "\"'\\/ </script>",
    "beyond the first plane": "🙂 𝔘 👩‍👩‍👧",
    "right to left": "שלום \u202eabc",
    "combining": "e\u0301 \u00e9",
    "byte order mark": "\ufeffhello",
}


@pytest.mark.parametrize("form", [write_parquet, write_jsonl])
@pytest.mark.parametrize("name", ODD_TEXTS)
def test_odd_text_stays_on_one_line_and_comes_back_equal(name: str, form: Any, tmp_path: Path) -> None:
    rows = [conversation(1, text=ODD_TEXTS[name]), conversation(2)]
    source = form(tmp_path / ("rows.parquet" if form is write_parquet else "rows.jsonl"), rows)
    train = sample(only_train(source), tmp_path / "out").train
    assert train.path.read_bytes().count(b"\n") == 2
    assert read_jsonl(train.path) == rows


def test_the_result_tells_what_the_files_hold(tmp_path: Path) -> None:
    rows = [*conversations(3), *conversations(2, 10, turns=4), *conversations(1, 20, turns=20)]
    source = write_parquet(tmp_path / "rows.parquet", rows)
    train = sample(only_train(source, rows=5), tmp_path / "out").train
    data = train.path.read_bytes()
    assert (train.rows, train.source_rows, train.dropped, train.bytes) == (5, 6, 0, len(data))
    assert train.sha256 == hashlib.sha256(data).hexdigest()
    assert [(bar.upper, bar.rows) for bar in train.turns] == [(2, 3), (4, 2)]
    assert [(bar.upper, bar.rows) for bar in train.characters] == [(32, 3), (64, 2)]


def test_files_are_named_by_what_they_are_for(tmp_path: Path) -> None:
    sampled = sample_all(dataset(tmp_path / "made"), tmp_path / "out", percent=50)
    assert {purpose: split.path.name for purpose, split in sampled.splits().items()} == {
        "train": "train.jsonl",
        "validation": "validation.jsonl",
        "test": "test.jsonl",
        "score": "score.jsonl",
    }
    written = {path.name for path in sampled.train.path.parent.iterdir()}
    assert written == {"train.jsonl", "validation.jsonl", "test.jsonl", "score.jsonl", "sample.json"}


def test_the_same_rows_are_the_same_sample(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made")
    first = sample_all(source, tmp_path / "out", percent=50)
    second = sample_all(source, tmp_path / "out", percent=50)
    assert (first.reused, second.reused) == (False, True)
    assert second == first.model_copy(update={"reused": True})


@pytest.mark.parametrize("form", [write_parquet, write_jsonl])
def test_a_file_changed_in_place_is_another_file_whatever_its_size_and_time(form: Any, tmp_path: Path) -> None:
    path = tmp_path / ("rows.parquet" if form is write_parquet else "rows.jsonl")
    form(path, conversations(5))
    first = sample(only_train(path), tmp_path / "out")
    before = path.stat()
    form(path, [conversation(7), *conversations(4, 1)])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second = sample(only_train(path), tmp_path / "out")
    assert not second.reused
    assert (first.sha256, first.train.path) != (second.sha256, second.train.path)
    assert read_jsonl(second.train.path)[0] == conversation(7)


def test_a_kept_sample_that_was_changed_is_not_used_again(tmp_path: Path) -> None:
    source = dataset(tmp_path / "made")
    first = sample_all(source, tmp_path / "out", percent=50)
    written = first.train.path.read_bytes()
    first.train.path.write_bytes(written.replace(b"hello 1.", b"jello 1."))
    second = sample_all(source, tmp_path / "out", percent=50)
    assert second == first
    assert second.train.path.read_bytes() == written


def test_changed_data_changed_parameters_and_a_cut_file_are_sampled_anew(tmp_path: Path) -> None:
    source, out = dataset(tmp_path / "made"), tmp_path / "out"
    first = sample_all(source, out, percent=50)
    assert not sample_all(source, out, percent=50, seed=43).reused
    first.train.path.write_bytes(b"")
    again = sample_all(source, out, percent=50)
    assert not again.reused
    assert again == first
    write_parquet(source / "data/train_sft-00000-of-00002.parquet", conversations(20, 5000))
    changed = sample_all(source, out, percent=50)
    assert not changed.reused
    assert changed.sha256 != first.sha256


def test_the_hash_names_the_content_and_nothing_else(tmp_path: Path) -> None:
    one = sample_all(dataset(tmp_path / "one"), tmp_path / "out", percent=50)
    two = sample_all(dataset(tmp_path / "two"), tmp_path / "out", percent=50)
    assert one.key != two.key
    assert one.sha256 == two.sha256


def test_a_refused_sample_leaves_nothing(tmp_path: Path) -> None:
    rows = conversations(5000)
    rows[-1]["prompt"] = "other"
    source = write_parquet(tmp_path / "rows.parquet", rows, group_rows=1000)
    with pytest.raises(InvalidRows, match="row 5000"):
        sample(only_train(source), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_kill_leaves_no_half_sample_and_the_next_run_is_whole(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(3000), group_rows=500)
    script = (
        "import sys, time; from pathlib import Path; from tasks.sampling.sample import sample\n"
        "from tests.tasks.dataset.made import only_train\n"
        "def stop(split, done, total):\n"
        "    print('wrote', flush=True); time.sleep(60)\n"
        "sample(only_train(sys.argv[1]), Path(sys.argv[2]), progress=stop)"
    )
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    visible = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert visible == []
    assert rows_of(source, tmp_path / "out") == conversations(3000)


def test_what_a_kill_left_behind_is_removed_after_a_day(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "rows.parquet", conversations(3))
    old, new = tmp_path / "out/.sample-old.partial", tmp_path / "out/.sample-new.partial"
    for folder, hours in ((old, 25), (new, 23)):
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - hours * 3600,) * 2)
    sample(only_train(source), tmp_path / "out")
    assert (old.exists(), new.exists()) == (False, True)


def test_what_is_published_is_on_the_disk_and_for_all_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int | str] = []
    fsync, rename = os.fsync, os.rename

    def flushed(descriptor: int) -> None:
        done.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        done.append("renamed")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "rename", renamed)
    train = sample(only_train(write_jsonl(tmp_path / "rows.jsonl", conversations(3))), tmp_path / "out").train
    folder = train.path.parent
    # A name on the disk whose bytes are not is what a power cut would leave.
    assert done == [train.path.stat().st_ino, folder.stat().st_ino, "renamed", folder.parent.stat().st_ino]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_sample_that_another_run_has_published_meanwhile_stays(tmp_path: Path) -> None:
    source, params = tmp_path / "rows.jsonl", only_train(tmp_path / "rows.jsonl")
    write_jsonl(source, conversations(3))
    others: list[SampledDataset] = []

    def overtake(split: str, done: int, total: int) -> None:
        if not others:
            others.append(sample(params, tmp_path / "out", progress=lambda *_: None))

    ours = sample(params, tmp_path / "out", progress=overtake)
    assert ours == others[0].model_copy(update={"reused": True})
    assert [path.name for path in (tmp_path / "out").iterdir()] == [ours.train.path.parent.name]
    assert read_jsonl(ours.train.path) == conversations(3)


def test_progress_moves_to_the_end_of_every_split(tmp_path: Path) -> None:
    moves: list[tuple[str, int, int]] = []
    source = write_parquet(
        tmp_path / "rows.parquet", [conversation(number, text="word " * 5000) for number in range(400)]
    )
    sample(only_train(source), tmp_path / "out", progress=lambda split, done, total: moves.append((split, done, total)))
    assert moves[-1] == ("train_sft", 400, 400)
    assert [done for _, done, _ in moves] == sorted({done for _, done, _ in moves})
    assert len(moves) > 1


def test_tokens_are_bounded_with_the_model_s_tokenizer(tmp_path: Path) -> None:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [conversation(1), conversation(2, text="one two three"), conversation(3)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InvalidRows) as refused:
        sample(only_train(source, max_tokens=4, tokenizer=str(tmp_path)), tmp_path / "out")
    assert str(refused.value).splitlines()[1:] == ["  rows.jsonl, row 2: more than 4 tokens (max_tokens): 8"]
    first = sample(only_train(source, max_tokens=8, tokenizer=str(tmp_path)), tmp_path / "out")
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text() + "\n")
    second = sample(only_train(source, max_tokens=8, tokenizer=str(tmp_path)), tmp_path / "out")
    assert first.key != second.key


def test_tokens_are_counted_whatever_the_tokenizer_was_last_used_for(tmp_path: Path) -> None:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert text_counter(str(tmp_path))([["one two three four five", "one"]]) == [[5, 1]]


def test_the_manifest_is_the_result(tmp_path: Path) -> None:
    sampled = sample_all(dataset(tmp_path / "made"), tmp_path / "out", percent=50)
    manifest = json.loads((sampled.train.path.parent / "sample.json").read_text())
    assert manifest == sampled.model_dump(mode="json")
