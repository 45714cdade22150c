"""What can be learnt: the counting, the model's own tokenizer from the registry, and what is said where there is none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocks import AzureMLWorkspace
from tasks import forecast as module
from tasks.azure_ml.foundation import FoundationModel
from tasks.forecast import Forecast, forecast_learning, learnable
from tasks.models import ModelParameters, find_foundation_model
from tasks.pipeline import SubmittedJob
from tasks.sampling.results import SampledDataset
from tasks.sampling.sample import sample
from tests.emulated import Emulator, command_line
from tests.tasks.dataset.made import only_train, write_jsonl

WORDS = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"},
}
"""A tokenizer.json by which every word is a token."""
NONE = "There is no forecast of what can be learnt: "


def words(rows: Any) -> list[list[int]]:
    return [[len(text.split()) for text in row] for row in rows]


def written(path: Path, rows: list[list[dict[str, Any]]]) -> Path:
    return write_jsonl(path, [{"messages": messages} for messages in rows])


def row(asked: int, answered: int) -> list[dict[str, Any]]:
    """A question and an answer of so many words."""
    return [{"role": "user", "content": "q " * asked}, {"role": "assistant", "content": " ".join("a" * answered)}]


MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool"]),
        "content": st.none() | st.integers(0, 6).map(lambda count: " ".join("w" * count)),
    },
    optional={"weight": st.just(0)},
)


@example(rows=[row(3, 1)], limit=3)
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(MESSAGE, min_size=1, max_size=6), max_size=8), limit=st.none() | st.integers(1, 20))
def test_what_is_counted_is_what_lies_before_the_cut(
    rows: list[list[dict[str, Any]]], limit: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with_answer = tokens = within = 0
    for messages in rows:
        place, begins = 0, []
        for message in messages:
            learnt = message["role"] == "assistant" and "weight" not in message
            begins += [place] if learnt else []
            for _ in (message["content"] or "").split():
                tokens += learnt
                within += learnt and (limit is None or place < limit)
                place += 1
        with_answer += any(limit is None or begin < limit for begin in begins)
    found = learnable(written(tmp_path_factory.mktemp("rows") / "train.jsonl", rows), len(rows), words, limit)
    assert (found.rows, found.rows_with_answer) == (len(rows), with_answer)
    assert (found.answer_tokens, found.answer_tokens_within) == (tokens, within)


def test_of_a_large_sample_the_first_rows_are_counted_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "train.jsonl", [row(1, 1)] * 90)
    monkeypatch.setattr(module, "BATCH_BYTES", path.stat().st_size // 9 - 1)
    monkeypatch.setattr(module, "COUNTED_BYTES", path.stat().st_size // 3)
    found = learnable(path, 90, words, 8)
    assert found.rows == 30
    assert "at most 30 of the first 30 of 90 rows" in Forecast(limit=8, splits={"train": found}).sentence("train")


@pytest.fixture
def data(tmp_path: Path) -> SampledDataset:
    """Three rows; the answer of the last begins at its 40th word."""
    rows = [{"messages": [*messages]} for messages in (row(3, 5), row(8, 5), row(40, 5))]
    return sample(only_train(write_jsonl(tmp_path / "rows.jsonl", rows)), tmp_path / "samples")


class Told:
    """Forecasts of `data`."""

    def __init__(self, workspace: AzureMLWorkspace, data: SampledDataset) -> None:
        self._workspace, self._data = workspace, data
        self.kept = data.train.path.parents[1] / "tokenizers"

    def of(self, model: FoundationModel, tokenizer: Path | None = None, **tags: str) -> Forecast:
        job = {"data_sha256": self._data.sha256, "max_seq_length": "10", **tags}
        return forecast_learning(self._workspace, model, self._data, str(tokenizer) if tokenizer else None, job)


@pytest.fixture
def told(workspace: AzureMLWorkspace, data: SampledDataset) -> Told:
    return Told(workspace, data)


def imported(emulator: Emulator, workspace: AzureMLWorkspace, folder: Path, **files: str) -> FoundationModel:
    """A model of the registry with these files, by their names, which may be without `.json`."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    for name, content in {"config": "{}", "tokenizer_config": "{}", **files}.items():
        file = folder / (name if "." in name else f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    command_line("import-model", str(folder), "--name", folder.name, "--state", str(emulator.state))
    return find_foundation_model.fn(workspace, ModelParameters(name=folder.name))


def test_the_registry_s_tokenizer_is_fetched_once_and_without_the_weights(
    emulator: Emulator, told: Told, foundation: FoundationModel
) -> None:
    emulator.ask("DELETE", "/calls")
    first = told.of(foundation, max_seq_length="16")
    made = emulator.ask("GET", "/calls")
    blobs = [call["path"].split("/")[-1] for call in made if ".blob." in call["host"] and "?comp=" not in call["path"]]
    assert blobs == ["tokenizer_config.json", "tokenizer.json"]
    assert (first.splits["train"].rows, first.splits["train"].rows_with_answer) == (3, 2)
    assert first.limit == 16
    emulator.ask("DELETE", "/calls")
    assert told.of(foundation, max_seq_length="16") == first
    assert emulator.ask("GET", "/calls") == []
    assert [path.name for path in sorted(told.kept.glob("*/*"))] == ["tokenizer.json", "tokenizer_config.json"]


def test_without_max_seq_length_the_limit_is_the_model_s_own(
    emulator: Emulator, workspace: AzureMLWorkspace, told: Told, foundation: FoundationModel, tmp_path: Path
) -> None:
    assert told.of(foundation, max_seq_length="-1").limit == 4096
    files = {"a/tokenizer": "{}", "tokenizer": json.dumps(WORDS)}
    model = imported(emulator, workspace, tmp_path / "no-limit", **files)
    unknown = told.of(model, max_seq_length="-1")
    assert unknown.limit is None
    assert unknown.sentence("train").startswith("3 rows have 15 tokens of answers; how many can be learnt is not known")


def test_a_limit_that_stands_for_none_is_none(
    emulator: Emulator, workspace: AzureMLWorkspace, told: Told, tmp_path: Path
) -> None:
    files = {"tokenizer": json.dumps(WORDS), "tokenizer_config": json.dumps({"model_max_length": int(1e30)})}
    model = imported(emulator, workspace, tmp_path / "boundless", **files)
    assert told.of(model, max_seq_length="-1").limit is None


def test_a_tokenizer_is_kept_only_with_what_belongs_to_it(
    emulator: Emulator, workspace: AzureMLWorkspace, told: Told, tmp_path: Path
) -> None:
    model = imported(emulator, workspace, tmp_path / "in-parts", tokenizer=json.dumps(WORDS))
    with emulator.fault(
        {"path": "*/tokenizer_config.json"}, {"kind": "status", "status": 403, "code": "x", "message": "x"}
    ):
        assert told.of(model).why_none.startswith(NONE)
    assert list(told.kept.glob("*/tokenizer.json")) == []
    # Of another place the same name and version may be another model.
    assert told.of(model).splits.keys() == {"train"}
    assert told.of(model.model_copy(update={"files": f"{model.files}/elsewhere"})).splits == {}


def test_the_tokenizer_that_the_person_names_wins_and_rows_that_are_not_learnt_are_warned_of(
    told: Told, foundation: FoundationModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(WORDS))
    its = told.of(foundation, tmp_path)
    assert its.splits["train"].model_dump() == {
        "sampled": 3, "rows": 3, "rows_with_answer": 2, "answer_tokens": 15, "answer_tokens_within": 7,
    }  # fmt: skip
    assert its.sentence("train") == (
        "at most 2 of 3 rows can be learnt (1 without an answer that begins within 10 tokens, max_seq_length); of the answers' "
        "texts 7 of 15 tokens"
    )
    assert not told.kept.exists()
    assert its.notes == [module.OWN_SHARE]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    told.of(foundation, tmp_path, max_seq_length="50")
    assert [record.levelname for record in caplog.records[2:]] == ["INFO", "WARNING"]


@pytest.mark.parametrize(
    ("template", "knows"),
    [({}, None), ({"chat_template": "{{ tool_calls }}"}, True), ({"chat_template": "{{ x }}"}, False)],
)
def test_calls_that_the_model_s_template_does_not_write_are_told_before_they_are_paid_for(
    template: dict[str, str],
    knows: bool | None,
    workspace: AzureMLWorkspace,
    foundation: FoundationModel,
    tmp_path: Path,
) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    calling = [row(1, 1)[0], {"role": "assistant", "content": None, "tool_calls": [call]}]
    rows = [{"messages": messages} for messages in (calling, row(2, 2), row(3, 3))]
    params = only_train(write_jsonl(tmp_path / "rows.jsonl", rows), validation_percent=1, seed=1)
    sampled = sample(params, tmp_path / "samples")
    (tmp_path / "tokenizer.json").write_text(json.dumps(WORDS))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(template))
    tags = {"data_sha256": sampled.sha256, "max_seq_length": "10"}
    its = forecast_learning(workspace, foundation, sampled, str(tmp_path), tags)
    note = "The model's chat template does not write tool_calls, which 1 training rows have: that is not learnt."
    assert its.notes == ([note] if knows is False else [])
    assert "at most 1 of 1 rows can be measured; of" in its.sentence("validation")
    (tmp_path / "chat_template.jinja").write_text("{{ message.tool_calls }}")
    assert forecast_learning(workspace, foundation, sampled, str(tmp_path), tags).notes == []


@pytest.mark.parametrize(("name", "written"), [("thinking", True), ("reasoning_content", False), ("reasoning", False)])
def test_thoughts_that_the_model_s_own_template_does_not_write_are_told(
    name: str, written: bool, emulator: Emulator, workspace: AzureMLWorkspace, tmp_path: Path
) -> None:
    template = {"chat_template.jinja": "{% if message.thinking %}{{ message.reasoning_text }}{% endif %}"}
    model = imported(emulator, workspace, tmp_path / f"writes-{name}", tokenizer=json.dumps(WORDS), **template)
    asked, answered = row(1, 1)
    rows = [{"messages": [asked, answered | {name: "Hm."}]}, {"messages": row(2, 2)}]
    sampled = sample(only_train(write_jsonl(tmp_path / "rows.jsonl", rows)), tmp_path / "samples")
    told = Told(workspace, sampled).of(model).notes
    note = f"The model's chat template does not write {name}, which 1 training rows have: that is not learnt."
    assert told == [module.OWN_SHARE, *([] if written else [note])]


def test_what_the_model_is_only_asked_is_not_forecast(
    workspace: AzureMLWorkspace, foundation: FoundationModel, tmp_path: Path
) -> None:
    for place, split in enumerate(("train", "test", "gen")):
        write_jsonl(tmp_path / f"made/{split}.jsonl", [{"messages": row(place + 1, number + 1)} for number in range(3)])
    params = only_train(tmp_path / "made", train_split="train", test_split="test", score_split="gen")
    sampled = sample(params, tmp_path / "samples")
    (tmp_path / "tokenizer.json").write_text(json.dumps(WORDS))
    tags = {"data_sha256": sampled.sha256, "max_seq_length": "10"}
    its = forecast_learning(workspace, foundation, sampled, str(tmp_path), tags)
    assert sampled.splits().keys() == {"train", "test", "score"}
    assert its.splits.keys() == {"train", "test"}


def test_a_model_without_a_tokenizer_has_no_forecast(
    emulator: Emulator, workspace: AzureMLWorkspace, told: Told, tmp_path: Path
) -> None:
    model = imported(emulator, workspace, tmp_path / "no-tokenizer")
    its = told.of(model)
    assert its.why_none.startswith(f"{NONE}no-tokenizer version 1 has no tokenizer.json in the registry.")
    assert its.splits == {}
    untold = told.of(model.model_copy(update={"files": ""}))
    assert "the registry does not tell where the files of no-tokenizer version 1 are" in untold.why_none


def test_a_damaged_tokenizer_is_told_and_not_kept(
    emulator: Emulator, workspace: AzureMLWorkspace, told: Told, tmp_path: Path
) -> None:
    its = told.of(imported(emulator, workspace, tmp_path / "damaged", tokenizer="{}"))
    assert its.why_none.startswith(NONE) and "tokenizer.json is no tokenizer" in its.why_none
    assert list(told.kept.glob("*/tokenizer.json")) == []


def test_a_tokenizer_beyond_all_bounds_is_not_fetched(
    told: Told, foundation: FoundationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert "the tokenizer.json of Phi-3-mini-4k-instruct version 15 has" in told.of(foundation).why_none
    assert list(told.kept.glob("*/*")) == []


@pytest.mark.parametrize(
    ("path", "effect", "said"),
    [
        ("*/datarefs/*", {"kind": "status", "status": 403, "code": "AuthorizationFailed", "message": "Not allowed."}, "roles"),
        ("*.blob.core.windows.net/*", {"kind": "reset_before"}, "transient"),
        (
            "*.blob.core.windows.net/*",
            {"kind": "status", "status": 403, "code": "AuthorizationFailure", "message": "Not by https://a/b?sig=secret."},
            "network",
        ),
    ],
)  # fmt: skip
def test_a_registry_that_does_not_give_it_fails_nothing_and_no_signature_is_told(
    emulator: Emulator, told: Told, foundation: FoundationModel, path: str, effect: dict[str, Any], said: str
) -> None:
    with emulator.fault({"path": path, "times": 0}, effect):
        its = told.of(foundation)
    assert its.why_none.startswith(f"{NONE}{said}: ")
    assert "secret" not in its.why_none
    assert told.of(foundation).why_none == ""


def test_a_registry_that_does_not_answer_delays_nothing(
    emulator: Emulator, told: Told, foundation: FoundationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_SECONDS", 0.5)
    began = time.monotonic()
    with emulator.fault({"path": "*/datarefs/*"}, {"kind": "delay", "seconds": 4}):
        its = told.of(foundation)
    assert time.monotonic() - began < 3
    assert its.why_none.startswith(f"{NONE}it was not there within 0.5 s.")


def test_a_job_that_was_made_from_another_sample_is_not_forecast_by_this_one(
    told: Told, foundation: FoundationModel
) -> None:
    its = told.of(foundation, data_sha256="another")
    assert its.why_none.startswith(f"{NONE}the job was made from another sample.")


def test_a_job_that_an_older_run_has_kept_still_loads() -> None:
    kept = {
        "name": "a", "attempt": 1, "adopted": False, "display_name": "a", "experiment": "a", "studio_url": "", "tags": {},
        "parameters": [],
    }  # fmt: skip
    assert SubmittedJob.model_validate(kept).forecast == Forecast()
