"""What waiting for a job costs, and how soon its end is noticed, against `jobs.stream`: `python -m benchmarks.waiting`

Jobs of one emulator end spread over a minute, long after the SDK's stream has backed off to a look a minute. Every one is
waited for twice at the same time, by the flow's stage and by `jobs.stream`. Half of them end as trainings do: the Trainer's
last metrics, then some seconds of saving and converting. The other half say nothing until they end: for those the ratio is
that of ten seconds to sixty. Requests and CPU are those of a process that waits for one silent job of an emulator of its
own, counted from the emulator's record while nothing happens. Takes five minutes. Exits 1 above a bound.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks import AzureMLWorkspace
from tests.emulated import Emulator, pointed_at, running_emulator

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SIXTH = 1 / 6
SILENT_RATIO, REQUESTS_A_MINUTE, CPU_PERCENT = 0.2, 6.0, 1.0
HOLD_SECONDS, SPREAD_SECONDS, JOBS = 160, 60, 10
STEADY_AFTER, STEADY_SECONDS = 60, 120
ENDS_AS_A_TRAINING = """python -c "
import os, time
time.sleep({hold})
from mlflow import MlflowClient
MlflowClient().log_metric(os.environ['MLFLOW_RUN_ID'], 'train_runtime', {hold})
time.sleep(25)
" """
CLUSTER = "many"
ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/105"


def submit(client: MLClient, command_line: str, compute: str | None = None) -> str:
    """Submits a command; returns the job's name."""
    from azure.ai.ml import command

    job = command(command=command_line, environment=ENVIRONMENT, compute=compute)
    return str(client.jobs.create_or_update(job).name)


def make_cluster(client: MLClient) -> None:
    """Makes a cluster on which all jobs run at once."""
    from azure.ai.ml.entities import AmlCompute

    cluster = AmlCompute(name=CLUSTER, size="Standard_NC6s_v3", tier="low_priority", max_instances=2 * JOBS)
    client.compute.begin_create_or_update(cluster).result()


def wait(workspace: AzureMLWorkspace, jobs: list[str]) -> dict[str, float]:
    """Waits as the flow does, for all `jobs` at once; returns when the end of each was noticed."""
    from tasks.credentials import resolve_credentials
    from tasks.pipeline import PipelineParameters, SubmittedJob
    from tasks.waiting import wait_for_pipeline

    where = resolve_credentials.fn(workspace)

    def one(job: str) -> float:
        facts: dict[str, Any] = {"display_name": job, "experiment": "", "studio_url": "", "tags": {}, "parameters": []}
        wait_for_pipeline.fn(
            workspace, where, SubmittedJob(name=job, attempt=1, adopted=True, **facts), PipelineParameters()
        )
        return time.time()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return dict(zip(jobs, pool.map(one, jobs), strict=True))


def stream(workspace: AzureMLWorkspace, jobs: list[str]) -> dict[str, float]:
    """Streams all `jobs` at once; returns when the end of each was noticed."""

    def one(job: str) -> float:
        workspace.client().jobs.stream(job)
        return time.time()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return dict(zip(jobs, pool.map(one, jobs), strict=True))


def wait_measured(workspace: AzureMLWorkspace, jobs: list[str]) -> dict[str, float]:
    """Waits for one job; returns the CPU seconds that this process took while nothing happened."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, workspace, jobs)
        time.sleep(STEADY_AFTER)
        before = time.process_time()
        time.sleep(STEADY_SECONDS)
        spent = time.process_time() - before
        waiting.result()
    return {"cpu": spent}


WATCHERS = {"wait": wait, "stream": stream, "wait_measured": wait_measured}


def start(how: str, emulator: Emulator, jobs: list[str], out: Path) -> subprocess.Popen[bytes]:
    """Starts a process that watches `jobs` and writes what it noticed to `out`."""
    here = emulator.installation
    workspace = json.dumps([here.subscription_id, here.resource_group, here.workspace])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.waiting", "--watch", how, workspace, str(out), *jobs],
        env={**os.environ, **emulator.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def watch(how: str, where: str, out: str, *jobs: str) -> None:
    """The other process."""
    subscription, group, name = json.loads(where)
    workspace = AzureMLWorkspace(subscription_id=subscription, resource_group=group, workspace_name=name)
    Path(out).write_text(json.dumps(WATCHERS[how](workspace, list(jobs))))


def ended(client: MLClient, job: str) -> float:
    """When the job ended, by the run history."""
    details: Any = client.jobs._runs_operations.get_run_details(job)
    return float(details.end_time_utc.timestamp())


def run(folder: Path) -> bool:
    """Measures and prints; says whether every bound holds."""
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(running_emulator(folder / "shared"))
        quiet = stack.enter_context(running_emulator(folder / "quiet"))
        with pointed_at(quiet):
            silent = submit(quiet.client(), f"sleep {STEADY_AFTER + STEADY_SECONDS + 30}")
        measured = start("wait_measured", quiet, [silent], folder / "measured")
        began = time.monotonic()
        with pointed_at(shared):
            client = shared.client()
            make_cluster(client)
            holds = [HOLD_SECONDS + number * SPREAD_SECONDS / JOBS for number in range(JOBS)]
            trainings = [submit(client, ENDS_AS_A_TRAINING.format(hold=hold), CLUSTER) for hold in holds]
            silents = [submit(client, f"sleep {hold + 28:.1f}", CLUSTER) for hold in holds]
            jobs = [*trainings, *silents]
            watchers = [start(how, shared, jobs, folder / how) for how in ("wait", "stream")]
            time.sleep(max(0.0, STEADY_AFTER - (time.monotonic() - began)))
            quiet.ask("DELETE", "/calls")
            time.sleep(STEADY_SECONDS)
            calls = len(quiet.ask("GET", "/calls"))
            for process in (*watchers, measured):
                if process.wait(600) != 0:
                    raise SystemExit("A watcher failed.")
            ends = {job: ended(client, job) for job in jobs}
    ours, theirs = (json.loads((folder / how).read_text()) for how in ("wait", "stream"))
    cpu = json.loads((folder / "measured").read_text())["cpu"]
    holds_all = True
    for title, names, bound in (
        ("the end of a training", trainings, SIXTH),
        ("the end of a silent job", silents, SILENT_RATIO),
    ):
        us, they = (statistics.mean(seen[job] - ends[job] for job in names) for seen in (ours, theirs))
        holds_all &= us / they <= bound
        print(
            f"{title:<26} noticed after {us:5.1f} s, by jobs.stream after {they:5.1f} s (means of {len(names)}): "
            f"{us / they:.3f} of it, at most {bound:.3f}: {_verdict(us / they <= bound)}"
        )
    requests, percent = calls * 60 / STEADY_SECONDS, 100 * cpu / STEADY_SECONDS
    for title, value, bound in (
        ("requests a minute", requests, REQUESTS_A_MINUTE),
        ("CPU, percent of a core", percent, CPU_PERCENT),
    ):
        holds_all &= value <= bound
        print(f"{title:<26} {value:5.2f} while nothing happens, at most {bound:g}: {_verdict(value <= bound)}")
    return holds_all


def _verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__.splitlines()[0])
    parser.add_argument("--watch", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        watch(*options.watch)
        return
    with tempfile.TemporaryDirectory(prefix="waiting-benchmark-") as folder:
        if not run(Path(folder)):
            sys.exit("A bound does not hold.")


if __name__ == "__main__":
    main()
