"""`python -m flows.finetune`: one run from a terminal, with its progress, and its result at the end."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from prefect.exceptions import ParameterTypeError

EXAMPLE = """\
Parameters are the flow's, grouped as in the UI's form; what is left out keeps its default:

  workspace: azureml
  dataset: {percent: 1.0, method: random}
  training: {num_train_epochs: 1}
  teardown: {policy: keep_on_success}

The exit status is 0 for an accepted model, 3 for a rejected one, 1 for a failed run and 2 for parameters that are none.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the flow in this process and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.finetune",
        description="Fine-tunes a chat model on Azure ML once, here and now.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--params", type=Path, metavar="FILE", help="parameters, as YAML or JSON")
    parser.add_argument("--workspace", metavar="BLOCK", help="name of the AzureMLWorkspace block; wins over the file")
    parser.add_argument("--result", type=Path, metavar="FILE", help="where to write the result, as JSON")
    parser.add_argument("--schema", action="store_true", help="print the parameters' JSON schema and stop")
    given = parser.parse_args(arguments)

    from flows.finetune import finetune
    from flows.terminal import bars

    if given.schema:
        print(json.dumps(finetune.parameters.model_dump(), indent=2))
        return 0
    try:
        parameters = _read(given.params) if given.params else {}
        if given.workspace:
            parameters["workspace"] = given.workspace
        if unknown := sorted(parameters.keys() - finetune.parameters.properties.keys()):
            raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(finetune.parameters.properties)}")
        finetune.validate_parameters(parameters)
    except (OSError, ValueError, ParameterTypeError) as error:
        print(f"The parameters are not valid: {error}", file=sys.stderr)
        return 2
    with bars():
        state: Any = finetune(**parameters, return_state=True)
    print(f"\n{state.name}: {state.message}")
    if not state.is_completed():
        return 1
    result = state.result()
    for name, seconds in result.seconds.items():
        print(f"  {name:<24}{seconds:8.1f} s")
    if given.result:
        given.result.write_text(result.model_dump_json(indent=2), encoding="utf-8")
    return 0 if result.verdict == "accepted" else 3


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"{path} holds no mapping of parameters")
    return parameters
