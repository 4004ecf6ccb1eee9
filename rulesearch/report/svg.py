"""A figure as SVG that stands in a page: its text is text, and its black is the page's own."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib as mpl
from matplotlib.figure import Figure

from rulesearch.figures import style

_XLINK = "{http://www.w3.org/1999/xlink}"
#: Black and white are those of the page.
_COLOURS = (("#000000", "currentColor"), ("#ffffff", "var(--ground)"))
#: Whose letters are as wide as those that the layout was made with, or narrower.
_FONTS = "'DejaVu Sans', Verdana, Arial, Helvetica, sans-serif"


def svg_text(name: str, figure: Figure, title: str) -> str:
    """A figure as an `<svg>` element; the same figure gives the same text.

    What is black is drawn in the colour of the text around, what is white in the page's ground
    (`--ground`), and it has none of its own, so that it stands on a dark page as on a light one.

    Args:
        name: of the figure, in front of all ids: a page has several.
        figure: what is drawn.
        title: what it shows, for those who do not see it.
    """
    with style():
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name})
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    # Without its head, which names a document type.
    root = ElementTree.fromstring(drawn.getvalue()[drawn.getvalue().index("<svg") :])
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    for element in root.iter():
        _in_a_page(element, name)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "figure")
    *_, width, _ = root.get("viewBox", "0 0 0 0").split()
    root.set("style", f"--points: {float(width):g}")  # how wide it is where there is room
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _in_a_page(element: Element, name: str) -> None:
    """Without namespaces, which HTML knows by itself; ids and colours as `svg_text` says."""
    element.tag = element.tag.rpartition("}")[2]
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == f"{_XLINK}href":
            del element.attrib[key]
            element.set("href", value.replace("#", f"#{name}-"))
        elif key in ("style", "clip-path"):
            for before, after in ("url(#", f"url(#{name}-"), *_COLOURS:
                value = value.replace(before, after)
            element.set(key, re.sub(r"font-family: [^;]*", f"font-family: {_FONTS}", value))
    if element.tag in ("path", "g") and element.get("d"):
        element.set("d", re.sub(r"\s+", " ", element.get("d", "")).strip())
