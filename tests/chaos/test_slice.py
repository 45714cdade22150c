"""A slice of the matrix: a run that loses the answer to every write, and a call that goes wrong for as long as the run lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks import AzureMLWorkspace
from tests.chaos.calls import Call, distinct
from tests.chaos.matrix import LASTING_EFFECTS, effects
from tests.chaos.site import Site
from tests.emulated import Emulator
from tests.flows.conftest import conversations, workspace

__all__ = ["conversations", "workspace"]


@pytest.fixture(scope="module")
def site(emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path) -> Site:
    return Site(emulator, workspace, conversations)


def test_names_of_one_run_become_globs() -> None:
    endpoint, host = "ft-2hinepm4u5dpfmwljeclnfq3ua", "management.azure.com"
    record = [
        {"method": "GET", "host": host, "path": f"/onlineEndpoints/{endpoint}"},
        {"method": "GET", "host": host, "path": "/onlineEndpoints/ft-lenrxc7hyzb5bggc4aibeb44d4"},
        {"method": "GET", "host": host, "path": f"/onlineEndpoints/{endpoint}/deployments/demo"},
    ]
    masked = "?" * len(endpoint)
    assert distinct(record) == [
        Call("GET", f"{host}/onlineEndpoints/{masked}"),
        Call("GET", f"{host}/onlineEndpoints/{masked}/deployments/demo"),
    ]


def test_a_call_that_another_ones_glob_matches_too_is_met_at_its_own_occasion() -> None:
    record = [
        {"method": "PUT", "host": "blob", "path": "/one.jsonl"},
        {"method": "PUT", "host": "blob", "path": "/one.jsonl?comp=metadata"},
    ]
    assert [call.nth for call in distinct(record)] == [1, 2]


def test_a_run_that_loses_the_answer_to_every_write_completes_and_doubles_nothing(site: Site) -> None:
    kinds = effects(delay=1.0)
    writes = [call for call in site.training_calls if call.method in ("PUT", "POST", "DELETE")]
    reads = [call for call in site.training_calls if call.method == "GET"][::6]
    faults = [(call, kinds["answer lost"]) for call in writes]
    # A few reads go wrong as well, each in another way.
    faults += list(zip(reads, kinds.values(), strict=False))
    ended = site.once(faults, trains=True)
    assert not ended.wrong, f"{ended.wrong}; {ended.message}"


def test_a_call_that_stays_forbidden_fails_the_run_in_words_and_leaves_nothing(site: Site) -> None:
    [keys] = [call for call in site.training_calls if call.path.endswith("/listKeys")]
    ended = site.lasting(keys, LASTING_EFFECTS["lasting 403"], trains=False)
    assert not ended.wrong, f"{ended.wrong}; {ended.message}"
    assert "Stage smoke_score failed: " in ended.message
