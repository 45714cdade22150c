"""Command lines: what a component's template becomes."""

from __future__ import annotations

import sys

import pytest

from emulator.engine.expressions import NodeOutput, ParentInput, ParentOutput, command_line, reference
from emulator.engine.failure import RunFailed


def test_a_line_without_shell_characters_becomes_words_and_a_value_stays_one_word() -> None:
    words = command_line(
        "python -m job --text '${{inputs.text}}' --out ${{ outputs.out }}", {"text": "a; b 'c'"}, {"out": "/o p"}
    )
    assert words == [sys.executable, "-m", "job", "--text", "a; b 'c'", "--out", "/o p"]


def test_a_line_with_shell_characters_is_the_shells() -> None:
    assert command_line("echo ${{inputs.x}} > a", {"x": "1"}, {}) == ["/bin/bash", "-c", "echo 1 > a"]


def test_an_optional_part_is_dropped_with_its_input() -> None:
    template = "job $[[--a ${{inputs.a}}]] $[[--b ${{inputs.b}}]]"
    assert command_line(template, {"b": "2"}, {}) == ["job", "--b", "2"]


def test_a_missing_input_outside_of_an_optional_part_is_named() -> None:
    with pytest.raises(RunFailed, match=r"'inputs\.a', which has no value"):
        command_line("job --a ${{inputs.a}}", {}, {})


def test_quotes_that_do_not_close_are_left_to_the_shell() -> None:
    assert command_line("echo 'open", {}, {}) == ["/bin/bash", "-c", "echo 'open"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("${{parent.inputs.rows}}", ParentInput("rows")),
        ("${{ parent.outputs.model }}", ParentOutput("model")),
        ("${{parent.jobs.train.outputs.model}}", NodeOutput("train", "model")),
        ("a literal", None),
        ("${{parent.inputs.rows}} and more", None),
    ],
)
def test_references_between_nodes(text: str, found: object) -> None:
    assert reference(text) == found
