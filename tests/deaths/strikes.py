"""What each death does to a run that is met in a stage, and what an operator or a service manager does after it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from fnmatch import fnmatchcase

import psutil

from tasks.azure_ml.states import ENDED_BADLY, word
from tests.deaths.cells import Death, Stage
from tests.deaths.holds import SHARED, Hold, held_call
from tests.deaths.site import Run, Site
from tests.processes import alive_where, is_alive
from tests.resilience.verdict import FINAL
from tests.resilience.waiting import await_until

GONE_SECONDS = 120
STATE_SECONDS = 300


def freeze(run: Run) -> None:
    """Holds the run where it is: no line of it is executed until it is killed or continued."""
    _signal(run.processes(), signal.SIGSTOP)


def await_answer(run: Run, hold: Hold) -> None:
    """Until the held call has taken effect. To a frozen run its answer is lost."""
    if hold.stage in SHARED:
        return  # reads, and other runs make them too
    call = held_call(hold.stage, run)

    def answered() -> bool:
        return any(
            made["method"] == call["method"]
            and made["status"] is not None
            and fnmatchcase((made["host"] + made["path"]).lower(), call["path"].lower())
            for made in run.site.emulator.ask("GET", "/calls")
        )

    await_until(answered, GONE_SECONDS, f"an answer to {call}")


def kill(run: Run) -> None:
    """SIGKILL of all that the flow runs in."""
    _signal(run.processes(), signal.SIGKILL)
    _await_gone(run)


def stop_worker(site: Site, number: signal.Signals) -> None:
    """By that signal."""
    worker = site.processes.running()["worker"].find()
    assert worker is not None
    worker.send_signal(number)
    await_until(lambda: not is_alive(worker.pid), GONE_SECONDS, "the end of the worker")


def _killed(run: Run, hold: Hold) -> None:
    freeze(run)
    await_answer(run, hold)
    kill(run)


def _terminated(run: Run, hold: Hold) -> None:
    """After the call has taken effect, before its answer is read."""
    [*_, engine] = _with_word(run, "engine")
    freeze(run)
    await_answer(run, hold)
    _signal([engine], signal.SIGTERM)
    _signal(run.processes(), signal.SIGCONT)
    _await_gone(run)


def _rescheduled(run: Run, hold: Hold) -> None:
    """At work, and again as the next process begins, before it listens."""
    for at in ("work", "its beginning"):
        _hand_back(run, at)


def _hand_back(run: Run, at: str) -> None:
    before = _handed_back(run)
    [supervisor] = await_until(lambda: _with_word(run, "execute"), STATE_SECONDS, f"the process of {run.id} at {at}")
    _signal([supervisor], signal.SIGTERM)
    await_until(lambda: not is_alive(supervisor.pid), GONE_SECONDS, f"the end of process {supervisor.pid}")
    await_until(lambda: _handed_back(run) > before, STATE_SECONDS, f"{run.id} handed back at {at}")


def _handed_back(run: Run) -> int:
    """How often the run was to wait for another process."""
    states = run.site.ask(f"/flow_run_states/?flow_run_id={run.id}", method="GET")
    return sum(state["name"] == "AwaitingRetry" for state in states)


def _worker_shut_down(run: Run, hold: Hold) -> None:
    stop_worker(run.site, signal.SIGTERM)
    _await_gone(run)
    run.site.up()


def _cancelled(run: Run, hold: Hold) -> None:
    done = run.site.operator.run("prefect", "flow-run", "cancel", str(run.id))
    assert done.returncode == 0, done.stdout + done.stderr


def _server_restarted(run: Run, hold: Hold) -> None:
    """The server is away when the held call is answered and the next stage begins."""
    freeze(run)
    assert run.site.processes.stop("server")
    _signal(run.processes(), signal.SIGCONT)
    await_answer(run, hold)
    run.site.up()


def _suspended(run: Run, hold: Hold) -> None:
    """As the UI's button does. The run notices at the end of the stage; then nothing of it may be gone, and it is resumed."""
    site = run.site
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": {"pause_reschedule": True}}
    site.ask(f"/flow_runs/{run.id}/set_state", {"state": suspended})
    had = site.records.endpoints(run.id)
    _await_gone(run, STATE_SECONDS)
    if run.read()["state_type"] in FINAL:
        return  # it was in its last stage
    job = site.records.job(run.names.job(1))
    assert job is None or word(job.status) not in ENDED_BADLY, f"a suspended run's job is {job.status}"
    if hold.stage is not Stage["TEARDOWN"]:  # which deletes it
        assert had <= site.records.endpoints(run.id), f"a suspended run has lost {had}"
    site.ask(f"/flow_runs/{run.id}/resume")


STRIKES: dict[Death, Callable[[Run, Hold], None]] = {
    Death.KILLED: _killed,
    Death.TERMINATED: _terminated,
    Death.RESCHEDULED: _rescheduled,
    Death.WORKER_SHUT_DOWN: _worker_shut_down,
    Death.CANCELLED: _cancelled,
    Death.SERVER_RESTARTED: _server_restarted,
    Death.SUSPENDED: _suspended,
}
"""What does each; it returns when it is done and the run is on its own again. A worker is killed with many runs at a time."""


def _with_word(run: Run, part: str) -> list[psutil.Process]:
    """Those of a run's processes that have it in a word of their command line: the flow's own is Prefect's engine."""
    return alive_where(lambda process: any(part in word for word in process.cmdline()), run.processes())


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _await_gone(run: Run, seconds: float = GONE_SECONDS) -> None:
    await_until(lambda: not run.processes(), seconds, f"the end of the processes of run {run.id}")
