"""Command lines: what a component's template becomes."""

from __future__ import annotations

import subprocess
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


@pytest.mark.parametrize(
    "path", ["/a b/c", "/it's/c", '/"q"/$HOME/`id`/c', "/plain/c"], ids=["space", "quote", "shell", "plain"]
)
@pytest.mark.parametrize("command", ["{}/x && true", '"{}/x" && true', "'{}/x' && true", "a\\ b{}/x && true"])
def test_a_path_is_one_word_of_a_shell_quoted_or_not(path: str, command: str) -> None:
    """The shell's own words, one a line, of an input's and an output's path."""
    for place, inputs, outputs in (("inputs", {"p": path}, {}), ("outputs", {}, {"p": path})):
        template = "printf '%s\\n' " + command.format(f"${{{{{place}.p}}}}")
        words = command_line(template, inputs, outputs, ["p"])
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said == ("a b" if command.startswith("a") else "") + f"{path}/x\n"


def test_a_literal_is_what_the_shell_makes_of_it() -> None:
    assert command_line("echo ${{inputs.x}} > a", {"x": "1 2"}, {}, []) == ["/bin/bash", "-c", "echo 1 2 > a"]
