"""The list of stages is the only one: what names stages elsewhere is held to it."""

import ast
import inspect
import re

from flows import finetune
from flows.stages import ONLY_TO_SERVE, STAGES, count
from tests.emulated import ROOT

NAMES = [stage.name for stage in STAGES]


def test_the_readme_tells_of_every_stage() -> None:
    table = (ROOT / "README.md").read_text("utf-8").split("## What a run does")[1].split("\n\n")[1]
    told = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()))
    assert sorted(told) == sorted(NAMES)


def test_the_flow_has_every_stage_and_no_other() -> None:
    story = inspect.getsource(finetune)
    called = set(re.findall(r"runner\.(?:run|submit|result)\(\s*(\w+)", story))
    assert {"teardown" if name == "tear_down" else name for name in called} == set(NAMES)


def test_a_run_that_serves_nothing_has_fewer() -> None:
    tree = ast.parse(inspect.getsource(finetune))
    guarded = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "deployment.enabled"
    ]
    story = "\n".join(ast.unparse(node) for node in guarded)
    assert set(re.findall(r"runner\.(?:run|submit|result)\((\w+)", story)) == {
        stage.name for stage in STAGES if stage in ONLY_TO_SERVE
    }
    assert count(serves=True) == len(STAGES)
    assert count(serves=False) == len(STAGES) - len(ONLY_TO_SERVE)
