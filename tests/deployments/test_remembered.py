"""What becomes of a field, by who changed it: the files, a person, both or nobody."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.variables import Variable

from deployments.remembered import Remembered, Settled

THING = "deployment finetune/nightly"
DEPLOYED = {"schedules": "02:00", "paused": False}


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Prefect's variables."""
    variables: dict[str, Any] = {}
    monkeypatch.setattr(Variable, "get", lambda name, default=None: variables.get(name, default))
    monkeypatch.setattr(Variable, "set", lambda name, value, overwrite: variables.update({name: value}))
    return variables


def deployed() -> None:
    memory = Remembered()
    memory.note(THING, DEPLOYED, DEPLOYED)
    memory.save()


def settled(
    *, reset: bool = False, files: dict[str, Any] | None = None, server: dict[str, Any] | None = None
) -> Settled:
    return Remembered(reset=reset).settle(THING, {**DEPLOYED, **(files or {})}, {**DEPLOYED, **(server or {})})


def test_where_nobody_changed_anything_there_is_nothing_to_do() -> None:
    deployed()
    assert settled() == Settled()


def test_the_order_of_what_the_server_tells_is_no_change() -> None:
    memory = Remembered()
    memory.note(THING, {"gate": {"a": 1, "b": 2}}, {"gate": {"a": 1, "b": 2}})
    assert memory.settle(THING, {"gate": {"b": 2, "a": 1}}, {"gate": {"b": 2, "a": 1}}) == Settled()


def test_what_was_left_alone_follows_the_files() -> None:
    deployed()
    assert settled(files={"schedules": "03:00"}) == Settled(wanted={"schedules": "03:00"})


def test_what_a_person_changed_stays_and_is_told() -> None:
    deployed()
    for files in ({}, {"schedules": "03:00"}):
        found = settled(files=files, server={"schedules": "05:00"})
        assert found == Settled(kept={"schedules": "05:00"})
        assert found.remark() == 'schedules stays as it was changed: "05:00"'


def test_a_change_stays_however_often_it_is_deployed() -> None:
    deployed()
    for _ in range(3):
        found = settled(server={"paused": True})
        assert found.kept == {"paused": True}
        memory = Remembered()
        memory.note(THING, DEPLOYED, {**DEPLOYED, "paused": True}, found.kept)
        memory.save()
    assert settled(server={"paused": False}) == Settled(), "undone by the person"


def test_reset_takes_the_files() -> None:
    deployed()
    assert settled(reset=True, server={"paused": True}) == Settled(wanted=DEPLOYED)


def test_where_nothing_is_remembered_the_files_win_but_for_what_is_said_to_be_a_persons() -> None:
    found = Remembered().settle(THING, DEPLOYED, {"schedules": "05:00", "paused": True}, always_theirs=["paused"])
    assert found == Settled(wanted={"schedules": "02:00"}, kept={"paused": True})


def test_what_the_files_do_not_have_is_a_persons_unless_they_had_it_once() -> None:
    deployed()
    assert settled(files={"parameters.model": None}, server={"parameters.model": "m"}).kept == {"parameters.model": "m"}
    gone = settled(files={"schedules": None})
    assert gone == Settled(wanted={"schedules": None})


def test_what_is_missing_was_deleted_by_a_person_if_it_was_deployed() -> None:
    assert not Remembered().knows(THING)
    deployed()
    assert Remembered().knows(THING)
    assert not Remembered(reset=True).knows(THING)


def test_the_memory_fits_into_one_variable_and_holds_no_value(kept: dict[str, Any]) -> None:
    memory = Remembered()
    for number in range(13):
        # As many as all automations and all parameters of the deployments come to, and a third more.
        fields = {f"field-{each}": "a secret " * 100 for each in range(17 if number < 3 else 6)}
        memory.note(f"automation a-name-as-long-as-any-{number}", fields, fields)
    memory.save()
    [text] = [str(value) for value in kept.values()]
    assert len(text) < 5000
    assert "secret" not in text
