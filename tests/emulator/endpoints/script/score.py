"""A scoring script that does what the test's environment and request tell it."""

import json
import os
import time
from pathlib import Path
from typing import Any


def init() -> None:
    print("init of", os.environ.get("COLOR"))
    if os.environ.get("INIT") == "fails":
        raise RuntimeError("the weights are broken")
    if os.environ.get("INIT") == "hangs":
        time.sleep(600)


def run(raw: str) -> dict[str, Any]:
    request = json.loads(raw)
    if "sleep" in request:
        time.sleep(request["sleep"])
    if request.get("fail"):
        raise ValueError("the request is not to the model's taste")
    if request.get("die"):
        os._exit(9)
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    return {
        "color": os.environ.get("COLOR"),
        "process": os.getpid(),
        "files": sorted(p.name for p in folder.rglob("*")),
    }
