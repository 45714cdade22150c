"""`python -m emulator.scoring.model_server --model DIR --port P`: serves one model on loopback until SIGTERM."""

import argparse
import logging
import os
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from emulator.scoring.model_server.app import ModelServer
from emulator.scoring.model_server.scorers import scorer_for

MODEL_BROKEN = 3

logger = logging.getLogger(__name__)


def main() -> int:
    """Serves until told to stop. Exits with 3 when the model cannot be loaded."""
    parser = argparse.ArgumentParser(prog="python -m emulator.scoring.model_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the registered model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--name", help="what the model is called; by default its folder's name")
    parser.add_argument("--timeout", type=float, default=90.0, help="seconds a request may take")
    parser.add_argument("--code", type=Path, help="folder of a scoring script")
    parser.add_argument("--entry", help="the scoring script's file name, with init() and run(raw)")
    arguments = parser.parse_args()

    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)-7s %(message)s")
    # Warnings of libraries address whoever calls them, not whoever reads a deployment's log.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    # Torch's threads are to sleep, not spin, while they wait: other processes here need the processor too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The model is on disk; a look at the hub could only hang.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name = arguments.name or arguments.model.name
    try:
        scorer = scorer_for(arguments.model.absolute(), arguments.code and arguments.code.absolute(), arguments.entry)
    except FileNotFoundError as error:
        logger.error("%s", error)
        return MODEL_BROKEN
    server = ModelServer(scorer, name, arguments.timeout, on_broken=lambda: os._exit(MODEL_BROKEN))
    config = uvicorn.Config(
        server.app(), host=arguments.host, port=arguments.port, log_level="warning", access_log=False, lifespan="on"
    )
    PromptServer(config).run()
    return 0


class PromptServer(uvicorn.Server):
    """Ends the process on SIGTERM at once: whoever stops a deployment has stopped listening to its answers."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
