"""How a run is met in a stage: a call that only this stage makes is answered late, and tells that it was made."""

from __future__ import annotations

from tests.deaths.cells import Stage
from tests.deaths.site import Run

SHARED = (Stage["RESOLVE_CREDENTIALS"], Stage["FIND_FOUNDATION_MODEL"])
"""Stages whose calls name nothing of the run: every run's are late while one is awaited in them."""


def held_call(stage: Stage, run: Run) -> dict[str, str]:
    """Method and path of the call that `stage` is held at: where it writes, its write."""
    job, endpoint = run.names.job(1), run.names.endpoint
    method, path = {
        Stage["RESOLVE_CREDENTIALS"]: ("GET", "*/registries/azureml/discovery"),
        Stage["FIND_FOUNDATION_MODEL"]: ("GET", "*/registries/azureml/models/*"),
        Stage["SAMPLE_DATASET"]: ("GET", f"*/data/{run.given}/versions/*"),
        Stage["CHECK_ENDPOINT_NAME"]: ("GET", f"*/onlineEndpoints/{endpoint}"),
        Stage["VALIDATE_COMPUTE"]: ("PUT", f"*/computes/{run.given}"),
        Stage["SUBMIT_PIPELINE"]: ("PUT", f"*/jobs/{job}"),
        Stage["CREATE_ENDPOINT"]: ("PUT", f"*/onlineEndpoints/{endpoint}"),
        Stage["WAIT_FOR_PIPELINE"]: ("GET", f"*/runs/{job}/children"),
        Stage["REVIEW_METRICS"]: ("GET", f"*/models/{run.given}/versions"),
        Stage["REGISTER_MODEL"]: ("PUT", f"*/models/{run.given}/versions/*"),
        Stage["CREATE_DEPLOYMENT"]: ("PUT", f"*/onlineEndpoints/{endpoint}/deployments/*"),
        Stage["SMOKE_SCORE"]: ("POST", f"{endpoint}.*/score"),
        Stage["TEARDOWN"]: ("DELETE", f"*/onlineEndpoints/{endpoint}"),
    }[stage]
    return {"method": method, "path": path}


class Hold:
    """The next time that the run makes the stage's call, the call takes effect only after `seconds`, and is answered then."""

    def __init__(self, run: Run, stage: Stage, seconds: float) -> None:
        match = {**held_call(stage, run), "times": 0 if stage in SHARED else 1}
        rule = {"match": match, "effect": {"kind": "delay", "seconds": seconds}}
        self._emulator, self.stage = run.site.emulator, stage
        self._id = self._emulator.ask("POST", "/faults", rule)["id"]

    @property
    def hit(self) -> bool:
        """Whether the call was made, before later ones are answered at once."""
        return any(rule["id"] == self._id and rule["hits"] for rule in self._emulator.ask("GET", "/faults"))

    def lift(self) -> None:
        """Later calls are answered at once."""
        self._emulator.ask("DELETE", f"/faults/{self._id}")
