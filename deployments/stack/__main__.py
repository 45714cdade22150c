"""`python -m deployments.stack up | down | status`: the whole stack on this machine, a place to click."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deployments.stack import azure, bringing_up
from deployments.stack.layout import ROOT, Stack
from deployments.stack.processes import Processes, StackError

HOME = ROOT / ".cache" / "stack"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. The exit status is 0 when it did what it is for; `status` says 3 when not all of it runs."""
    parser = argparse.ArgumentParser(prog="python -m deployments.stack", description=__doc__.split(": ", 1)[1])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, help in ((up, "start what does not run yet; safe to run twice"), (down, "stop what `up` started"), (status, "tell")):
        command = commands.add_parser(run.__name__, help=help)
        command.add_argument("--home", type=Path, default=HOME, help="logs, records, Prefect's database (default: .cache/stack)")
        command.set_defaults(run=run)
    command = commands.choices["up"]
    command.add_argument("--port", type=int, default=4200, help="of Prefect's server and UI (default: %(default)s)")
    command.add_argument(
        "--emulator-state", type=Path, default=ROOT / ".azureml-emulator", help="default: .azureml-emulator"
    )
    command.add_argument("--emulator-port", type=int, default=8888, help="of its proxy (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.home = options.home.resolve()
    try:
        return options.run(options)
    except StackError as problem:
        print(problem, file=sys.stderr)
        return 1


def up(options: argparse.Namespace) -> int:
    """Brings everything up and says where to click."""
    stack = Stack(options.home, options.port, options.emulator_state.resolve(), options.emulator_port)
    options.home.mkdir(parents=True, exist_ok=True)
    processes = Processes(options.home)
    if processes.running() and (before := Stack.saved(options.home)) not in (None, stack):
        raise StackError(f"The stack over {options.home} runs with other ports or folders: {before}. Take it down first.")
    stack.save()
    bringing_up.bring_up(stack, processes)
    print(f"""
  The UI            {stack.url}
  Run it            {stack.url}/deployments, then finetune > manual, Run > Custom run: the form
  In this shell     export PREFECT_API_URL={stack.api}
                    prefect deployment run finetune/manual --watch
  Logs              {options.home}
  Stop it           python -m deployments.stack down""")
    return 0


def down(options: argparse.Namespace) -> int:
    """Stops what `up` started, in the order in which nobody misses anybody; state and database stay."""
    stack, processes = Stack.saved(options.home), Processes(options.home)
    if stack is None:
        print(f"No stack was ever started over {options.home}.")
        return 0
    for name in ("worker", "server"):
        print(f"{name:<10} {'stopped' if processes.stop(name) else 'did not run'}")
    print(f"{azure.NAME:<10} {'stopped' if azure.stop(stack, processes) else 'was not started here'}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Tells what runs."""
    stack, processes = Stack.saved(options.home), Processes(options.home)
    if stack is None:
        print(f"No stack was ever started over {options.home}.")
        return 3
    emulator = azure.running(stack)
    running = processes.running()
    healthy = bringing_up.is_healthy(stack) if "server" in running else False
    print(f"{azure.NAME:<10} {emulator or 'does not run'}")
    server = f"{stack.url}, process {running['server'].pid}" if "server" in running else "does not run"
    print(f"{'server':<10} {server}{'' if healthy or 'server' not in running else ', does not answer'}")
    print(f"{'worker':<10} {'process ' + str(running['worker'].pid) if 'worker' in running else 'does not run'}")
    return 0 if emulator and healthy and "worker" in running else 3


if __name__ == "__main__":
    sys.exit(main())
