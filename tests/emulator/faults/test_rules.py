"""Which calls a rule hits, and how rules are added, listed and cleared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError

from emulator.faults.book import Faults
from emulator.faults.rules import Rule
from emulator.store import Store
from tests.emulated import Emulator, command_line
from tests.emulator.faults.conftest import add, rules

JOBS = "/subscriptions/s/workspaces/w/jobs/j"


def hits(faults: Faults, calls: int) -> list[bool]:
    """Which of that many same calls are hit."""
    met = [faults.meet("PUT", "management.azure.com", JOBS, "w/jobs/write") for _ in range(calls)]
    return [effect is not None for effect in met]


def book(folder: Path, *rules: dict[str, object]) -> Faults:
    faults = Faults(Store(folder / "documents.sqlite"))
    for rule in rules:
        faults.add(Rule.model_validate({"effect": {"kind": "reset_before"}, **rule}))
    return faults


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, [True, False, False, False]),
        ({"nth": 3}, [False, False, True, False]),
        ({"nth": 2, "times": 2}, [False, True, True, False]),
        ({"times": 0}, [True, True, True, True]),
        ({"method": "GET"}, [False, False, False, False]),
        ({"path": "*/JOBS/*", "operation": "*/write"}, [True, False, False, False]),
        ({"path": "*/endpoints/*"}, [False, False, False, False]),
    ],
)
def test_a_rule_hits_the_calls_that_it_counts(tmp_path: Path, match: dict[str, object], expected: list[bool]) -> None:
    assert hits(book(tmp_path, {"match": match}), 4) == expected


@pytest.mark.parametrize(("comp", "expected"), [("*", [True, True]), ("metadata", [False, True]), ("", [True, False])])
def test_calls_on_one_path_are_told_apart_by_comp(tmp_path: Path, comp: str, expected: list[bool]) -> None:
    faults = book(tmp_path, {"match": {"comp": comp, "times": 0}})
    met = [faults.meet("PUT", "host", "/c/a.jsonl", "", sent) for sent in ("", "metadata")]
    assert [effect is not None for effect in met] == expected


def test_each_path_can_be_counted_by_itself(tmp_path: Path) -> None:
    faults = book(tmp_path, {"match": {"method": "PUT", "nth": 2, "each_path": True}})
    met = [faults.meet("PUT", "host", path, "") for path in ("/a", "/b", "/a", "/a", "/b")]
    assert [effect is not None for effect in met] == [False, False, True, False, True]


def test_the_seed_decides_which_calls_are_hit(tmp_path: Path) -> None:
    def of(seed: int, name: str) -> list[bool]:
        return hits(book(tmp_path / name, {"match": {"times": 0, "probability": 0.5}, "seed": seed}), 40)

    first = of(7, "a")
    assert first == of(7, "b") != of(8, "c")
    assert 5 < sum(first) < 35


def test_the_oldest_rule_that_matches_decides(tmp_path: Path) -> None:
    faults = book(tmp_path, {"effect": {"kind": "delay", "seconds": 0}}, {})
    met = [faults.meet("PUT", "host", JOBS, "") for _ in range(3)]
    assert [effect.kind if effect else None for effect in met] == ["delay", "reset_before", None]


def test_the_published_form_is_accepted_and_the_sdk_retries_through_it(own_emulator: Emulator) -> None:
    from tests.emulator.jobs.commands import line, wait

    rule = (
        '{"match": {"method": "PUT", "path": "*/jobs/*", "nth": 1, "times": 1}, "effect": {"kind":\n'
        '"status", "status": 429, "code": "TooManyRequests", "retry_after": 1}}'
    )
    command_line("faults", "add", "--state", str(own_emulator.state), rule)
    client = own_emulator.client()
    assert wait(client, client.jobs.create_or_update(line("true")).name) == "Completed"
    [shown] = rules(own_emulator)
    assert (shown["seen"], shown["hits"]) == (2, 1)
    assert f"rule {shown['id']} (status) hit PUT management.azure.com" in own_emulator.log


@pytest.mark.parametrize(
    "rule",
    [
        "no JSON",
        "[]",
        "{}",
        '{"effect": {"kind": "earthquake"}}',
        '{"effect": {"kind": "delay"}}',
        '{"effect": {"kind": "status", "status": 200}}',
        '{"effect": {"kind": "quota", "more": 1}}',
        '{"match": {"nth": 0}, "effect": {"kind": "quota"}}',
    ],
)
def test_a_rule_that_is_none_is_refused_with_one_sentence(emulator: Emulator, rule: str) -> None:
    refused = command_line("faults", "add", "--state", str(emulator.state), rule, check=False)
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
    assert rules(emulator) == []


def test_rules_and_their_counts_survive_a_restart_and_can_be_cleared_one_by_one(own_emulator: Emulator) -> None:
    add(own_emulator, {"match": {"times": 0, "path": "*/computes/absent"}, "effect": {"kind": "delay", "seconds": 0}})
    id = add(own_emulator, {"match": {"path": "*/nowhere"}, "effect": {"kind": "reset_after"}})
    with pytest.raises(ResourceNotFoundError):
        own_emulator.client().compute.get("absent")
    before = rules(own_emulator)
    own_emulator.stop()
    own_emulator.start()
    assert rules(own_emulator) == before
    assert [rule["hits"] for rule in before] == [1, 0]
    command_line("faults", "clear", "--state", str(own_emulator.state), "--id", id)
    assert [rule["id"] for rule in rules(own_emulator)] == [before[0]["id"]]


def test_an_emulator_can_begin_with_rules_of_a_file(tmp_path: Path) -> None:
    from tests.emulated import free_port

    file, state = tmp_path / "faults.json", tmp_path / "state"
    file.write_text(json.dumps([{"effect": {"kind": "quota"}}, {"effect": {"kind": "resizing"}}]))
    command_line("start", "--state", str(state), "--port", str(free_port()), "--faults", str(file))
    try:
        listed = command_line("faults", "list", "--state", str(state)).stdout
        assert [line.split()[1] for line in listed.splitlines()] == ["quota", "resizing"]
    finally:
        command_line("stop", "--state", str(state))
