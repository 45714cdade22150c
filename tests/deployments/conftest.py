"""The operator's stack on ports and folders of its own, one for the session: to bring one up takes half a minute."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.stack.layout import Stack
from tests.deployments.operated import Operator
from tests.emulated import free_port


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A stack that is up."""
    folder = tmp_path_factory.mktemp("stack")
    operator = Operator(Stack(folder / "home", free_port(), folder / "azure", free_port()))
    try:
        up = operator.command("up")
        assert up.returncode == 0, up.stdout + up.stderr
        assert operator.stack.url in up.stdout
        yield operator
    finally:
        operator.command("down")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Conversations in the reference's schema, as the flow's parameter."""
    folder = tmp_path_factory.mktemp("conversations")
    for split, rows in (("train_sft", 40), ("test_sft", 10), ("test_gen", 5)):
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(rows):
                question = f"What is {number} plus {number}? Asked for {split}."
                said = [("user", question), ("assistant", f"It is {2 * number}.")]
                messages = [{"role": role, "content": content} for role, content in said]
                file.write(
                    json.dumps({"prompt": question, "messages": messages, "prompt_id": f"{split}-{number}"}) + "\n"
                )
    return {"source": str(folder), "percent": 100}
