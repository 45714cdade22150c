"""Runs the Python blocks of a Markdown document in order, unmodified, as a reader would who copies them into a notebook.

    python -m tests.documents NOTEBOOK.md

starts an emulator of its own and runs the public Azure ML notebook "fine-tune a chat model" (or any document with the same
prerequisites) against it, in a scratch folder that holds config.json and a local download-dataset.py.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^[^\n]*```python[ \t]*\n(?P<code>.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
# The published notebook's compute block lost its first half: what is left starts inside an `except`. It runs from here.
COMPUTE_BLOCK = "compute = workspace_ml_client.compute.get(compute_cluster)"
CLUSTER, SIZE = "gpu-cluster-big", "Standard_NC24rs_v3"

DOWNLOAD = '''
"""Stands in for the notebook's download script: same arguments, same files, conversations made here."""
import argparse, hashlib, json, pathlib
parser = argparse.ArgumentParser()
for flag in ("--dataset", "--download_dir", "--dataset_split_pc"):
    parser.add_argument(flag)
folder = pathlib.Path(parser.parse_args().download_dir)
folder.mkdir(exist_ok=True)
for split, rows in (("train_sft", 24), ("test_sft", 6), ("train_gen", 4), ("test_gen", 4)):
    with open(folder / f"{split}.jsonl", "w") as file:
        for n in range(rows):
            prompt = f"What is {n} plus {len(split)}?"
            messages = [{"content": prompt, "role": "user"}, {"content": f"It is {n + len(split)}.", "role": "assistant"}]
            id = hashlib.sha256(f"{split}{n}".encode()).hexdigest()
            file.write(json.dumps({"prompt": prompt, "messages": messages, "prompt_id": id}) + "\\n")
'''


def python_blocks(document: str) -> list[str]:
    """The Python blocks of a Markdown text, dedented; what is not Python (a JSON row shown as an example) is left out."""
    return [block for block in map(textwrap.dedent, FENCE.findall(document)) if _is_python(block)]


def _is_python(block: str) -> bool:
    try:
        compile(block, "block", "exec")
    except SyntaxError:
        return False
    return True


def run_blocks(blocks: list[str], names: dict[str, Any]) -> Iterator[tuple[int, float]]:
    """Executes the blocks in one namespace; yields each one's number and its seconds."""
    for number, block in enumerate(blocks, 1):
        started = time.perf_counter()
        exec(compile(block, f"block {number}", "exec"), names)
        yield number, time.perf_counter() - started


def run_notebook(document: Path, folder: Path) -> dict[str, Any]:
    """Runs the public notebook in `folder`; returns what its blocks left: `response`, `registered_model` and so on."""
    from azure.ai.ml.entities import AmlCompute

    (folder / "download-dataset.py").write_text(DOWNLOAD)
    names: dict[str, Any] = {"__name__": "__main__", "compute_cluster": CLUSTER, "compute_cluster_size": SIZE}
    blocks = []
    for block in python_blocks(document.read_text("utf-8")):
        start = block.find(COMPUTE_BLOCK)
        blocks.append(block[start:] if start > 0 else block)
    for number, seconds in run_blocks(blocks, names):
        print(f"--- block {number} of {len(blocks)} took {seconds:.1f} s", flush=True)
        if number == 1:
            cluster = AmlCompute(name=CLUSTER, size=SIZE, max_instances=2)
            names["workspace_ml_client"].compute.begin_create_or_update(cluster).result()
    return names


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.documents", description=__doc__.splitlines()[0])
    parser.add_argument("document", type=Path)
    document = parser.parse_args().document.resolve()

    from tests.emulated import command_line, pointed_at, running_emulator

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "work"
        folder.mkdir()
        with running_emulator(Path(scratch) / "state") as emulator, pointed_at(emulator):
            config = command_line("env", "--config", "--state", str(emulator.state)).stdout
            (folder / "config.json").write_text(config)
            # The notebook starts its download script as `python`.
            os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            os.chdir(folder)
            try:
                names = run_notebook(document, folder)
            except Exception:
                traceback.print_exc()
                print(emulator.log[-3000:], file=sys.stderr)
                return 1
            finally:
                os.chdir("/")
    print(f"The document ran to its end. The endpoint's last answer: {names['response']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
