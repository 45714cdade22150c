"""Every sentence with which the flow refuses or fails, read from its code.

    python -m tests.docs.sentences

prints those that docs/troubleshooting.md does not explain yet.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.emulated import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
FOLDERS = ("tasks", "flows", "blocks", "deployments")
HOLE = "…"
# Functions that make the sentence which somebody else raises.
MAKERS = ("sentence", "failure", "failed", "explain", "remedy", "refusal", "unusable", "closed")
# Sentences that are no errors: what a run has cost, what it learnt from and could have.
SUMMARIES = {("tasks/cost.py", "sentence"), ("tasks/metrics.py", "sentence"), ("tasks/forecast.py", "sentence")}
# What a message is given to, beside exceptions: a rule that rows must keep.
RULES = ("Rule",)
SHORTEST = 12  # characters by which a sentence can be told from others


@dataclass(frozen=True)
class Sentence:
    """One sentence; what it puts in is a hole."""

    file: str
    line: int
    text: str

    @property
    def mark(self) -> str:
        """Its longest part without a hole, on one line: by this it is found in the page."""
        return max((part.strip() for part in self.text.replace("\n", HOLE).split(HOLE)), key=len)


def sentences() -> list[Sentence]:
    """All of them, in the order of the code."""
    found = []
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(file.read_text("utf-8"))
            name = str(file.relative_to(ROOT))
            found += [Sentence(name, line, text) for line, text in _told(tree, name)]
    return [sentence for sentence in found if len(sentence.mark) >= SHORTEST]


def unexplained(page: str) -> list[Sentence]:
    """Those that the page does not quote."""
    flat = " ".join(page.split())
    return [sentence for sentence in sentences() if " ".join(sentence.mark.split()) not in flat]


def literals() -> list[str]:
    """Every string of the code, on one line, with holes."""
    folders = (*FOLDERS, "emulator")
    return [
        " ".join(text.split())
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.expr) and (text := _text(node))
    ]


def exceptions() -> list[str]:
    """The names of the flow's own exceptions that somebody can meet."""
    return [
        node.name
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and _is_exception(node)
    ]


def _is_exception(node: ast.ClassDef) -> bool:
    bases = [ast.unparse(base) for base in node.bases]
    return any(base in ("Exception", "ValueError") or base.endswith(("Error", "Failed")) for base in bases)


def _told(tree: ast.Module, file: str) -> Iterator[tuple[int, str]]:
    raised = [
        node.exc
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and "Assertion" not in ast.unparse(node.exc.func)
    ]
    made = [
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and function.name.endswith(MAKERS)
        and (file, function.name) not in SUMMARIES
        for returned in ast.walk(function)
        for node in ([returned.value] if isinstance(returned, ast.Return) and returned.value else [returned])
        if isinstance(node, ast.expr) and (isinstance(returned, ast.Return) or isinstance(node, ast.JoinedStr))
    ]
    for node in [*raised, *made]:
        inner = node.args[0] if isinstance(node, ast.Call) and node.args else node
        if text := _text(inner):
            yield node.lineno, text
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in RULES and (text := _text(call.args[0])):
            yield call.lineno, text


def _text(node: ast.expr) -> str | None:
    """The literal of a string expression, with holes; None for any other."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        case ast.BinOp(op=ast.Add()):
            return (_text(node.left) or HOLE) + (_text(node.right) or HOLE)
    return None


def main() -> int:
    """Prints what is missing; 1 when something is."""
    missing = unexplained(PAGE.read_text("utf-8") if PAGE.exists() else "")
    for sentence in missing:
        print(f"{sentence.file}:{sentence.line}: {sentence.text}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
