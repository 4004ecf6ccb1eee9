"""LaTeX of ours as MathML, which browsers set by themselves."""

from __future__ import annotations

from functools import lru_cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert

_NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
#: All that formulas are made of. A result may be another's: nothing else passes, such as links.
_ELEMENTS = frozenset({
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup", "msubsup", "mfrac"),
    *("msqrt", "mroot", "mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle"),
})  # fmt: skip
_ATTRIBUTES = frozenset({
    *("display", "mathvariant", "stretchy", "fence", "form", "separator", "width", "columnalign"),
})  # fmt: skip


@lru_cache(maxsize=4096)
def mathml(latex: str) -> str:
    r"""A formula of LaTeX's math mode as a `<math>` element; "" where it cannot be one.

    Only elements and attributes of presentation are in it, and all text is escaped, whatever the
    LaTeX says.

    Example:
        >>> mathml("W_{jk}")
        '<math display="inline"><mrow><msub><mi>W</mi><mrow><mi>j</mi><mi>k</mi></mrow></msub>...'
        >>> mathml(r"\href{javascript:alert()}{x}")
        ''
    """
    try:
        root = ElementTree.fromstring(convert(latex))
    except Exception:  # the library has a dozen of its own, without a common base
        return ""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        if element.tag not in _ELEMENTS or not _ATTRIBUTES.issuperset(element.attrib):
            return ""
        _join_upright(element)
    return ElementTree.tostring(root, encoding="unicode")


def _join_upright(row: Element) -> None:
    r"""Make one name of upright letters side by side, as `\mathrm{pre}` has them."""
    for first, letter in zip(list(row)[:-1], list(row)[1:], strict=True):
        if _is_upright(first) and _is_upright(letter):
            letter.text = (first.text or "") + (letter.text or "")
            row.remove(first)


def _is_upright(element: Element) -> bool:
    return element.tag.removeprefix(_NAMESPACE) == "mi" and (element.get("mathvariant") == "normal")
