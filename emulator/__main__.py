"""The command line: `python -m emulator start | stop | status | env | import-model | faults | calls | reset`."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from emulator import daemon, disk
from emulator.arm.limits import EXAMPLE
from emulator.conditions import Conditions, ConditionsError
from emulator.seal import SealBroken

DEFAULT_STATE = Path(".azureml-emulator")
DEFAULT_PORT = 8888


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    options.state = options.state.resolve()
    try:
        return options.run(options)
    except (ConditionsError, daemon.DaemonError, SealBroken) as problem:
        print(problem, file=sys.stderr)
        return 1
    except Exception as problem:
        if disk.trouble(problem, options.state) is None:
            raise
        print(daemon.unusable(options.state, problem), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        description="An Azure ML on one machine, for the real azure-ai-ml SDK.",
        epilog='In a shell:  python -m emulator start && eval "$(python -m emulator env)"',
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: object, help: str, among: Any = commands) -> argparse.ArgumentParser:
        added = among.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        added.add_argument("--state", type=Path, default=DEFAULT_STATE, help="state folder (default: %(default)s)")
        return added

    for name, run, help in (
        ("start", _start, "start in the background and return when ready"),
        ("serve", _serve, "run in the foreground until SIGTERM or Ctrl-C"),
    ):
        added = command(name, run, help)
        added.add_argument(
            "--port", type=int, default=DEFAULT_PORT, help="port of the CONNECT proxy (default: %(default)s)"
        )
        added.add_argument("--faults", type=Path, help="JSON file with a list of fault rules to begin with")
        added.add_argument("--faithful", action="store_true", help="Azure's own delays and no polling hints")
        added.add_argument(
            "--as-of",
            metavar="DATE",
            help="the day that models and sizes are as of (default: 2025-03-01), or `today`; kept until another is given",
        )
        added.add_argument("--quota", type=Path, metavar="FILE", help="limits of vCPUs, as below; kept from then on")
        added.add_argument("--region", metavar="NAME", help="where a new emulator is (default: eastus)")
        added.formatter_class = argparse.RawDescriptionHelpFormatter
        added.epilog = (
            f"a file for --quota, in YAML or JSON; what it leaves out keeps the emulator's own limit:\n\n{EXAMPLE}"
        )
    command("stop", _stop, "stop it, with every job and deployment that it runs")
    command("status", _status, "tell whether it runs, and where").add_argument("--json", action="store_true")
    env = command("env", _env, "print the environment that points the SDK here, for eval in a shell")
    env.add_argument("--config", action="store_true", help="print the workspace's config.json instead")
    env.add_argument("--as", dest="role", choices=["contributor", "reader"], default="contributor", help="sign in as")
    weights = command("import-model", _import_model, "add a Hugging Face model folder to the system registry")
    weights.add_argument("folder", type=Path, help="holds config.json, *.safetensors and the tokenizer")
    weights.add_argument("--name", required=True, help="the model's name in the registry")
    faults = commands.add_parser("faults", help="make calls fail on request", description="Make calls fail on request.")
    rules = faults.add_subparsers(required=True, metavar="action")
    command("add", _add_fault, "put a rule in force and print its id", rules).add_argument(
        "rule", help="the rule as JSON"
    )
    listing = command("list", _list_faults, "list the rules, with the calls that each has seen and hit", rules)
    listing.add_argument("--json", action="store_true")
    command("clear", _clear_faults, "take rules out of force", rules).add_argument("--id", help="only this one")
    command("calls", _calls, "print the calls that reached it, as JSON lines: method, host, path, status, at")
    command("reset", _reset, "stop it and forget everything: delete the state folder")
    return parser


def _start(options: argparse.Namespace) -> int:
    running = daemon.start(options.state, options.port, **_given(options))
    where = f"proxy 127.0.0.1:{running.port}, process {running.pid}, state {options.state}"
    print(f"Azure ML emulator is ready: {where}, {Conditions.kept(options.state)}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    daemon.serve(options.state, options.port, **_given(options))
    return 0


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that `start` and `serve` share but for where."""
    return {name: getattr(options, name) for name in ("faithful", "faults", "as_of", "quota", "region")}


def _stop(options: argparse.Namespace) -> int:
    print("Stopped." if daemon.stop(options.state) else f"No emulator runs over {options.state}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    running = daemon.find(options.state)
    conditions = Conditions.kept(options.state)
    if options.json:
        as_of = conditions.as_of
        print(
            json.dumps(
                {
                    "running": running is not None,
                    "state": str(options.state),
                    "as_of": as_of and as_of.isoformat(),
                    **(vars(running) if running else {}),
                }
            )
        )
    elif running is None:
        print(f"No emulator runs over {options.state}.")
    else:
        ports = f"proxy 127.0.0.1:{running.port}, TLS 127.0.0.1:{running.tls_port}"
        print(f"Running: {ports}, process {running.pid}, state {options.state}, {conditions}")
    return 0 if running else 3


def _env(options: argparse.Namespace) -> int:
    from emulator.environment import environment, workspace_config
    from emulator.installation import FILE, Installation

    if not (options.state / FILE).exists():
        raise daemon.DaemonError(
            f"{options.state} holds no emulator yet. Run: python -m emulator start --state {options.state}"
        )
    installation = Installation.open(options.state)
    if options.config:
        print(json.dumps(workspace_config(installation), indent=2))
        return 0
    running = daemon.find(options.state)
    if running is None:
        raise daemon.DaemonError(
            f"No emulator runs over {options.state}. Run: python -m emulator start --state {options.state}"
        )
    for name, value in environment(installation, running.port, options.role).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _add_fault(options: argparse.Namespace) -> int:
    try:
        rule = json.loads(options.rule)
    except ValueError as problem:
        raise daemon.DaemonError(f"The rule is no JSON: {problem}") from None
    print(_control(options, "POST", "/faults", rule)["id"])
    return 0


def _list_faults(options: argparse.Namespace) -> int:
    rules = _control(options, "GET", "/faults")
    if options.json:
        print(json.dumps(rules, indent=2))
        return 0
    for rule in rules:
        match, hits = rule["match"], f"hit {rule['hits']} of {rule['seen']} calls"
        print(f"{rule['id']}  {rule['effect']['kind']:<22} {match['method']} {match['path']}  {hits}")
    return 0


def _clear_faults(options: argparse.Namespace) -> int:
    path = f"/faults/{options.id}" if options.id else "/faults"
    print(f"Cleared {_control(options, 'DELETE', path)['cleared']} rules.")
    return 0


def _calls(options: argparse.Namespace) -> int:
    for call in _control(options, "GET", "/calls"):
        print(json.dumps(call))
    return 0


def _control(options: argparse.Namespace, method: str, path: str, body: object = None) -> Any:
    from emulator.control import ControlError, ask
    from emulator.installation import Installation

    running = daemon.find(options.state)
    if running is None:
        raise daemon.DaemonError(
            f"No emulator runs over {options.state}. Run: python -m emulator start --state {options.state}"
        )
    try:
        return ask(Installation.open(options.state), running.tls_port, method, path, body)
    except ControlError as problem:
        raise daemon.DaemonError(f"Refused: {problem}") from problem


def _import_model(options: argparse.Namespace) -> int:
    from emulator.installation import Installation
    from emulator.registry.catalog import Catalog, ModelImportError

    try:
        catalog = Catalog(Installation.open(options.state), Conditions.kept(options.state).today)
        model = catalog.import_model(options.folder.resolve(), options.name)
    except ModelImportError as problem:
        raise daemon.DaemonError(str(problem)) from problem
    print(f"Imported as {model.id}")
    return 0


def _reset(options: argparse.Namespace) -> int:
    from emulator.installation import FILE

    daemon.stop(options.state)
    if options.state.exists():
        # Only what an emulator made is ever deleted.
        if any(options.state.iterdir()) and not (options.state / FILE).exists():
            raise daemon.DaemonError(f"{options.state} is no emulator's state folder; nothing was deleted.")
        shutil.rmtree(options.state)
    print(f"Forgot {options.state}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
