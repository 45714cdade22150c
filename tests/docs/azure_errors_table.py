"""Writes the tables of Azure's errors into docs/troubleshooting.md, from the code's own and the published errors behind it.

python -m tests.docs.azure_errors_table
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from tasks.azure_ml.azure_errors import KNOWN, Known, known
from tasks.azure_ml.kinds import ABOUT, MAY_PASS, Kind
from tests.docs.sentences import PAGE
from tests.emulated import ROOT

BEGIN, END = "<!-- python -m tests.docs.azure_errors_table -->\n", "<!-- end -->\n"
SHOWN = 110


def section() -> str:
    """What stands between the marks."""
    return "\n".join([*_kinds(), "", "Known answers, each with one that was published:", "", *_answers(), ""])


def replaced(page: str) -> str:
    """`page` with the tables as they are to be."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + section() + END + rest.split(END, 1)[1]


def _kinds() -> Iterator[str]:
    yield '| kind | tried | "What to do" | what is behind it |\n|---|---|---|---|'
    for kind in Kind:
        yield f"| {kind} | {_tried(kind)} | {ABOUT[kind].do} | {ABOUT[kind].means} |"


def _tried(kind: Kind) -> str:
    if kind not in MAY_PASS:
        return "once"
    return {2: "twice"}.get(ABOUT[kind].tries, f"{ABOUT[kind].tries} times")


def _answers() -> Iterator[str]:
    published = json.loads((ROOT / "tests/data/azure_errors.json").read_text())
    yield '| kind | for example | which means | "What to do" |\n|---|---|---|---|'
    for its in KNOWN:
        example = next((error for error in published if known(_text(error)) is its), None)
        if example:
            yield f"| {its.kind} | {_example(example)} | {its.means} | {_advice(its)} |"


def _advice(its: Known) -> str:
    return its.do or "as above"


def _text(error: dict[str, Any]) -> str:
    return f"{error['code']}: {error['message']}" if error["code"] else str(error["message"])


def _example(error: dict[str, Any]) -> str:
    text = _text(error)
    short = text if len(text) <= SHOWN else text[:SHOWN].rsplit(" ", 1)[0] + " ..."
    # A hole is what the page's other quotations have where this flow puts something in.
    shown = "`" + re.sub(r"[|`…]", " ", short) + "`"
    return f"[{shown}]({error['source']})" if error["source"].startswith("https://") else shown


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"Wrote {PAGE.relative_to(ROOT)}.\n")
