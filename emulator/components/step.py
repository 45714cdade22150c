"""How a component's process starts, speaks and fails.

A step's arguments are declared once, in the component's YAML; the parser is built from it, so that the registry, the
command line and the step cannot disagree.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from emulator import disk
from emulator.components.catalog import component

FAILED = 1
TERMINATED = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


class UserError(Exception):
    """The submitter can put this right. Becomes the run's error with the code `UserError`."""


class Terminated(Exception):
    """The step was asked to stop (SIGTERM) and has put its affairs in order."""


def run(name: str, body: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs `body` with the arguments of the component `name` and exits as a step must.

    Exit code 0 is success. On failure the reason is logged, and written to `$AZUREML_ERROR_FILE` where that is set.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    share_the_processor()
    quieten_libraries()
    try:
        body(parse_arguments(component(name).document, argv))
    except UserError as error:
        logger.error("%s", error)
        report_error("UserError", str(error))
        sys.exit(FAILED)
    except Terminated as error:
        logger.warning("%s", error)
        sys.exit(TERMINATED)
    except Exception as error:
        logger.error("%s", traceback.format_exc())
        said = f"{name} failed: {type(error).__name__}: {error}"
        trouble = disk.trouble(error, Path.cwd())
        if trouble is not None and trouble.passes:
            said = f"{name} failed in {Path.cwd()}: {trouble.what}. {trouble.do} and run it again."
        report_error("SystemError", said)
        sys.exit(FAILED)
    sys.exit(0)


def report_error(code: str, message: str) -> None:
    """Leaves the failure where the engine looks for it; without `$AZUREML_ERROR_FILE` the log has to do."""
    if path := os.environ.get("AZUREML_ERROR_FILE"):
        with contextlib.suppress(OSError):  # the disk may be what failed
            Path(path).write_text(json.dumps({"code": code, "message": message}), "utf-8")


def share_the_processor() -> None:
    """Makes torch's threads sleep rather than spin while they wait for each other; to be called before torch is imported.

    On a machine that also runs everything else here, spinning threads hold the processor that the others wait for:
    measured on two busy cores, training is 2 to 3 times faster without, generation 2 to 6 times.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def quieten_libraries() -> None:
    """Keeps progress bars out of the log, and the libraries off the network: a step has all it needs on disk."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Warnings of libraries address whoever calls them, not whoever submitted the job.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    for noisy in ("urllib3", "mlflow", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog} was given wrong arguments: {message}.")


def parse_arguments(document: dict[str, Any], argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads a command line by a component's declared inputs and outputs.

    Numbers come out as numbers, the enum "true" | "false" as a bool, files and folders as absolute paths, and an
    optional input without default as None.

    Raises:
        UserError: an argument is missing, unknown, of the wrong type, or outside its enum or minimum.
    """
    parser = _Parser(prog=document["name"], description=document.get("description"), allow_abbrev=False)
    for name, port in document["inputs"].items():
        default = port.get("default")
        convert = _converter(port)
        parser.add_argument(
            f"--{name}",
            type=convert,
            default=None if default is None else convert(str(default)),
            required=default is None and not port.get("optional", False),
            help=port.get("description"),
        )
    for name, port in document["outputs"].items():
        parser.add_argument(f"--{name}", type=_path, required=True, help=port.get("description"))
    return parser.parse_args(argv)


def _path(text: str) -> Path:
    return Path(text).absolute()


def _converter(port: dict[str, Any]) -> Callable[[str], Any]:
    choices = [str(choice) for choice in port.get("enum", [])]
    minimum, maximum = port.get("min"), port.get("max")

    def number(text: str) -> int | float:
        try:
            value: int | float = int(text) if port["type"] == "integer" else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not of type {port['type']}") from None
        if minimum is not None and value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is less than the minimum, {minimum}")
        if maximum is not None and value > maximum:
            raise argparse.ArgumentTypeError(f"{text} is more than the maximum, {maximum}")
        return value

    def choice(text: str) -> str | bool:
        if choices and text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text == "true" if set(choices) == {"true", "false"} else text

    if port["type"] in ("integer", "number"):
        return number
    return choice if port["type"] == "string" else _path
