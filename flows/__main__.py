"""`python -m flows NAME`: one run of a flow from a terminal, with its progress, and its result at the end."""

from __future__ import annotations

import argparse
import json
import stat
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect.exceptions import ParameterTypeError

from tasks.disk import DiskRefuses, explained

FLOWS = {
    "finetune": "fine-tune a chat model on Azure ML once, here and now",
    "preflight": "say all that is in the way of such a fine-tuning, and make nothing",
    "reap": "release what outlived its run",
}
STATUS = {"Rejected": 3, "NotReady": 1}
"""Of runs that completed, by the name of their end; else 0."""
EXAMPLE = """\
Parameters are the flow's, grouped as in the UI's form; what is left out keeps its default:

  workspace: azureml
  dataset: {percent: 1.0, method: random}
  training: {num_train_epochs: 1}
  teardown: {policy: keep_on_success}

The exit status is 0 for a run that completed, 3 for a rejected model, 1 for a failed run or a preflight that found
something in the way, and 2 for parameters that are not valid.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the flow in this process and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows",
        description="Runs a flow once: " + "; ".join(f"{name}: {what}" for name, what in FLOWS.items()) + ".",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", choices=FLOWS, help=" or ".join(FLOWS))
    parser.add_argument("--params", type=Path, metavar="FILE", help="parameters, as YAML or JSON")
    parser.add_argument("--workspace", metavar="BLOCK", help="name of the AzureMLWorkspace block; wins over the file")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="where to write the result, as JSON; a failed run leaves none"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on standard output"
    )
    parser.add_argument("--schema", action="store_true", help="print the parameters' JSON schema and stop")
    given = parser.parse_args(arguments)

    from flows.terminal import progress_bars

    flow: Any = getattr(import_module(f"flows.{given.name}"), given.name)
    if given.schema:
        print(json.dumps(flow.parameters.model_dump(), indent=2))
        return 0
    try:
        parameters = _read(given.params) if given.params else {}
        if given.workspace:
            parameters["workspace"] = given.workspace
        if unknown := sorted(parameters.keys() - flow.parameters.properties.keys()):
            raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(flow.parameters.properties)}")
        flow.validate_parameters(parameters)
        if given.result:
            _make_way(given.result)
    except DiskRefuses as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, ValueError, ParameterTypeError) as error:
        print(f"The parameters are not valid: {error}", file=sys.stderr)
        return 2
    with progress_bars():
        state: Any = flow(**parameters, return_state=True)
    told = sys.stderr if given.json else sys.stdout
    print(f"\n{state.name}: {state.message}" if state.message else f"\n{state.name}", file=told)
    if not state.is_completed():
        return 1
    result = state.result()
    for name, seconds in getattr(result, "seconds", {}).items():
        print(f"  {name:<24}{seconds:8.1f} s", file=told)
    if given.json:
        print(result.model_dump_json(indent=2))
    if given.result:
        try:
            _write(given.result, result.model_dump_json(indent=2))
        except DiskRefuses as error:
            print(f"The run has ended, but not its result's file. {error}", file=sys.stderr)
    return STATUS.get(state.name, 0)


def _make_way(path: Path) -> None:
    """What cannot be written in the end is not worth a night; and a result that was there is another run's. Where the file may be
    written but not removed, and behind a link, it stays, empty."""
    _write(path, "")
    if stat.S_ISREG(path.lstat().st_mode):  # never /dev/stdout
        with suppress(OSError):
            path.unlink()


def _write(path: Path, text: str) -> None:
    with explained(path, "name it again"):
        path.write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"{path} holds no mapping of parameters")
    return parameters


if __name__ == "__main__":
    raise SystemExit(main())
