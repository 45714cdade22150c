"""The stack's processes and the record of them: what `up` started is what `down` stops, and nothing else."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

RUN_ID = "PREFECT__FLOW_RUN_ID"
STOP_SECONDS = 20.0  # a worker ends its runs first, and a server finishes its answers


class StackError(Exception):
    """What the command line prints instead of a trace."""


@dataclass(frozen=True)
class Started:
    """A process that the stack started. When it began tells it from a later one with the same id."""

    pid: int
    created: str | float
    """As `_began` says; by an older version, or on a system without /proc, the time since 1970."""

    @classmethod
    def of(cls, pid: int) -> Started:
        """The process that has this id now."""
        return cls(pid, _began(pid))

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if isinstance(self.created, str):
                same = _began(self.pid) == self.created
            else:
                same = abs(process.create_time() - self.created) < 1.0
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def _began(pid: int) -> str | float:
    """The machine's start and the ticks since then: the time since 1970 moves with every setting of the clock."""
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {fields[19]}"
    except (FileNotFoundError, ProcessLookupError):
        return psutil.Process(pid).create_time()


class Processes:
    """The named processes of one stack, recorded in `processes.json` in its folder, with a log for each."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file = home / "processes.json"

    def running(self) -> dict[str, Started]:
        """Those that the stack started and that still run."""
        return {name: started for name, started in self._read().items() if started.find()}

    def log(self, name: str) -> Path:
        """Where a process writes what it says."""
        return self.home / f"{name}.log"

    def log_end(self, name: str) -> str:
        """The last lines of its log, for an error."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])
        return ""

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Started:
        """Starts a process in a session of its own, so that it outlives the terminal, and records it."""
        # A process inherits ignored signals, and what a script starts with `&` ignores SIGINT; Prefect's worker ends by
        # sending itself one.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = Started.of(process.pid)
        self.record(name, started)
        return started

    def record(self, name: str, started: Started) -> None:
        """Notes a process that was started by other means."""
        self._write({**self._read(), name: started})

    def forget(self, name: str) -> None:
        """Drops a process from the record, which may keep it where the disk takes nothing: what has ended is not found again."""
        with contextlib.suppress(OSError):
            self._write({other: started for other, started in self._read().items() if other != name})

    def stop(self, name: str) -> bool:
        """Ends a process and all that it started; False when it does not run any more."""
        process = started.find() if (started := self._read().get(name)) else None
        if process:
            _end([process, *_below(process)])
        self.forget(name)
        return process is not None

    def _read(self) -> dict[str, Started]:
        try:
            return {name: Started(**entry) for name, entry in json.loads(self._file.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise StackError(
                f"{self._file} is not readable ({error}). End its processes by hand and delete it."
            ) from error

    def _write(self, processes: Mapping[str, Started]) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps({name: vars(started) for name, started in processes.items()}, indent=2))
        partial.replace(self._file)


@contextlib.contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Waits until nobody else brings up the stack over `home`."""
    lock = FileLock(home / "up.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print("Somebody else is bringing this stack up; waiting for that.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def end_runs(prefect_home: Path) -> None:
    """Ends the flow runs of a worker that is gone: a killed worker leaves them running, and the next one would run them twice."""
    # Killed, not asked: a run that is asked to end takes it for a crash and releases what it will need when it goes on.
    runs = [process for process, env in _flows() if env.get("PREFECT_HOME") == str(prefect_home)]
    _kill([member for process in runs for member in (process, *_below(process))])


def runs_of_flows() -> set[str]:
    """Ids of the flow runs that processes of this machine execute, whoever started them."""
    return {env[RUN_ID] for _, env in _flows()}


def _flows() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # another user's, or gone
            env = process.environ()
            if RUN_ID in env and _alive(process):
                yield process, env


def _below(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _end(family: Sequence[psutil.Process]) -> None:
    """Asks the first, gives all of them time, then insists: what a worker runs has sessions of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family[0].terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(family[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    _kill(family)


def _kill(family: Sequence[psutil.Process]) -> None:
    for process in filter(_alive, family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + 5
    while any(map(_alive, family)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
