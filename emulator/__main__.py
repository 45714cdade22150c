"""The command line: `python -m emulator start | stop | status | env | import-model | reset`."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path

from emulator import daemon

DEFAULT_STATE = Path(".azureml-emulator")
DEFAULT_PORT = 8888


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    options.state = options.state.resolve()
    try:
        return options.run(options)
    except daemon.DaemonError as problem:
        print(problem, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        description="An Azure ML on one machine, for the real azure-ai-ml SDK.",
        epilog='In a shell:  python -m emulator start && eval "$(python -m emulator env)"',
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: object, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
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
        added.add_argument("--faithful", action="store_true", help="Azure's own delays and no polling hints")
    command("stop", _stop, "stop it, with every job and deployment that it runs")
    command("status", _status, "tell whether it runs, and where").add_argument("--json", action="store_true")
    env = command("env", _env, "print the environment that points the SDK here, for eval in a shell")
    env.add_argument("--config", action="store_true", help="print the workspace's config.json instead")
    env.add_argument("--as", dest="role", choices=["contributor", "reader"], default="contributor", help="sign in as")
    weights = command("import-model", _import_model, "add a Hugging Face model folder to the system registry")
    weights.add_argument("folder", type=Path, help="holds config.json, *.safetensors and the tokenizer")
    weights.add_argument("--name", required=True, help="the model's name in the registry")
    command("reset", _reset, "stop it and forget everything: delete the state folder")
    return parser


def _start(options: argparse.Namespace) -> int:
    running = daemon.start(options.state, options.port, faithful=options.faithful)
    print(f"Azure ML emulator is ready: proxy 127.0.0.1:{running.port}, process {running.pid}, state {options.state}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    daemon.serve(options.state, options.port, faithful=options.faithful)
    return 0


def _stop(options: argparse.Namespace) -> int:
    print("Stopped." if daemon.stop(options.state) else f"No emulator runs over {options.state}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    running = daemon.find(options.state)
    if options.json:
        print(
            json.dumps(
                {"running": running is not None, "state": str(options.state), **(vars(running) if running else {})}
            )
        )
    elif running is None:
        print(f"No emulator runs over {options.state}.")
    else:
        ports = f"proxy 127.0.0.1:{running.port}, TLS 127.0.0.1:{running.tls_port}"
        print(f"Running: {ports}, process {running.pid}, state {options.state}")
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


def _import_model(options: argparse.Namespace) -> int:
    from emulator.installation import Installation
    from emulator.registry.catalog import Catalog, ModelImportError

    try:
        model = Catalog(Installation.open(options.state)).import_model(options.folder.resolve(), options.name)
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
