"""The stages of `finetune`, in the order in which a good run has them: the only list of them."""

from __future__ import annotations

from typing import Any

from prefect import Task

from tasks.compute import validate_compute
from tasks.credentials import resolve_credentials
from tasks.dataset import sample_dataset
from tasks.endpoint import check_endpoint_name, create_deployment, create_endpoint
from tasks.metrics import review_metrics
from tasks.models import find_foundation_model
from tasks.pipeline import submit_pipeline
from tasks.registration import register_model
from tasks.scoring import smoke_score
from tasks.teardown import teardown
from tasks.waiting import wait_for_pipeline

STAGES: tuple[Task[..., Any], ...] = (
    resolve_credentials,
    find_foundation_model,
    sample_dataset,
    check_endpoint_name,
    validate_compute,
    submit_pipeline,
    create_endpoint,
    wait_for_pipeline,
    review_metrics,
    register_model,
    create_deployment,
    smoke_score,
    teardown,
)
ONLY_TO_SERVE = frozenset({check_endpoint_name, create_endpoint, create_deployment, smoke_score})
WHILE_IT_SERVES = tuple(stage.name for stage in STAGES[STAGES.index(create_deployment) :])
"""Names of the stages in which a deployment's machines are paid for."""


def count(*, serves: bool) -> int:
    """How many stages a good run has, for its progress. `serves`: whether the model is deployed."""
    return sum(serves or stage not in ONLY_TO_SERVE for stage in STAGES)
