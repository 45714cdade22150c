"""docs/emulator-coverage.md is generated; this tells when it was forgotten."""

from __future__ import annotations

import re

from tests.coverage_page import NON_GOALS, PAGE, served


def test_the_page_lists_what_is_served_and_nothing_else() -> None:
    page = PAGE.read_text("utf-8")
    listed = re.findall(r"^\| (\S+) \| `([^`]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted((operation.method, operation.path) for operation in served()), (
        "run: python -m pytest && python -m tests.coverage_page"
    )
    assert page.endswith(NON_GOALS)
