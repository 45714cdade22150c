"""How a stage of the flow runs: as a Prefect task that tries again where trying again can help.

Every stage looks up what it is about to make by a name that belongs to the run, and makes it only if it is missing. So
the whole stage is what is tried again, and an answer that got lost is found instead of asked for twice.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.states import State

from tasks.azure_ml.errors import AzureFailure, classify, redact, says_all
from tasks.disk import DiskRefuses, refusal

RETRY_DELAYS = [2.0, 5.0, 15.0, 45.0]
"""Seconds between the tries of a stage. The SDKs have tried again themselves before each: azure-core three times, as late as Azure
asks; storage's for 80 s."""
RETRY_JITTER = 0.5
"""So that runs that failed together do not come back together."""

P = ParamSpec("P")
R = TypeVar("R")


def fit_to_be_read(record: logging.LogRecord) -> bool:
    """Lets an error of the flow's own into the log as its sentence, and any other without the secrets in it: Prefect logs each one
    as it is, with its trace."""
    with suppress(TypeError, ValueError):  # arguments that do not fit are told by whoever writes the record
        message = record.getMessage()
        if record.exc_info and not says_all(record.exc_info[1]):
            message += "\n" + "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        record.msg, record.args, record.exc_info = redact(message), None, None
    return True


for _name in ("prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(fit_to_be_read)


def stage(function: Callable[P, R]) -> Task[P, R]:
    """A Prefect task named for its function, which Prefect tries again as often as the kind of its error deserves. The error of a
    remote service ends as one sentence for the person on call: `AzureFailure`, with the original as its cause.

    Nothing is cached or persisted: Azure itself is the record of what has been done.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AzureFailure:
            raise
        except Exception as error:
            info = classify(error)
            if info is not None:
                raise AzureFailure(info, _doing(function.__name__)) from error
            if not says_all(error) and (sentence := refusal(error)):
                raise DiskRefuses(f"{_doing(function.__name__)} failed. {sentence}, and run it again.") from error
            raise

    return task(
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_jitter_factor=RETRY_JITTER,
        retry_condition_fn=_may_pass,
    )(call)


def step(function: Callable[P, R]) -> Callable[P, R]:
    """Part of a stage that is tried again by itself: within a run a task like a stage. Elsewhere, in a hook or a script, nobody
    sees tries: there the SDKs' own are all."""
    seen = stage(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        within = FlowRunContext.get() or TaskRunContext.get()
        return seen(*args, **kwargs) if within else seen.fn(*args, **kwargs)

    return call


def _may_pass(stage: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try can help. Prefect calls nothing but a plain function here, and says no word of one that it does not call.

    What a step of the stage has given up, and what the stage itself has found hopeless, is not tried again.
    """
    failure: Any = state.data
    mine = isinstance(failure, AzureFailure) and failure.doing == _doing(stage.name)
    return mine and run.run_count < failure.info.tries


def _doing(name: str) -> str:
    return name.strip("_").replace("_", " ")


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The run's logger; outside a run (a script, a test) one that writes to the console."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("finetune")
