"""Metrics from a step to MLflow, without the step ever waiting for it.

Azure ML's fine-tuning logs to the step's own run and to the root pipeline job's run, so that reading the job's metrics
suffices. A metrics store that is away costs a warning, never the training.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_SECONDS = 30.0
# Whoever stops a step expects it to end.
FLUSH_SECONDS_AFTER_FAILURE = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """Metrics that belong to one training step, with the time (milliseconds since the epoch) they were taken."""

    values: Mapping[str, float]
    step: int
    timestamp: int = field(default_factory=lambda: int(time.time() * 1000))


def runs_of_this_step() -> list[str]:
    """The MLflow runs that this process logs to; none when it was started by hand."""
    names = ("MLFLOW_RUN_ID", "AZUREML_ROOT_RUN_ID") if os.environ.get("MLFLOW_TRACKING_URI") else ()
    return list(dict.fromkeys(os.environ[name] for name in names if os.environ.get(name)))


class MetricLog:
    """Sends metrics in the background, whatever has piled up in one call a run.

    Use as a context manager: leaving it waits for the last metrics, for `FLUSH_SECONDS` at most.
    """

    def __init__(self, runs: Sequence[str]) -> None:
        self._runs = list(runs)
        self._queue: queue.SimpleQueue[Measurement | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="metrics", daemon=True)

    def __enter__(self) -> "MetricLog":
        if self._runs:
            # Read by mlflow when it is imported: a store that is away must not hold the last metrics for minutes.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._runs:
            self._queue.put(None)
            self._thread.join(FLUSH_SECONDS if error is None else FLUSH_SECONDS_AFTER_FAILURE)
            if self._thread.is_alive():
                logger.warning("The last metrics did not reach MLflow in time; going on without them.")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Takes metrics for `step`; returns at once."""
        if self._runs:
            self._queue.put(Measurement(dict(values), step))

    def _send_all(self) -> None:
        from mlflow import MlflowClient

        try:
            client = MlflowClient()
        except Exception as error:
            logger.warning("Metrics are not logged, training goes on: %s", error)
            return
        failing: set[str] = set()
        more = True
        while more:
            batch, more = self._next_batch()
            for run in self._runs if batch else ():
                try:
                    _send(client, run, batch)
                    failing.discard(run)
                except Exception as error:
                    if run not in failing:
                        failing.add(run)
                        logger.warning("MLflow did not take metrics for run %s, training goes on: %s", run, error)

    def _next_batch(self) -> tuple[list[Measurement], bool]:
        """Waits for a measurement, then takes all that are there. False once the log is closed."""
        batch: list[Measurement] = []
        while not batch or not self._queue.empty():
            item = self._queue.get()
            if item is None:
                return batch, False
            batch.append(item)
        return batch, True


def _send(client: "MlflowClient", run: str, batch: Sequence[Measurement]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(name, value, m.timestamp, m.step) for m in batch for name, value in m.values.items()]
    # The service takes at most 1000 metrics a call (MLflow REST API, log-batch).
    for start in range(0, len(metrics), 1000):
        client.log_batch(run, metrics=metrics[start : start + 1000])
