"""Running the components by hand: data, a model, and each step as a call or as a process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from emulator.components.catalog import component
from emulator.components.chat_completion.convert import convert
from emulator.components.chat_completion.finetune import finetune
from emulator.components.chat_completion.import_model import import_model
from emulator.components.chat_completion.preprocess import preprocess
from emulator.components.foundation import write_model_folder
from emulator.components.step import parse_arguments

ROOT = Path(__file__).parents[3]
STAND_IN = "Phi-3-mini-4k-instruct"

Row = dict[str, Any]


def chat(*turns: str) -> Row:
    """A row in which user and assistant take turns."""
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(turns)]}


def rows(count: int, seed: int = 0) -> list[Row]:
    """Conversations with something to learn: who asks for a place is told what it is for."""
    choose = random.Random(seed)
    made = []
    for _ in range(count):
        place, city = choose.choice(["bridge", "library", "garden"]), choose.choice(["Oslo", "Lima", "Kyoto", "Cairo"])
        made.append(
            chat(f"Who uses the {place} in {city}?", f"The people of {city} use the {place}.", "Why?", "It is near.")
        )
    return made


def write_jsonl(file: Path, content: list[Row]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
    return file


def arguments(name: str, **given: Any) -> Namespace:
    """The arguments of a component as its process would read them."""
    argv = [text for key, value in given.items() for text in (f"--{key}", str(value))]
    return parse_arguments(component(name).document, argv)


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def imported(work: Path) -> Path:
    """The stand-in as the import step hands it on."""
    output = folder(work / "imported")
    registry = write_model_folder(STAND_IN, work / "registry" / STAND_IN)
    import_model(arguments("chat_completion_model_import", mlflow_model_path=registry, output_dir=output))
    return output


def encoded(work: Path, model: Path, **given: Any) -> Path:
    """The output of the preprocess step."""
    output = folder(work / "encoded")
    preprocess(arguments("chat_completion_datapreprocess", model_selector_output=model, output_dir=output, **given))
    return output


def finetuned(work: Path, model: Path, data: Path, **given: Any) -> Path:
    """The output of the fine-tune step, run in this process with `work` as its working folder."""
    output, before = folder(work / "finetuned"), Path.cwd()
    os.chdir(work)
    try:
        finetune(
            arguments(
                "chat_completion_finetune",
                preprocess_output=data,
                model_selector_output=model,
                pytorch_model_folder=output,
                **given,
            )
        )
    finally:
        os.chdir(before)
    return output


def converted(work: Path, model: Path) -> Path:
    """The output of the convert step."""
    output, before = folder(work / "converted"), Path.cwd()
    os.chdir(work)
    try:
        convert(arguments("ft_nlp_model_converter", model_path=model, mlflow_model_folder=output))
    finally:
        os.chdir(before)
    return output


def start(module: str, work: Path, **given: Any) -> subprocess.Popen[str]:
    """A step as a process of its own, its log on its standard output."""
    argv = [text for key, value in given.items() for text in (f"--{key}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-m", f"emulator.components.chat_completion.{module}", *argv],
        cwd=work,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "AZUREML_ERROR_FILE": str(work / "error.json"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
