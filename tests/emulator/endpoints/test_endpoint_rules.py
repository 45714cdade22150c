"""Rules that need no client: the limit of endpoints, one operation at a time, durations, the split of traffic."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from emulator.arm.durations import seconds
from emulator.arm.endpoint_body import EndpointBody
from emulator.arm.endpoints import Endpoints
from emulator.errors import AzureError
from emulator.fork_server import ForkServer
from emulator.installation import Installation
from emulator.operations import Operations
from emulator.scoring.fleet import Fleet
from emulator.scoring.front_door import Traffic
from emulator.store import Store

BODY = EndpointBody.model_validate({"properties": {"authMode": "Key"}})
OTHER = EndpointBody.model_validate({"properties": {"authMode": "Key", "description": "other"}})


@pytest.fixture
def endpoints(tmp_path: Path) -> Endpoints:
    installation, store = Installation.open(tmp_path), Store(tmp_path / "documents.sqlite")
    return Endpoints(
        installation, store, Operations(installation, store), Fleet(tmp_path, store, ForkServer()), limit=2
    )


def test_the_number_of_endpoints_is_limited(endpoints: Endpoints) -> None:
    async def fill() -> None:
        endpoints.put("one-1", BODY)
        endpoints.put("two-2", BODY)
        endpoints.put("three-3", BODY)

    with pytest.raises(AzureError) as refused:
        asyncio.run(fill())
    assert refused.value.status == 400
    assert "Endpoint Quota reached" in str(refused.value.body)
    assert "2/2" in str(refused.value.body)


def test_an_endpoint_takes_one_operation_at_a_time(endpoints: Endpoints) -> None:
    async def twice() -> None:
        endpoints.put("one-1", BODY)
        endpoints.put("one-1", OTHER)

    with pytest.raises(AzureError) as refused:
        asyncio.run(twice())
    assert refused.value.status == 409


def test_a_put_that_is_sent_again_is_the_same_operation(endpoints: Endpoints) -> None:
    async def twice() -> None:
        first, again = endpoints.put("one-1", BODY), endpoints.put("one-1", BODY)
        assert first == again

    asyncio.run(twice())


@pytest.mark.parametrize(
    ("text", "expected"), [("PT1M30S", 90), ("PT0.5S", 0.5), ("PT10M", 600), ("P1DT1H", 90_000), ("PT2H0M1S", 7201)]
)
def test_a_duration_is_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "PT1", "-PT1S", "PT1S ", "P1Y", "PT99999999999999S", "PT１S"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        seconds(text)


def test_a_seeded_split_picks_the_same_deployments_again() -> None:
    def picks(seed: int) -> list[str | None]:
        traffic = Traffic(random.Random(seed))
        return [traffic.pick({"blue": 90, "green": 10, "idle": 0}) for _ in range(1000)]

    assert picks(7) == picks(7)
    counts = Counter(picks(7))
    assert set(counts) == {"blue", "green"}
    assert 850 < counts["blue"] < 940
    assert Traffic().pick({"blue": 0}) is None
