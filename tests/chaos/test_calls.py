"""Which calls the matrix finds in a record, and how it packs them."""

from __future__ import annotations

from itertools import combinations

from tests.chaos.calls import (
    EVERY_STAGE,
    OF_A_POLL,
    Call,
    attributed,
    beyond,
    distinct,
    from_first_and_last,
    occasions,
    stages_of,
    thinned,
)
from tests.chaos.matrix import LASTING_EFFECTS, PACK, Cell, cells, once_effects, packed
from tests.chaos.verdict import may_do_without

HOST = "management.azure.com"
ENDPOINT = "ft-2hinepm4u5dpfmwljeclnfq3ua"


def call(method: str, path: str) -> dict[str, str]:
    return {"method": method, "host": HOST, "path": path}


def test_names_of_one_run_become_globs_and_occasions_are_counted() -> None:
    record = [
        call("GET", f"/onlineEndpoints/{ENDPOINT}"),
        call("GET", "/onlineEndpoints/ft-lenrxc7hyzb5bggc4aibeb44d4"),
        call("GET", f"/onlineEndpoints/{ENDPOINT}/deployments/demo"),
    ]
    masked = "?" * len(ENDPOINT)
    assert distinct(record) == [
        Call("GET", f"{HOST}/onlineEndpoints/{masked}", nth=1),
        Call("GET", f"{HOST}/onlineEndpoints/{masked}", nth=2),
        Call("GET", f"{HOST}/onlineEndpoints/{masked}/deployments/demo"),
    ]
    by_night = [[call("PUT", f"/models/m/versions/{second}")] for second in (1796073783, 1796073721)]
    assert distinct(*by_night) == [Call("PUT", f"{HOST}/models/m/versions/{'?' * 10}")]


def test_both_writes_of_one_endpoint_are_calls_of_their_own() -> None:
    record = [call("PUT", f"/onlineEndpoints/{ENDPOINT}"), call("PUT", f"/onlineEndpoints/{ENDPOINT}")]
    assert [(str(found), found.nth) for found in distinct(record)] == [
        (f"PUT {HOST}/onlineEndpoints/{{}}", 1),
        (f"PUT {HOST}/onlineEndpoints/{{}} (2)", 2),
    ]


def test_blob_operations_on_one_path_are_told_apart_by_comp() -> None:
    record = [call("PUT", "/one.jsonl"), call("PUT", "/one.jsonl?comp=metadata"), call("PUT", "/two.jsonl")]
    assert [(found.comp, found.nth) for found in occasions(record)] == [("", 1), ("metadata", 1), ("", 2)]


def test_of_a_poll_only_some_occasions_are_hit_and_only_what_every_record_has() -> None:
    many, fewer = [call("GET", "/status")] * 40, [call("GET", "/status")] * 20
    assert [found.nth for found in thinned(distinct(many, fewer))] == list(OF_A_POLL)
    assert distinct(many, [call("GET", "/other")]) == []


def test_a_training_run_is_hit_where_it_does_more() -> None:
    known = distinct([call("PUT", "/a"), call("GET", "/b"), call("GET", "/c")])
    calls = distinct([call("PUT", "/a"), call("PUT", "/a"), call("GET", "/b"), call("GET", "/c"), call("GET", "/c")])
    more = beyond(calls, known)
    assert [str(found) for found in more] == [f"PUT {HOST}/a (2)", f"GET {HOST}/c", f"GET {HOST}/c (2)"]


def test_lasting_faults_begin_at_every_write_and_at_the_first_and_the_last_read() -> None:
    calls = distinct([call(method, "/a") for method in ("GET", "PUT") for _ in range(3)])
    assert [(found.method, found.nth) for found in from_first_and_last(calls)] == [
        ("GET", 1), ("GET", 3), ("PUT", 1), ("PUT", 2), ("PUT", 3),
    ]  # fmt: skip


def test_no_pack_has_two_occasions_of_one_call_and_every_cell_is_in_one() -> None:
    calls = distinct([call("GET", f"/{letter}") for letter in "abcdefghij" for _ in range(4)])
    wanted = cells(calls, calls, {call.key: EVERY_STAGE for call in calls}, delay=15, lasting=True)
    packs = packed(wanted)
    assert sorted(map(str, wanted)) == sorted(str(cell) for pack in packs for cell in pack)
    for pack in packs:
        assert len(pack) <= PACK
        assert len({(cell.effect, cell.trains) for cell in pack}) == 1
        assert all(one.call.key != other.call.key for one, other in combinations(pack, 2))
        assert len(pack) == 1 or not pack[0].lasts


def test_a_call_belongs_to_every_stage_that_ran_when_it_was_made_and_to_all_if_none_did() -> None:
    times = [("sample_dataset", 1.0, 5.0), ("validate_compute", 3.0, 6.0)]
    made = [("/a", 1.0), ("/b", 4.0), ("/c", 7.0), ("/d", 6.0)], [("/a", 2.0), ("/a", 6.0)]
    first, later = (attributed([{**call("GET", path), "at": at} for path, at in record], times) for record in made)
    both = ("sample_dataset", "validate_compute")
    found = {path: stages for (_, path, _), stages in stages_of(first, later).items()}
    assert found == {f"{HOST}/a": both, f"{HOST}/b": both, f"{HOST}/c": EVERY_STAGE, f"{HOST}/d": both[1:]}
    assert stages_of(first)["GET", f"{HOST}/a", ""] == both[:1]


def test_a_cell_has_its_call_s_stages_and_is_the_same_cell_whatever_they_are() -> None:
    [one] = distinct([call("PUT", "/a")])
    wanted = cells([one], [one], {one.key: ("teardown",)}, delay=2, lasting=True)
    assert {cell.stages for cell in wanted} == {("teardown",)}
    assert wanted == [Cell(one, effect, trains=False) for effect in (*once_effects(2), *LASTING_EFFECTS)]
    assert f"PUT {HOST}/a x answer 2 s late" in map(str, wanted), "it says nothing of one of fifteen"


def test_only_the_named_calls_can_be_done_without() -> None:
    status = Call("GET", f"{HOST}/locations/eastus/mfeOperationsStatus/{'?' * 36}", nth=5)
    assert may_do_without(status)
    assert not may_do_without(Call("PUT", f"{HOST}/onlineEndpoints/{'?' * 29}"))
    assert not may_do_without(Call("GET", f"{HOST}/jobs/{'?' * 29}"))
    # A job's end is believed once its steps were seen.
    assert not may_do_without(Call("GET", f"{HOST}/jobs/{'?' * 36}"))
    assert str(Cell(status, "500", trains=True)).endswith("{id} (5) x 500 (training)")
