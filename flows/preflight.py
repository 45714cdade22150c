"""What a fine-tuning would meet tonight: everything at once, and nothing is made.

The stages of `finetune` that look before they make anything are the ones that look here, so that what is in order here is in order
there, as long as nobody changes it meanwhile.
"""

# ruff: noqa: B008 - the groups' defaults are the form's, and the groups are immutable.

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

from prefect import flow
from prefect.runtime import flow_run as this_run
from prefect.states import Completed
from pydantic import BaseModel

from blocks.names import JobKey
from flows.workspaces import load_workspace
from tasks.artifacts import markdown_table, publish_markdown, quoting
from tasks.azure_ml.errors import redact, says_all
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ComputeParameters, MachinesFound, find_machines
from tasks.cost import CostParameters, Prices, an_hour, read_prices
from tasks.credentials import resolve_credentials
from tasks.dataset import look_at_dataset
from tasks.endpoint import DeploymentParameters, check_endpoint_name
from tasks.metrics import GateParameters
from tasks.models import ModelParameters, find_foundation_model
from tasks.naming import RunNames, experiment_name, model_name
from tasks.parameters import MergedParameter, TrainingParameters
from tasks.pipeline import PipelineParameters, settle_parameters
from tasks.registration import RegistrationParameters
from tasks.runs import RunId
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.results import Outlook
from tasks.scoring import ScoringParameters
from tasks.stage import run_logger
from tasks.teardown import TeardownParameters

R = TypeVar("R")
Severity = Literal["blocker", "warning", "info"]
LEVELS = {"blocker": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


class Finding(BaseModel):
    """Something to know before a night."""

    stage: str
    """Of `finetune`, in which it would be met."""
    severity: Severity
    sentence: str
    """What it is, and of a blocker what to do."""


class Quote(BaseModel):
    """What the machines cost an hour. None: no price is known, or nothing is served."""

    currency: str
    training_an_hour: float | None
    serving_an_hour: float | None
    source: str


class Preflight(BaseModel):
    """What a run with these parameters would meet. What could not be looked at is None."""

    ok: bool = True
    findings: list[Finding] = []
    model: FoundationModel | None = None
    compute: MachinesFound | None = None
    data: dict[str, Outlook] | None = None
    parameters: list[MergedParameter] | None = None
    quote: Quote | None = None

    def look(self, stage: str, see: Callable[..., R], *args: Any, **kwargs: Any) -> R | None:
        """What `see` finds; None where it raises, and then that is in the way."""
        try:
            return see(*args, **kwargs)
        except Exception as error:
            if not says_all(error):
                trace = redact("".join(traceback.format_exception(error)))
                run_logger().error("%s", trace)
            self.add(stage, "blocker", redact(str(error)))
            return None

    def add(self, stage: str, severity: Severity, sentence: str) -> None:
        """Notes a finding, also in the log."""
        self.findings.append(Finding(stage=stage, severity=severity, sentence=sentence))
        self.ok = self.ok and severity != "blocker"
        run_logger().log(LEVELS[severity], "%s: %s", stage, sentence)

    def sentence(self) -> str:
        """All of it in short."""
        blockers = [finding.sentence for finding in self.findings if finding.severity == "blocker"]
        warnings = sum(finding.severity == "warning" for finding in self.findings)
        warned = f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}"
        if not blockers:
            return f"Nothing is in the way; {warned}."
        return f"{len(blockers)} in the way, {warned}: {' '.join(blockers)}"

    def publish(self) -> None:
        """Its page in Prefect's UI."""
        rows = [(each.severity, each.stage, quoting(each.sentence)) for each in self.findings]
        tables = [markdown_table(("", "stage", "what, and what to do"), rows)]
        if self.parameters:
            passed = [(its.name, its.value, its.source, its.note) for its in self.parameters if its.passed]
            tables.append(markdown_table(("Training parameter", "value", "decided by", "note"), passed))
        publish_markdown("preflight", self.sentence()[:200], "\n\n".join(tables))


@flow(name="preflight", flow_run_name="{model.name} on {dataset.source}")
def preflight(
    workspace: str = "azureml",
    model: ModelParameters = ModelParameters(),
    compute: ComputeParameters = ComputeParameters(),
    dataset: DatasetParameters = DatasetParameters(),
    training: TrainingParameters = TrainingParameters(),
    pipeline: PipelineParameters = PipelineParameters(),
    gate: GateParameters = GateParameters(),
    registration: RegistrationParameters = RegistrationParameters(),
    deployment: DeploymentParameters = DeploymentParameters(),
    scoring: ScoringParameters = ScoringParameters(),
    teardown: TeardownParameters = TeardownParameters(),
    cost: CostParameters = CostParameters(),
    resume_run: RunId | None = None,
    job_key: JobKey | None = None,
) -> Preflight:
    """Says everything that is in the way of a run of `finetune` with the same parameters, and makes nothing.

    Args:
        workspace: Name of the AzureMLWorkspace block: where to work, and as whom.
        model: Which foundation model.
        compute: Where to train.
        dataset: With which conversations.
        training: How to train.
        pipeline: Which pipeline component.
        gate: What the model must reach; not looked at.
        registration: What the registered model is called.
        deployment: How it is served.
        scoring: What it is asked; not looked at.
        teardown: What becomes of the endpoint; not looked at.
        cost: What the machines cost.
        resume_run: Not looked at: taken so that a deployment's own parameters can be.
        job_key: Not looked at, either.
    """
    found = Preflight()
    block = found.look("resolve_credentials", load_workspace, workspace)
    prices = found.look("resolve_credentials", read_prices, cost)
    where = found.look("resolve_credentials", resolve_credentials, block) if block else None
    # Local data can be looked at by nobody in particular.
    found.data = found.look("sample_dataset", look_at_dataset, dataset, block)
    for purpose, its in (found.data or {}).items():
        found.add("sample_dataset", "info", f"{its.rows:,} of {its.source_rows:,} rows of {its.split} for {purpose}.")
    if block and where:
        found.add("resolve_credentials", "info", f"Works in {where.workspace} ({where.location}) as {where.identity}.")
        serves = deployment.enabled
        found.model = found.look("find_foundation_model", find_foundation_model, block, model, serves=serves)
        for note in found.model.notes if found.model else ():
            found.add("find_foundation_model", "warning", note)
        names = RunNames(UUID(str(this_run.id)))
        if serves:
            found.look("check_endpoint_name", check_endpoint_name, block, names, deployment)
        defaults = found.model.defaults if found.model else {}
        found.compute = found.look(
            "validate_compute",
            find_machines,
            block,
            found.model,
            compute,
            nodes=training.num_nodes_finetune or int(defaults.get("num_nodes_finetune", 1)),
            instance_type=deployment.instance_type if serves else None,
            instance_count=deployment.instance_count,
        )
        for sentence in found.compute.in_the_way if found.compute else ():
            found.add("validate_compute", "blocker", sentence)
        found.parameters = found.look("submit_pipeline", settle_parameters, block, found.model, training, pipeline)
        for sentence in _would_be_made(found, model, dataset, pipeline, registration, deployment):
            found.add("submit_pipeline", "info", sentence)
    if prices and found.compute:
        found.quote = _quote(found.compute, prices)
        for sentence in _costs(found.compute, prices):
            found.add("validate_compute", "info", sentence)
    found.publish()
    return cast(Preflight, Completed(name="Ready" if found.ok else "NotReady", message=found.sentence(), data=found))


def _would_be_made(
    found: Preflight,
    model: ModelParameters,
    dataset: DatasetParameters,
    pipeline: PipelineParameters,
    registration: RegistrationParameters,
    deployment: DeploymentParameters,
) -> Iterator[str]:
    """The names that a run would make, a sentence each."""
    base = found.model.name if found.model else model.name
    if found.compute and not found.compute.exists and found.compute.size:
        yield f"Cluster {found.compute.cluster} would be made: {found.compute.size}, {found.compute.tier}."
    yield f"The job would be listed under experiment {pipeline.experiment or experiment_name(base)}."
    yield f"The model would be registered as {registration.name or model_name(base, dataset.source)}."
    if deployment.enabled:
        endpoint = f"endpoint {deployment.endpoint}" if deployment.endpoint else "an endpoint named for the run"
        yield f"It would be served by {endpoint}."


def _quote(machines: MachinesFound, prices: Prices) -> Quote:
    train = prices.of(machines.size, machines.tier or "") if machines.size else None
    serve = prices.of(machines.instance_type, "dedicated") if machines.instance_type else None
    return Quote(
        currency=prices.currency,
        training_an_hour=None if train is None else train * machines.nodes,
        serving_an_hour=None if serve is None else serve * machines.instance_count,
        source=prices.source,
    )


def _costs(machines: MachinesFound, prices: Prices) -> Iterator[str]:
    """What the machines cost, a sentence each."""
    if machines.size:
        price = an_hour(prices, machines.size, str(machines.tier), machines.nodes)
        yield f"Training on {machines.nodes} of {machines.size} costs {price} an hour."
    if machines.instance_type:
        price = an_hour(prices, machines.instance_type, "dedicated", machines.instance_count)
        yield f"Serving on {machines.instance_count} of {machines.instance_type} costs {price} an hour."
