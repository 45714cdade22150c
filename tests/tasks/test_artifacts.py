"""What a run shows."""

from base64 import b64decode
from math import inf, nan
from xml.etree import ElementTree

from tasks.artifacts import duration, line_chart, markdown_table, plain, quoting, shown


def test_a_chart_is_an_svg_with_a_line_for_each_series() -> None:
    markdown = line_chart({"loss": [(1, 3.0), (2, 2.0)], "eval_loss": [(0, 3.5), (2, 2.5)]})
    svg = b64decode(markdown.split("base64,")[1].rstrip(")"))
    lines = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2


def test_a_chart_leaves_out_what_is_not_finite() -> None:
    diverged = {"loss": [(1, 3.0), (2, inf), (3, nan), (4, 2.0)], "eval_loss": [(4, nan)]}
    assert line_chart(diverged) == line_chart({"loss": [(1, 3.0), (4, 2.0)], "eval_loss": []})
    assert line_chart({"loss": [(1, nan)]}) == ""


def test_one_point_is_a_chart_and_none_is_not() -> None:
    assert line_chart({"loss": [(1, 3.0)]})
    assert line_chart({}) == ""


def test_a_cell_cannot_break_the_table() -> None:
    assert "a\\|b c" in markdown_table(("name", "value"), [("key", "a|b\nc")])


def test_what_others_wrote_is_neither_link_nor_picture() -> None:
    assert plain("![x](http://a) <b>") == r"\!\[x\](http://a) \<b\>"


def test_a_duration_is_told_in_the_unit_that_is_read_most_easily() -> None:
    assert [duration(seconds) for seconds in (0.44, 59.9, 296, 11_520)] == [
        "0.4 s",
        "59.9 s",
        "4 min 56 s",
        "3 h 12 min",
    ]


def test_a_sentence_that_quotes_others_has_links_and_no_other_markup() -> None:
    said = quoting("It said ![x](http://a/b.png) and a|b. See https://ml.azure.com/runs/ft_a?wsid=/b_c for _more_.")
    assert r"\!\[x\](http://a/b.png)" in said
    assert "https://ml.azure.com/runs/ft_a?wsid=/b_c" in said
    assert said.endswith(r"for \_more\_.") and r"a\|b" in said


def test_what_cannot_be_shown_fails_nothing() -> None:
    asked: list[int] = []

    def show() -> None:
        asked.append(1)
        raise ConnectionError("Prefect's server is away")

    shown("summary", show)
    assert asked == [1]
