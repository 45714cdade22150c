"""A Prefect server of the tests' own, the emulator's workspace as its block, and conversations."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.events.worker import EventsWorker

from blocks import AzureMLWorkspace
from tests.emulated import Emulator
from tests.prefect_server import prefect_server

BLOCK = "azureml"


@pytest.fixture(scope="session")
def workspace(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureMLWorkspace]:
    """The block, saved as the flow's default names it."""
    with prefect_server(tmp_path_factory.mktemp("prefect")):
        block = emulator.block()
        block.save(BLOCK, overwrite=True)
        yield block


@pytest.fixture(autouse=True)
def _events_go_to_this_server() -> None:
    """Prefect has one sender of events for a process, bound to the server of whoever was the first to send one: a thread that
    another test has left behind, say, whose server is gone. Then all events, and task runs with them, would be lost from then on.
    """
    EventsWorker.drain_all(timeout=30)


@pytest.fixture(scope="session")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of JSON Lines files in the reference's schema: sums, which a tiny model learns something of in seconds."""
    return write_conversations(tmp_path_factory.mktemp("chat") / "conversations")


def write_conversations(folder: Path) -> Path:
    """Writes the splits into `folder`, which it makes; returns it."""
    folder.mkdir()
    for split, rows in (("train_sft", 40), ("test_sft", 10), ("test_gen", 5)):
        lines = []
        for number in range(rows):
            question = f"What is {number} plus {number}? Asked for {split}."
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": f"It is {2 * number}."}]
            lines.append(json.dumps({"prompt": question, "messages": messages, "prompt_id": f"{split}-{number}"}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
