"""What a fine-tuning run has made, what it scored, how long each stage took and what its machines cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel

from flows.run import RunRecord
from flows.stages import WHILE_IT_SERVES
from tasks.artifacts import duration, link, markdown_table, publish_markdown, quoting
from tasks.azure_ml.foundation import FoundationModel
from tasks.azure_ml.studio import base_model_page, endpoint_page, model_page
from tasks.compute import ValidatedCompute
from tasks.cost import UNKNOWN_PRICE, CostEstimate, CostLine, Prices, an_hour, estimate
from tasks.endpoint import Endpoint
from tasks.metrics import MetricReview
from tasks.naming import dated
from tasks.registration import RegisteredModel
from tasks.release import Released
from tasks.sampling.results import SampledDataset
from tasks.scoring import SmokeResult
from tasks.waiting import FinishedJob

Verdict = Literal["accepted", "rejected"]


class FlowResult(BaseModel):
    """The whole run. Stages that did not take place are None."""

    verdict: Verdict
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
    resumed: bool = False
    """Whether another run began the job."""
    cost: CostEstimate | None = None
    stays: str = ""
    """What is there when the run has ended, until when and at what price an hour."""
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

    @property
    def until(self) -> str:
        """When an endpoint that is still there goes."""
        expires = self.endpoint.expires if self.endpoint else ""
        return f"the reaper's first pass after {expires} UTC" if expires else "somebody deletes it"

    def sentence(self) -> str:
        """The run in one line, as its final state shows it."""
        loss = _loss(self.review)
        if self.model is None:
            return f"{' '.join(self.review.reasons)} Nothing was registered or deployed."
        parts = [f"Accepted with validation loss {loss}" if loss else "Accepted without a validation loss"]
        if self.smoke is not None:
            parts.append(f"answers in {self.smoke.slowest_seconds:.1f} s")
        return f"{', '.join(parts)}: {self.model.name} version {dated(self.model.version)}"

    @classmethod
    def of(cls, record: RunRecord, verdict: Verdict, released: Released) -> FlowResult:
        """The result of a run that came to a verdict, with what its machines cost and what stays."""
        assert record.base_model and record.compute and record.dataset and record.job and record.review
        result = cls(
            verdict=verdict,
            base_model=record.base_model,
            compute=record.compute,
            dataset=record.dataset,
            job=record.job,
            review=record.review,
            model=record.model,
            endpoint=record.endpoint,
            smoke=record.smoke,
            released=released,
            tracking_uri=record.tracking_uri,
            machine_seconds=record.machines.seconds,
            resumed=record.resumed,
            seconds=record.seconds,
        )
        if record.prices:
            result.add_up(record.prices)
        return result

    def add_up(self, prices: Prices) -> None:
        """What the machines cost, and what stays."""
        used = _used(self.compute, self.machine_seconds, self.seconds, serves=self.endpoint is not None)
        self.cost = estimate(prices, used, serves_on=self.serves, resumed=self.resumed)
        # The run's sentence names the model.
        self.stays = staying(RunRecord(prices=prices, compute=self.compute), self.serving, self.until)

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
            "Endpoint": "deleted before anything was deployed" if self.released.deleted_endpoints else "none was made",
            "Torn down": str(self.released),
            "What stays": self.stays or "nothing",
            "Cost, estimated": self.cost.sentence() if self.cost else "unknown",
        }
        facts |= _warnings(self.base_model)
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


def publish_bad_end(
    how: str, why: str, record: RunRecord, *, cost: CostEstimate | None, released: str, stays: str
) -> None:
    """The summary of a run that came to no verdict, and its cost where no machine was used, in Prefect's UI.

    Args:
        how: it ended, and in which stage.
        why: and what to do about it.
        record: what the run got to.
    """
    known = {}
    if base := record.base_model:
        known = {"Base model": f"{base.name}, version {base.version}", **_warnings(base)}
    if data := record.dataset:
        known["Sampled"] = f"{data.train.rows} rows of {data.train.split} of `{data.source}`"
    if job := record.job:
        known["Job in Azure ML studio"] = link(job.name, job.studio_url)
    facts = bad_end_facts(why, released, stays or "nothing", cost.sentence() if cost else "no machine was used")
    tables = [markdown_table((how, ""), (facts | known).items())]
    if stages := [(stage, duration(seconds)) for stage, seconds in record.seconds.items()]:
        tables.append(markdown_table(("Stage", "took"), stages))
    publish_markdown("summary", how, "\n\n".join(tables))
    if cost is None:
        publish_markdown("cost", "No machine was used.", "No machine was used.")


def _warnings(base: FoundationModel) -> dict[str, str]:
    """What whoever reads in the morning should know of the base model."""
    return {"Warnings": quoting(" ".join(base.notes))} if base.notes else {}


def bad_end_facts(why: str, released: str, stays: str, cost: str) -> dict[str, str]:
    """What every run without a verdict tells."""
    return {
        "What happened, what to do": quoting(why),
        "Torn down": quoting(released),
        "What stays": quoting(stays),
        "Cost, estimated": cost,
    }


def spent(record: RunRecord) -> CostEstimate | None:
    """What a run that failed has used until then, also in Prefect's UI; None if that is nothing, or no price is known."""
    if record.prices is None or record.compute is None:
        return None
    used = _used(record.compute, record.machines.seconds, record.seconds, serves=record.endpoint is not None)
    if not any(line.hours for line in used):
        return None
    cost = estimate(record.prices, used, serves_on=False, resumed=record.resumed)
    _publish_cost(cost)
    return cost


def staying(record: RunRecord, endpoints: Sequence[str], until: str = "the reaper deletes it") -> str:
    """What is there when the run has ended, and what that costs an hour; empty if it is nothing. `endpoints`: those that were not
    deleted; they are there until `until`."""
    stays = []
    if record.model:
        stays.append(f"model {record.model.name} version {dated(record.model.version)}")
    its, prices = record.compute, record.prices
    for name in endpoints:
        price = an_hour(prices, its.instance_type, "dedicated", its.instance_count) if its else UNKNOWN_PRICE
        stays.append(endpoint_stays(name, price, until))
    if its:
        stays.append(cluster_stays(its.cluster, its.min_nodes, an_hour(prices, its.size, its.tier, its.min_nodes)))
    return "; ".join(stays)


def endpoint_stays(name: str, price: str, until: str = "the reaper deletes it") -> str:
    """What an endpoint costs that is there when its run has ended."""
    return f"endpoint {name}, which costs {price} an hour while a deployment serves, until {until}"


def cluster_stays(name: str, nodes: int, price: str) -> str:
    """What a cluster costs that keeps `nodes` of its nodes."""
    if nodes:
        return f"cluster {name}, which keeps {nodes} of its nodes for {price} an hour"
    return f"cluster {name}, which scales to zero and then costs nothing"


def _used(its: ValidatedCompute, trained: float, seconds: Mapping[str, float], *, serves: bool) -> list[CostLine]:
    """The machines that trained while steps ran (`trained` seconds), and those that served until they were gone. `seconds`: by
    stage."""
    used = [_use("training", its.size, its.tier, its.nodes, trained)]
    if serves:
        serving = sum(seconds.get(stage, 0.0) for stage in WHILE_IT_SERVES)
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
