"""What a run of the flow has come to, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ValidatedCompute
from tasks.cost import Prices
from tasks.endpoint import Endpoint
from tasks.metrics import MetricReview
from tasks.registration import RegisteredModel
from tasks.sampling.results import SampledDataset
from tasks.scoring import SmokeResult
from tasks.waiting import FinishedJob
from tasks.watch import MachineTime


@dataclass
class RunRecord:
    """The stages' results; None for what the run has not got to."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; stages overlap."""
    machines: MachineTime = field(default_factory=MachineTime)
    resumed: bool = False
    """Whether another run began the job that it went on with."""
    prices: Prices | None = None
    tracking_uri: str = ""
    """MLflow's, of the workspace."""
    base_model: FoundationModel | None = None
    compute: ValidatedCompute | None = None
    dataset: SampledDataset | None = None
    job: FinishedJob | None = None
    review: MetricReview | None = None
    model: RegisteredModel | None = None
    endpoint: Endpoint | None = None
    smoke: SmokeResult | None = None

    @property
    def endpoint_name(self) -> str | None:
        """Of the endpoint that the run has made."""
        return self.endpoint.name if self.endpoint else None
