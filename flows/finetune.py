"""Fine-tunes a chat model on Azure ML, and only lets it serve if it is good: the story of one run, top to bottom.

Every stage finds what an earlier try has made and goes on from there, so running again is always safe. Whatever ends the
run, what costs money is released: here after success and after an error, in the hooks after a cancellation or a crash,
and by the reaper when nobody was left to run a hook. Never in a `finally`: that also runs when the run is only suspended
or rescheduled.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from blocks import AzureMLWorkspace
from flows.finetune_result import FlowResult, Stopwatch, rejection, success
from flows.finetune_hooks import release_after_crash_or_cancellation
from tasks.compute import ComputeChoice, validate_compute
from tasks.credentials import resolve_credentials
from tasks.dataset import DatasetSampling, sample_dataset
from tasks.endpoint import DeploymentChoice, check_endpoint_name, create_deployment, create_endpoint
from tasks.jobs import JobPreempted
from tasks.metrics import MetricGate, review_metrics
from tasks.models import ModelChoice, find_foundation_model
from tasks.naming import JOB_KEY, RunNames, model_name
from tasks.parameters import TrainingParameters
from tasks.pipeline import PipelineChoice, submit_pipeline
from tasks.registration import Registration, register_model
from tasks.scoring import SmokeScoring, smoke_score
from tasks.stage import run_logger
from tasks.teardown import TeardownPolicy, release, teardown
from tasks.waiting import wait_for_pipeline
