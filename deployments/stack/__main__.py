"""`python -m deployments.stack up | down | status`: the whole stack on this machine, a place to click."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from deployments.stack import azure, bringing_up
from deployments.stack.layout import DATABASE, ROOT, WORK_POOL, Stack, database_of_the_caller
from deployments.stack.processes import Processes, StackError, Started, end_runs, one_at_a_time
from tasks.disk import DiskRefuses, explained, probe

HOME = ROOT / ".cache" / "stack"
ROOM = 8 << 20  # bytes that a start needs, mostly for the database


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. The exit status is 0 when it did what it is for; `status` says 3 when not all of it runs, or a night
    never will."""
    parser = argparse.ArgumentParser(prog="python -m deployments.stack", description=__doc__.split(": ", 1)[1])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, help in (
        (up, "start what does not run yet; safe to run twice"),
        (down, "stop what `up` started"),
        (status, "tell what runs, when each deployment last ended well, and when it runs next"),
    ):
        command = commands.add_parser(run.__name__, help=help)
        command.add_argument(
            "--home", type=Path, default=HOME, help="logs, records, Prefect's database (default: .cache/stack)"
        )
        command.set_defaults(run=run)
    command = commands.choices["up"]
    command.add_argument("--port", type=int, default=4200, help="of Prefect's server and UI (default: %(default)s)")
    command.add_argument(
        "--emulator-state", type=Path, default=ROOT / ".azureml-emulator", help="default: .azureml-emulator"
    )
    command.add_argument("--emulator-port", type=int, default=8888, help="of its proxy (default: %(default)s)")
    command.add_argument("--reset", action="store_true", help="also undo what was changed in the UI")
    command.add_argument("--login", action="store_true", help="the API and the UI ask for a login, made once and kept")
    options = parser.parse_args(arguments)
    options.home = options.home.resolve()
    try:
        with explained(options.home, "try again, or name another folder with --home"):
            return options.run(options)
    except StackError as problem:
        print(problem, file=sys.stderr)
    except DiskRefuses as refused:
        print(f"The stack's folder: {refused}", file=sys.stderr)
    return 1


def up(options: argparse.Namespace) -> int:
    """Brings everything up and says where to click."""
    database = database_of_the_caller()
    stack = Stack(options.home, options.port, options.emulator_state.resolve(), options.emulator_port, database)
    probe(options.home, ROOM)
    with one_at_a_time(options.home):
        processes, before = Processes(options.home), Stack.saved(options.home)
        if before and before.database != database:
            raise StackError(
                f"The stack over {options.home} was brought up with {before.database or 'a database of its own'}, and "
                f"{DATABASE} now names {database or 'none'}: its runs and blocks would be missing. Set it as it was, or choose "
                "another --home."
            )
        if processes.running() and before not in (None, stack):
            raise StackError(
                f"The stack over {options.home} runs with other ports or folders: {before}. Take it down first."
            )
        if options.login and not stack.login_file.exists():
            if "server" in processes.running():
                raise StackError("The server runs without a login. Take the stack down first.")
            stack.require_login()
        stack.save()
        bringing_up.bring_up(stack, processes, reset=options.reset)
    login, login_file = stack.login_file.exists(), shlex.quote(str(stack.login_file))
    stop = (
        "make down"
        if options.home == HOME
        else f"{shlex.quote(sys.executable)} -m deployments.stack down --home {shlex.quote(str(options.home))}"
    )
    print(f"""
  The UI            {stack.url}{f", login: see {stack.login_file}" if login else ""}
  Run it            {stack.url}/deployments, then finetune > manual, Run > Custom run: the form
  In this shell     export PREFECT_API_URL={stack.api}{f' PREFECT_API_AUTH_STRING="$(cat {login_file})"' if login else ""}
                    {shlex.quote(str(Path(sys.executable).parent / "prefect"))} deployment run finetune/manual --watch
  Logs              {options.home}
  Stop it           {stop}""")
    return 0


def down(options: argparse.Namespace) -> int:
    """Stops what `up` started, in the order in which nobody misses anybody; state and database stay."""
    stack, processes = Stack.saved(options.home), Processes(options.home)
    if stack is None:
        print(f"No stack was ever started over {options.home}.")
        return 0
    worker = processes.stop("worker")
    end_runs(stack.prefect_home)
    server = processes.stop("server")
    emulator = azure.stop(stack, processes)
    for name, stopped in (("worker", worker), ("server", server), (azure.NAME, emulator)):
        print(f"{name:<10} {'stopped' if stopped else 'not running, or not started by this stack'}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Tells what runs."""
    stack, processes = Stack.saved(options.home), Processes(options.home)
    if stack is None:
        print(f"No stack was ever started over {options.home}.")
        return 3
    running = processes.running()
    answers = "server" in running and bringing_up.is_healthy(stack)
    parts = {
        azure.NAME: azure.running(stack),
        "server": _server(stack, running.get("server"), answers=answers),
        "worker": f"process {running['worker'].pid}, work pool {WORK_POOL}" if "worker" in running else None,
    }
    for name, where in parts.items():
        print(f"{name:<10} {where or 'does not run'}")
    refusals = _refusals(stack)
    for refused in refusals:
        print(f"{'disk':<10} {refused}")
    if not answers:
        return 3
    sentences, all_will_run = bringing_up.nights(stack)
    for sentence in sentences:
        print(f"{'':<10} {sentence}")
    return 0 if all_will_run and all(parts.values()) and not refusals else 3


def _refusals(stack: Stack) -> list[str]:
    """A sentence for each folder of the stack that its disk does not let it write to."""
    sentences = []
    for folder in filter(Path.exists, (stack.home, stack.emulator_state)):
        try:
            with explained(folder, "what waits for it goes on"):
                probe(folder, ROOM)
        except DiskRefuses as refused:
            sentences.append(str(refused))
    return sentences


def _server(stack: Stack, started: Started | None, *, answers: bool) -> str | None:
    if started is None:
        return None
    return f"{stack.url}, process {started.pid}{'' if answers else ', does not answer'}"


if __name__ == "__main__":
    sys.exit(main())
