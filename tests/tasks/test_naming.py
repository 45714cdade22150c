"""Names that derive from a run."""

import re
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from tasks.form import RESOURCE_NAME
from tasks.naming import (
    ENDPOINT_NAME_MAX,
    RunNames,
    dataset_label,
    dataset_word,
    dated,
    first_version,
    model_name,
    run_id_of,
    short,
    slug,
)

RUN = UUID("01a20b86-0000-7000-8000-00000000002a")
NEXT_RUN = UUID("01a20b86-0000-7000-8000-00000000002b")


def test_ids_that_begin_alike_get_different_names() -> None:
    assert RunNames(RUN).endpoint != RunNames(NEXT_RUN).endpoint
    assert RunNames(RUN).job(1) != RunNames(NEXT_RUN).job(1)


def test_an_endpoint_name_keeps_azures_rules() -> None:
    name = RunNames(uuid4()).endpoint
    assert 3 <= len(name) <= ENDPOINT_NAME_MAX
    assert name[0].isalpha()
    assert name.replace("-", "").isalnum()
    assert name == name.lower()


def test_the_short_id_keeps_all_bits() -> None:
    from base64 import b32decode

    assert UUID(bytes=b32decode(short(RUN).upper() + "======")) == RUN


def test_a_successor_is_numbered() -> None:
    names = RunNames(RUN)
    assert names.job(2) == f"{names.job(1)}-r2"


def test_another_runs_id_as_job_key_names_that_runs_job() -> None:
    assert RunNames(NEXT_RUN, str(RUN)).job(1) == RunNames(RUN).job(1)
    assert RunNames(NEXT_RUN, RunNames(RUN).job(1)).job(1) == RunNames(RUN).job(1)


def test_a_job_key_leaves_the_endpoint_to_the_run() -> None:
    assert RunNames(NEXT_RUN, str(RUN)).endpoint == RunNames(NEXT_RUN).endpoint


@pytest.mark.parametrize("key", ["nightly", "2026-11-24", "a_b"])
def test_a_word_as_job_key_is_shared_by_all_runs(key: str) -> None:
    assert RunNames(RUN, key).job(1) == RunNames(NEXT_RUN, key).job(1) == f"ft-{key}"


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


def test_names_derived_from_others_are_such_as_azure_takes() -> None:
    made = model_name("Phi-3.5-mini_instruct", "azureml:Chats.of/May v1:3")
    assert made == "Phi-3-5-mini-instruct-3"
    assert re.fullmatch(RESOURCE_NAME, made)
    assert re.fullmatch(RESOURCE_NAME, f"chat_completion_{slug('Llama-3.1-8B')}")
    assert not re.fullmatch(RESOURCE_NAME, "Phi-3.5")


def test_a_version_is_the_second_of_its_night_and_shows_its_day() -> None:
    assert first_version(datetime(2026, 11, 27, 2, tzinfo=UTC)) == 1795744800
    assert dated("1795744800") == "1795744800 (27 November 2026)"
    assert [dated(version) for version in ("12", "4ume3nsw", "99999999999")] == ["12", "4ume3nsw", "99999999999"]


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("/data/my chats/", "my-chats"),
        ("chats.jsonl", "chats"),
        ("azureml:chats:3", "3"),
        ("azureml://datastores/d/paths/a/b", "b"),
    ],
)
def test_any_source_gives_a_label_that_a_name_can_hold(source: str, label: str) -> None:
    assert dataset_label(source) == label
