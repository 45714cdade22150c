"""Runs one step's process and outlives the emulator: `python -m emulator.engine.supervisor FOLDER`.

FOLDER holds `command.json` (argv, cwd, log). The supervisor writes `process.json` when the process runs and `result.json`
when it has ended; both appear whole or not at all. The process leads a group of its own, by which it is signalled; what it
leaves running in that group is ended with it, as a container would. Secrets are not in the folder: the environment is handed
down.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND, CLAIM, PROCESS, RESULT = "command.json", "claim", "process.json", "result.json"
NOT_STARTED = 127  # what a shell answers for a command that can't be run


def main(folder: Path) -> int:
    """Runs the command of `folder`, unless another supervisor has claimed it."""
    import psutil

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A handler, since what is ignored would be ignored by the step too: a handler ends with exec.
        signal.signal(number, lambda *_: None)
    try:
        os.close(os.open(folder / CLAIM, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return 1
    spec = json.loads((folder / COMMAND).read_text())
    started = time.time()
    with open(spec["log"], "ab") as log:
        try:
            process = subprocess.Popen(
                spec["argv"],
                cwd=spec["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as problem:
            log.write(f"{spec['argv'][0]}: {problem.strerror}\n".encode())
            log.flush()
            write(folder / RESULT, {"exit_code": NOT_STARTED, "started": started, "ended": time.time()})
            return 0
    known = {
        "supervisor": os.getpid(),
        "created": psutil.Process().create_time(),
        "group": process.pid,
        "group_created": psutil.Process(process.pid).create_time(),
    }
    write(folder / PROCESS, known)
    exit_code = process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    write(folder / RESULT, {"exit_code": exit_code, "started": started, "ended": time.time()})
    return 0


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON so that a reader sees all of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
