"""What a fine-tuning run has made, what it scored, how long each stage took and what its machines cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from tasks.artifacts import duration, link, markdown_table, publish_markdown
from tasks.compute import ValidatedCompute
from tasks.cost import CostEstimate, CostLine, Prices, estimate
from tasks.endpoint import Endpoint
from tasks.metrics import MetricReview
from tasks.models import FoundationModel
from tasks.naming import dated
from tasks.registration import RegisteredModel
from tasks.sampling.results import SampledDataset
from tasks.scoring import SmokeResult
from tasks.studio import base_model_page, endpoint_page, model_page
from tasks.teardown import Released
from tasks.waiting import FinishedJob

SERVING_STAGES = ("create_deployment", "smoke_score", "teardown")


class FlowResult(BaseModel):
    """The whole run. Stages that did not take place are None."""

    verdict: Literal["accepted", "rejected"]
    base_model: FoundationModel
    compute: ValidatedCompute
    dataset: SampledDataset
    job: FinishedJob
    review: MetricReview
    model: RegisteredModel | None = None
    endpoint: Endpoint | None = None
    """Still serving only if `released` does not name it."""
    smoke: SmokeResult | None = None
    released: Released
    tracking_uri: str
    """MLflow's, of the workspace."""
    machine_seconds: float = 0.0
    """How long the nodes worked on the job's steps; what they were waited for is not in it."""
    cost: CostEstimate | None = None
    """None until it has been added up."""
    seconds: dict[str, float]
    """By stage; stages overlap."""

    @property
    def serves(self) -> bool:
        """Whether the endpoint is still there."""
        return self.endpoint is not None and self.endpoint.name not in self.released.deleted_endpoints

    @property
    def serving(self) -> list[str]:
        """Names of the endpoints that are still there."""
        return [self.endpoint.name] if self.endpoint is not None and self.serves else []

    def sentence(self) -> str:
        """The run in one line, as its final state shows it."""
        loss = _loss(self.review)
        if self.model is None:
            return f"{' '.join(self.review.reasons)} Nothing was registered or deployed."
        parts = [f"Accepted with validation loss {loss}" if loss else "Accepted without a validation loss"]
        if self.smoke is not None:
            parts.append(f"answers in {self.smoke.slowest_seconds:.1f} s")
        return f"{', '.join(parts)}: {self.model.name} version {dated(self.model.version)}"

    def add_up(self, prices: Prices) -> None:
        """Estimates what the machines cost."""
        used = _used(self.compute, self.machine_seconds, self.seconds, serves=self.endpoint is not None)
        self.cost = estimate(prices, used, serves_on=self.serves)

    def publish(self) -> None:
        """The summary and the cost in Prefect's UI."""
        studio, its = self.job.studio_url, self.compute
        base = link(
            f"{self.base_model.name}, version {self.base_model.version}", base_model_page(studio, self.base_model.id)
        )
        facts = {
            "Base model": base,
            "Data": f"`{self.dataset.source}`",
            "Sampled": f"{self.dataset.train.rows} rows of {self.dataset.train.split}; SHA-256 `{self.dataset.sha256[:16]}`",
            "Forecast": self.job.forecast.sentence("train")
            if "train" in self.job.forecast.splits
            else self.job.forecast.why_none or "there is none",
            "Trained on": self.review.learnt["train"].sentence()
            if "train" in self.review.learnt
            else "the component does not tell",
            "Compute": f"{its.nodes} of {its.size}, {its.tier.replace('_', ' ')}, {its.gpus} GPU, cluster {its.cluster}",
            "Validation loss": _loss(self.review) or "not measured",
            "Model": "none was registered",
            "Endpoint": "none was made",
            "Torn down": str(self.released),
            "Cost, estimated": self.cost.sentence() if self.cost else "unknown",
        }
        if self.model:
            page = model_page(studio, self.model.name, self.model.version)
            facts["Model"] = link(f"{self.model.name}, version {dated(self.model.version)}", page)
        if self.endpoint:
            page = link(self.endpoint.name, endpoint_page(studio, self.endpoint.name))
            facts["Endpoint"] = f"{page}, {'serves' if self.serves else 'deleted'}"
        links = [f"* Job in Azure ML studio: {link(self.job.name, studio)}"]
        # Azure ML's MLflow has no pages but studio's.
        links.append(f"* Run in MLflow: {link(self.job.name, studio)}, by its clients at `{self.tracking_uri}`")
        if self.endpoint and self.serves:
            links.append(f"* Scoring address: `{self.endpoint.scoring_uri}`")
        stages = [(stage, duration(seconds)) for stage, seconds in self.seconds.items()]
        tables = [
            markdown_table((f"The model was {self.verdict}", ""), facts.items()),
            "\n".join(links),
            markdown_table(("Stage", "took"), stages),
        ]
        publish_markdown("summary", self.sentence(), "\n\n".join(tables))
        if self.cost:
            _publish_cost(self.cost)


def spent(made: Mapping[str, Any], machine_seconds: float, prices: Prices | None) -> CostEstimate | None:
    """What a run that failed has used until then, also in Prefect's UI; None if that is nothing. `made`: those fields of
    FlowResult that it got to."""
    if prices is None or "compute" not in made:
        return None
    used = _used(made["compute"], machine_seconds, made["seconds"], serves="endpoint" in made)
    if not any(line.hours for line in used):
        return None
    cost = estimate(prices, used, serves_on=False)
    _publish_cost(cost)
    return cost


def staying(made: Mapping[str, Any], prices: Prices | None, endpoints: Sequence[str]) -> str:
    """What is there when the run has ended, and what that costs an hour; empty if it is nothing.

    Args:
        made: those fields of FlowResult that the run got to.
        endpoints: those that were not deleted.
    """
    stays = []
    if model := made.get("model"):
        stays.append(f"model {model.name} version {dated(model.version)}")
    its: ValidatedCompute | None = made.get("compute")
    for name in endpoints:
        price = _price(prices, its.instance_type, "dedicated", its.instance_count) if its else "an unknown price"
        stays.append(f"endpoint {name}, which costs {price} an hour while a deployment serves")
    if its and its.min_nodes:
        price = _price(prices, its.size, its.tier, its.min_nodes)
        stays.append(f"cluster {its.cluster}, which keeps {its.min_nodes} of its nodes for {price} an hour")
    elif its:
        stays.append(f"cluster {its.cluster}, which scales to zero and then costs nothing")
    return "; ".join(stays)


def _price(prices: Prices | None, size: str, tier: str, machines: int) -> str:
    price = prices.of(size, tier) if prices else None
    return "an unknown price" if prices is None or price is None else f"about {machines * price:.2f} {prices.currency}"


def _used(its: ValidatedCompute, trained: float, seconds: Mapping[str, float], *, serves: bool) -> list[CostLine]:
    """The machines that trained while steps ran (`trained` seconds), and those that served until they were gone. `seconds`: by
    stage."""
    used = [_use("training", its.size, its.tier, its.nodes, trained)]
    if serves:
        serving = sum(seconds.get(stage, 0.0) for stage in SERVING_STAGES)
        used.append(_use("serving", its.instance_type, "dedicated", its.instance_count, serving))
    return used


def _publish_cost(cost: CostEstimate) -> None:
    publish_markdown("cost", cost.sentence(), _bill(cost))


def _use(purpose: str, size: str, tier: str, machines: int, seconds: float) -> CostLine:
    return CostLine(purpose=purpose, size=size, tier=tier, machines=machines, hours=seconds / 3600, price=None)


def _bill(cost: CostEstimate) -> str:
    """The estimate with its parts, and what it leaves out."""
    rows = [
        (
            line.purpose,
            f"{line.machines} of {line.size}, {line.tier.replace('_', ' ')}",
            duration(line.hours * 3600),
            "no price known" if line.price is None else f"{line.price:.2f}",
            "unknown" if line.cost is None else f"{line.cost:.2f}",
        )
        for line in cost.lines
    ]
    rows.append(("together", "", "", "", "unknown" if cost.total is None else f"**{cost.total:.2f}**"))
    table = markdown_table(("For", "machines", "each for", f"{cost.currency} an hour", cost.currency), rows)
    left_out = (
        "An estimate: every step counts as if it had all the nodes of the training. Left out are the minutes in which machines "
        "start or stand idle, earlier tries of this run in other processes, disks, network and storage."
    )
    return "\n\n".join(part for part in (table, cost.going_on(), left_out, f"Prices: {cost.source}.") if part)


def _loss(review: MetricReview) -> str:
    if review.eval_loss is None:
        return ""
    before = f"{review.eval_loss_before:.3f} -> " if review.eval_loss_before is not None else ""
    return f"{before}{review.eval_loss:.3f}"
