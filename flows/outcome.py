"""What a fine-tuning run has made, what it scored, and how long each stage took."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from tasks.artifacts import markdown_table, publish_markdown
from tasks.compute import ValidatedCompute
from tasks.endpoint import Endpoint
from tasks.metrics import MetricReview
from tasks.models import FoundationModel
from tasks.registration import RegisteredModel
from tasks.sampling.results import SampledDataset
from tasks.scoring import SmokeResult
from tasks.teardown import Released
from tasks.waiting import FinishedJob


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
    seconds: dict[str, float]
    """By stage; stages overlap."""

    def sentence(self) -> str:
        """The run in one line, as its final state shows it."""
        loss = _loss(self.review)
        if self.model is None:
            return f"{' '.join(self.review.reasons)} Nothing was registered or deployed."
        parts = [f"{self.model.name} version {self.model.version}", loss]
        if self.smoke is not None:
            parts.append(f"answers in {self.smoke.slowest_seconds:.1f} s")
        return ", ".join(part for part in parts if part)

    def publish(self) -> None:
        """The summary in Prefect's UI."""
        gpu_hours = self.job.seconds / 3600 * self.compute.gpus_per_node
        facts: dict[str, Any] = {
            "Verdict": self.verdict,
            "Base model": f"{self.base_model.name} version {self.base_model.version}",
            "Data": f"{self.dataset.source}, {self.dataset.train.rows} training rows, sha256 {self.dataset.sha256[:12]}",
            "Job": f"[{self.job.name}]({self.job.studio_url})" if self.job.studio_url else self.job.name,
            "Compute": f"{self.compute.cluster}: {self.compute.size}, {self.compute.tier}, {gpu_hours:.2f} GPU hours a node",
            "Validation loss": _loss(self.review) or "unknown",
            "Model": f"{self.model.name} version {self.model.version}" if self.model else "none",
            "Released": self.released,
        }
        seconds = {name: f"{value:.1f} s" for name, value in self.seconds.items()}
        publish_markdown("summary", self.sentence(), f"{markdown_table(facts)}\n\n{markdown_table(seconds)}")


def _loss(review: MetricReview) -> str:
    if review.eval_loss is None:
        return ""
    before = f"{review.eval_loss_before:.3f} -> " if review.eval_loss_before is not None else ""
    return f"validation loss {before}{review.eval_loss:.3f}"
