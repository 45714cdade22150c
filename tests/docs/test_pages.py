"""The documentation holds: what it links to is there, what it says to run is run, what is generated is current."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tasks.azure_ml.kinds import Kind
from tests.docs import azure_errors_table, parameters_page, sentences
from tests.docs.commands import NOT_RUN, PAGES, RUN_BY, commands, name_of
from tests.emulated import ROOT

# Everything in Markdown that is the project's own.
DOCUMENTS = sorted({*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")})
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
AUTOLINK = re.compile(r"<(?P<target>https?://[^>\s]+)>")
CODE = re.compile(r"^[ ]*```.*?^[ ]*```[ ]*$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
OWN_MACHINE = ("127.0.0.1", "localhost")


def links(document: Path) -> list[str]:
    text = CODE.sub("", document.read_text("utf-8"))
    return [match["target"] for form in (LINK, AUTOLINK) for match in form.finditer(text)]


def anchors(document: Path) -> set[str]:
    """A page's headings as GitHub names them."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```[ ]*$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if not count else f"{name}-{count}" for name, last in found.items() for count in range(last + 1)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in links(document):
        url = urlparse(target)
        if url.scheme:
            assert url.scheme in ("https", "http"), target
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", url.netloc), target
            assert url.scheme == "https" or url.hostname in OWN_MACHINE, f"{target} is not encrypted"
            continue
        file = (document.parent / unquote(url.path)).resolve() if url.path else document
        assert file.exists(), f"{document.name} links to {target}, which is not there"
        assert file.is_relative_to(ROOT), target
        if url.fragment:
            assert url.fragment in anchors(file), f"{document.name} links to {target}; {file.name} has {anchors(file)}"


def test_links_are_found_at_all() -> None:
    assert sum(len(links(document)) for document in DOCUMENTS) > 30
    assert "4-the-blocks" in anchors(ROOT / "docs" / "azure.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_run_by_a_test_or_it_is_said_why_not(page: Path) -> None:
    run, excused = RUN_BY.get(name_of(page), {}), NOT_RUN.get(name_of(page), {})
    written = commands(page)
    assert not [command for command in written if command not in run and command not in excused]
    assert not [command for command in [*run, *excused] if command not in written], "no page has it any more"


def test_the_tests_that_are_said_to_run_commands_exist() -> None:
    for test in {test for page in RUN_BY.values() for test in page.values()}:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        if name:
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, test


def test_every_make_target_that_a_page_names_is_one() -> None:
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^)make ([a-z][a-z-]+)", document.read_text("utf-8"), re.MULTILINE)
    }
    assert {"up", "demo", "test"} <= named
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "DOC" in done.stderr, done.stderr


def test_the_page_of_parameters_is_current() -> None:
    assert parameters_page.PAGE.read_text("utf-8") == parameters_page.page(), (
        "run: python -m tests.docs.parameters_page"
    )


def test_every_sentence_that_ends_a_run_is_explained() -> None:
    missing = sentences.unexplained(sentences.PAGE.read_text("utf-8"))
    assert not missing, "\n".join(f"{one.file}:{one.line}: {one.text}" for one in missing)
    assert len(sentences.sentences()) > 90


def test_every_kind_of_trouble_is_explained_with_the_advice_that_the_error_gives() -> None:
    page = " ".join(sentences.PAGE.read_text("utf-8").split())
    for kind in Kind:
        assert f"| {kind.value} |" in page
    page = sentences.PAGE.read_text("utf-8")
    assert azure_errors_table.replaced(page) == page
    # Two that never leave their modules, one that becomes the run's state, and one of `make up`.
    assert [name for name in sentences.exceptions() if name not in page] == [
        "BadRow",
        "PageTooLarge",
        "NotItsTurn",
        "StackError",
    ]


def test_the_page_explains_no_sentence_that_is_gone() -> None:
    page = re.sub(r"\s+", " ", sentences.PAGE.read_text("utf-8"))
    quoted = [quote.strip() for _, quote in re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", page) if "…" in quote]
    code = " ".join(sentences.literals())
    longest = [max((part.strip(" .:(") for part in quote.split("…")), key=len) for quote in quoted]
    assert len(longest) > 60
    assert [mark for mark in longest if mark not in code] == []
