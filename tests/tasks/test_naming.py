"""Names that derive from a run."""

from datetime import UTC, datetime
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blocks.names import JOB_KEY
from emulator.names import NAMES, VERSIONS
from tasks.jobs import MOST_ATTEMPTS
from tasks.naming import (
    DEPLOYMENT,
    RunNames,
    dataset_label,
    dataset_word,
    dated,
    experiment_name,
    first_version,
    is_derived,
    model_name,
    night_label,
    predecessor,
    run_id_in,
    run_id_of,
    serves,
    short,
)
from tasks.sampling.assets import VERSION_DIGITS, _name

RUN = UUID("01a20b86-0000-7000-8000-00000000002a")
NEXT_RUN = UUID("01a20b86-0000-7000-8000-00000000002b")


def test_ids_that_begin_alike_get_different_names() -> None:
    assert RunNames(RUN).endpoint != RunNames(NEXT_RUN).endpoint
    assert RunNames(RUN).job(1) != RunNames(NEXT_RUN).job(1)


def test_an_endpoint_name_keeps_azures_rules() -> None:
    name = RunNames(uuid4()).endpoint
    assert NAMES["onlineEndpoints"].takes(name)
    assert NAMES["deployments"].takes(DEPLOYMENT)
    assert name == name.lower()


def test_the_short_id_keeps_all_bits() -> None:
    from base64 import b32decode

    assert UUID(bytes=b32decode(short(RUN).upper() + "======")) == RUN


def test_a_successor_is_numbered() -> None:
    names = RunNames(RUN)
    assert names.job(2) == f"{names.job(1)}-r2"


@pytest.mark.parametrize("key", [None, "nightly", "my-r2"])
def test_a_successor_knows_the_job_before_it(key: str | None) -> None:
    names = RunNames(RUN, job_key=key)
    assert predecessor(names.job(1), 1) is None
    for attempt in (2, 3, 11):
        assert predecessor(names.job(attempt), attempt) == names.job(attempt - 1)


def test_a_runs_own_names_are_known_and_those_that_people_give_are_not() -> None:
    names = RunNames(RUN)
    assert all(is_derived(name) for name in (names.endpoint, names.job(1), names.job(2), names.job(12)))
    longer, other = f"{names.endpoint}-r2-mine", names.endpoint.removeprefix("ft-")
    assert not any(is_derived(name) for name in ("ft-nightly", RunNames(RUN, job_key="nightly").job(1), longer, other))


def test_a_description_names_the_run_that_wrote_it() -> None:
    assert run_id_in(serves("chats", RUN)) == RUN
    assert [run_id_in(text) for text in (None, "", "Ours now.", "Serves chats, fine-tuned by flow run 7")] == [None] * 4


def test_a_run_that_resumes_another_has_that_ones_job_and_an_endpoint_of_its_own() -> None:
    names = RunNames(NEXT_RUN, resume_run=RUN)
    assert (names.job(1), names.job(2)) == (RunNames(RUN).job(1), RunNames(RUN).job(2))
    assert names.endpoint == RunNames(NEXT_RUN).endpoint
    assert [its.shares for its in (names, RunNames(RUN), RunNames(RUN, job_key="nightly"))] == [True, False, True]


@pytest.mark.parametrize("key", ["nightly", "2026-11-24", "a_b"])
def test_a_word_as_job_key_is_shared_by_all_runs(key: str) -> None:
    assert RunNames(RUN, job_key=key).job(1) == RunNames(NEXT_RUN, job_key=key).job(1) == f"ft-{key}"


def test_tags_tell_the_run_and_what_has_none_was_not_made_by_one() -> None:
    assert run_id_of(RunNames(RUN).tags(base_model="m")) == RUN
    assert run_id_of({}) is None
    assert run_id_of(None) is None
    assert run_id_of({"prefect_flow_run_id": "not an id"}) is None


def test_the_reference_dataset_gives_the_references_names() -> None:
    assert (
        model_name("Phi-3-mini-4k-instruct", "HuggingFaceH4/ultrachat_200k") == "Phi-3-mini-4k-instruct-ultrachat-200k"
    )
    assert dataset_word("HuggingFaceH4/ultrachat_200k") == "ultrachat"


@pytest.mark.parametrize(
    ("base_model", "source", "model", "experiment"),
    [
        ("Phi-3.5-mini_instruct", "azureml:Chats.of/May v1:3", "Phi-3-5-mini-instruct-3", "Phi-3-5-mini-instruct"),
        (
            "meta-llama/Llama-3.1-8B",
            "HuggingFaceH4/ultrachat_200k",
            "meta-llama-Llama-3-1-8B-ultrachat-200k",
            "meta-llama-Llama-3-1-8B",
        ),
        (
            "HuggingFaceTB/SmolLM2-135M",
            "chats.v2.jsonl",
            "HuggingFaceTB-SmolLM2-135M-chats-v2",
            "HuggingFaceTB-SmolLM2-135M",
        ),
    ],
)
def test_names_derived_from_others_can_be_read(base_model: str, source: str, model: str, experiment: str) -> None:
    assert model_name(base_model, source) == model
    assert experiment_name(base_model) == f"chat_completion_{experiment}"


LONG = "x" * 255


@given(base_model=st.text(max_size=300), source=st.text(max_size=300), purpose=st.sampled_from(["train", "validation"]))
@example(base_model=LONG, source=LONG, purpose="validation")
@example(base_model="Phi-3.5-mini-instruct", source="azureml:chats@latest", purpose="train")
def test_names_derived_from_others_are_such_as_azure_takes(base_model: str, source: str, purpose: str) -> None:
    assert NAMES["models"].takes(model_name(base_model, source))
    assert NAMES["experiments"].takes(experiment_name(base_model))
    asset = _name(source, purpose)
    assert NAMES["data"].takes(asset)
    assert asset.endswith(f"-{purpose}"), "what it is for is never cut off"
    assert VERSIONS["data"].takes("f" * VERSION_DIGITS)


@given(run=st.uuids(), key=st.none() | st.from_regex(JOB_KEY.pattern, fullmatch=True), attempt=st.integers(1, 99))
@example(run=RUN, key="x" * JOB_KEY.longest, attempt=MOST_ATTEMPTS - 1)
def test_a_job_of_any_key_and_attempt_has_a_name_that_azure_takes(run: UUID, key: str | None, attempt: int) -> None:
    if key is None or JOB_KEY.takes(key):
        assert NAMES["jobs"].takes(RunNames(run, job_key=key).job(attempt))


@given(night=st.datetimes(datetime(2001, 9, 10), datetime(2038, 1, 18), timezones=st.just(UTC)))
def test_the_version_of_any_night_is_one_that_azure_takes(night: datetime) -> None:
    assert VERSIONS["models"].takes(str(first_version(night)))


def test_a_version_is_the_second_of_its_night_and_shows_its_day() -> None:
    assert first_version(datetime(2026, 11, 27, 2, tzinfo=UTC)) == 1795744800
    assert dated("1795744800") == "1795744800 (27 November 2026)"
    assert [dated(version) for version in ("12", "4ume3nsw", "99999999999")] == ["12", "4ume3nsw", "99999999999"]


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("/data/my chats/", "my-chats"),
        ("chats.jsonl", "chats"),
        ("chats.json", "chats"),
        ("/data/chats.parquet", "chats"),
        ("azureml:chats:3", "3"),
        ("azureml://datastores/d/paths/a/b", "b"),
    ],
)
def test_any_source_gives_a_label_that_a_name_can_hold(source: str, label: str) -> None:
    assert dataset_label(source) == label


@pytest.mark.parametrize(
    ("due", "label"),
    [
        (datetime(2026, 11, 30, 2, tzinfo=UTC), "2026-11-30 02:00"),
        (datetime(2026, 11, 30, 2, 0, 7, 900_000, tzinfo=UTC), "2026-11-30 02:00:07"),
        # The hour that comes twice, when clocks are put back.
        (datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")), "2026-10-25 00:30"),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), "2026-10-25 01:30"),
    ],
)
def test_runs_of_one_day_have_names_of_their_own(due: datetime, label: str) -> None:
    assert night_label(due) == label
