"""Azure ML's expressions: `${{parent...}}` between nodes, `${{inputs.x}}` and `$[[ ]]` in a command line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from emulator.engine.failure import user_error

PARENT_INPUT = re.compile(r"\A\$\{\{\s*parent\.inputs\.([\w.-]+)\s*\}\}\Z")
PARENT_OUTPUT = re.compile(r"\A\$\{\{\s*parent\.outputs\.([\w.-]+)\s*\}\}\Z")
NODE_OUTPUT = re.compile(r"\A\$\{\{\s*parent\.jobs\.([\w-]+)\.outputs\.([\w.-]+)\s*\}\}\Z")
ANY = re.compile(r"\$\{\{[^{}]*\}\}")
IN_COMMAND = re.compile(r"\$\{\{\s*(inputs|outputs)\.([\w.-]+)\s*\}\}")
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
# What makes a command line one for a shell rather than a list of words.
SHELL = re.compile(r"[|&;<>()$`*?\[\]{}~#!\n]|\A\s*\w+=")
PYTHON = ("python", "python3")


@dataclass(frozen=True)
class ParentInput:
    """`${{parent.inputs.name}}`"""

    name: str


@dataclass(frozen=True)
class ParentOutput:
    """`${{parent.outputs.name}}`"""

    name: str


@dataclass(frozen=True)
class NodeOutput:
    """`${{parent.jobs.node.outputs.name}}`"""

    node: str
    name: str


Reference = ParentInput | ParentOutput | NodeOutput


def reference(text: str) -> Reference | None:
    """What `text` refers to; None for a literal."""
    if found := PARENT_INPUT.match(text):
        return ParentInput(found[1])
    if found := PARENT_OUTPUT.match(text):
        return ParentOutput(found[1])
    if found := NODE_OUTPUT.match(text):
        return NodeOutput(found[1], found[2])
    return None


def command_line(
    command: str, inputs: Mapping[str, str], outputs: Mapping[str, str], paths: Collection[str] = ()
) -> list[str]:
    """The words to execute for a component's `command`.

    A line that needs no shell is split first and filled in afterwards, so that no value can be anything but one word. `python` is
    the interpreter that runs the emulator. Of a line for a shell, the outputs and the inputs among `paths` are one word, too: on
    Azure no mounted path has a space, and nobody puts it in quotes.

    Raises:
        RunFailed: the command needs an input that was not given.
    """
    values = {("inputs", name): value for name, value in inputs.items()}
    values.update({("outputs", name): value for name, value in outputs.items()})

    def keep(part: re.Match[str]) -> str:
        needed = IN_COMMAND.findall(part[1])
        return part[1] if all(key in values for key in needed) else ""

    def value(found: re.Match[str]) -> str:
        key = (found[1], found[2])
        if key not in values:
            raise user_error(
                f"The command refers to '{found[1]}.{found[2]}', which has no value. Give the input, or put it into $[[ ]]."
            )
        return values[key]

    def in_shell(found: re.Match[str]) -> str:
        is_path = found[1] == "outputs" or found[2] in paths
        return _one_word(value(found), found.string[: found.start()]) if is_path else value(found)

    template = OPTIONAL.sub(keep, command).replace("\\\n", " ").strip()
    compact = IN_COMMAND.sub(lambda found: f"${{{{{found[1]}.{found[2]}}}}}", template)
    words = None if SHELL.search(IN_COMMAND.sub("", compact)) else _split(compact)
    if words is None:
        return ["/bin/bash", "-c", IN_COMMAND.sub(in_shell, template)]
    filled = [IN_COMMAND.sub(value, word) for word in words]
    if not filled:
        raise user_error("The command is empty.")
    return [sys.executable if filled[0] in PYTHON else filled[0], *filled[1:]]


def _one_word(path: str, before: str) -> str:
    """The path as a shell reads it whole after `before`: within quotes that are open there, or without."""
    quote, escaped = "", False
    for character in before:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    if quote == "'":
        return path.replace("'", "'\\''")
    return re.sub(r'([\\"$`])', r"\\\1", path) if quote else shlex.quote(path)


def _split(line: str) -> list[str] | None:
    try:
        return shlex.split(line)
    except ValueError:  # quotes that do not close: the shell shall say so
        return None
