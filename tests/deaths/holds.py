"""How a run is met in a stage: a call that only this stage makes is answered late, and tells that it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.naming import RunNames
from tests.deaths.cells import Stage
from tests.emulated import Emulator


@dataclass(frozen=True)
class OwnNames:
    """What a run calls its things, so that its calls are told from those of other runs."""

    run: RunNames
    given: str
    """Of everything that the parameters may name: cluster, model, data asset."""


SHARED = (Stage["RESOLVE_CREDENTIALS"], Stage["FIND_FOUNDATION_MODEL"])
"""Stages whose calls name nothing of the run: every run's are late while one is awaited in them."""


def held_call(stage: Stage, names: OwnNames) -> dict[str, str]:
    """Method and path of the call that `stage` is held at: where it writes, its write."""
    job, endpoint = names.run.job(1), names.run.endpoint
    method, path = {
        Stage["RESOLVE_CREDENTIALS"]: ("GET", "*/registries/azureml/discovery"),
        Stage["FIND_FOUNDATION_MODEL"]: ("GET", "*/registries/azureml/models/*"),
        Stage["SAMPLE_DATASET"]: ("GET", f"*/data/{names.given}/versions/*"),
        Stage["CHECK_ENDPOINT_NAME"]: ("GET", f"*/onlineEndpoints/{endpoint}"),
        Stage["VALIDATE_COMPUTE"]: ("PUT", f"*/computes/{names.given}"),
        Stage["SUBMIT_PIPELINE"]: ("PUT", f"*/jobs/{job}"),
        Stage["CREATE_ENDPOINT"]: ("PUT", f"*/onlineEndpoints/{endpoint}"),
        Stage["WAIT_FOR_PIPELINE"]: ("GET", f"*/runs/{job}/children"),
        Stage["REVIEW_METRICS"]: ("GET", f"*/models/{names.given}/versions"),
        Stage["REGISTER_MODEL"]: ("PUT", f"*/models/{names.given}/versions/*"),
        Stage["CREATE_DEPLOYMENT"]: ("PUT", f"*/onlineEndpoints/{endpoint}/deployments/*"),
        Stage["SMOKE_SCORE"]: ("POST", f"{endpoint}.*/score"),
        Stage["TEARDOWN"]: ("DELETE", f"*/onlineEndpoints/{endpoint}"),
    }[stage]
    return {"method": method, "path": path}


class Hold:
    """The next time that the run makes the stage's call, the call takes effect only after `seconds`, and is answered then."""

    def __init__(self, emulator: Emulator, stage: Stage, names: OwnNames, seconds: float) -> None:
        self._emulator = emulator
        times = 0 if stage in SHARED else 1
        rule = {
            "match": {**held_call(stage, names), "times": times},
            "effect": {"kind": "delay", "seconds": seconds},
        }
        self.stage = stage
        self._id: str | None = emulator.ask("POST", "/faults", rule)["id"]

    @property
    def hit(self) -> bool:
        """Whether the call was made."""
        return any(rule["id"] == self._id and rule["hits"] for rule in self._rules())

    def lift(self) -> None:
        """Later calls are answered at once."""
        if self._id is not None:
            self._emulator.ask("DELETE", f"/faults/{self._id}")
            self._id = None

    def _rules(self) -> list[dict[str, Any]]:
        return self._emulator.ask("GET", "/faults")
