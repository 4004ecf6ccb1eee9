"""The tables of a step stand in `docs/design.md` as the code has them.

`python -m tests.test_design_page` rewrites them.
"""

from pathlib import Path

from docs.tables import step

PAGE = Path(__file__).parents[1] / "docs" / "design.md"
BEGIN, END = "<!-- tables of a step -->\n", "<!-- end of tables -->\n"


def test_the_page_has_the_step():
    text = PAGE.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == "\n" + step() + "\n"


if __name__ == "__main__":
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:begin] + "\n" + step() + "\n" + text[end:])
