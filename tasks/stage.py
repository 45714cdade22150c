"""How a stage of the flow runs: as a Prefect task that tries again where trying again can help.

Every stage looks up what it is about to make by a name that belongs to the run, and makes it only if it is missing. So
the whole stage is what is tried again, and an answer that got lost is found instead of asked for twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from tasks.errors import AzureFailure, read

PATIENCE_SECONDS = 180.0
"""No attempt follows once failing has taken so long: the SDKs have tried again themselves all the while (storage's for 80 s)."""

P = ParamSpec("P")
R = TypeVar("R")


def stage(function: Callable[P, R]) -> Task[P, R]:
    """A Prefect task named for its function. Its errors are sorted (`tasks.errors`), retried by their kind's policy,
    and raised as one sentence for the person on call.

    Nothing is cached or persisted: Azure itself is the record of what has been done.
    """
    return task(cache_policy=NO_CACHE, persist_result=False)(retried(function))


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, called again as long as its error's policy allows.

    Raises:
        AzureFailure: the error of a remote service that could not be outlasted; the original is its cause.
    """
    doing = function.__name__.strip("_").replace("_", " ")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        attempt, failing = 0, 0.0
        while True:
            attempt += 1
            began = time.monotonic()
            try:
                return function(*args, **kwargs)
            except AzureFailure:
                raise
            except Exception as error:
                fault = read(error)
                if fault is None:
                    raise
                took = time.monotonic() - began
                # What took longer had got somewhere first: it waited for a deployment, say.
                failing += took if took < PATIENCE_SECONDS else 0.0
                if attempt >= fault.policy.attempts or failing > PATIENCE_SECONDS:
                    raise AzureFailure(fault, doing) from error
                wait = fault.policy.wait(attempt, fault.retry_after)
                run_logger().warning(
                    "%s: %s (%s). Attempt %d of %d follows in %.0f s.",
                    doing, fault.message, fault.kind, attempt + 1, fault.policy.attempts, wait,
                )  # fmt: skip
                time.sleep(wait)

    return call


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The run's logger; outside a run (a script, a test) one that writes to the console."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("finetune")
