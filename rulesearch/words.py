"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from rulesearch.records.plain import Interval, Number

#: What is compared on the images set aside: its name in a record, and its name in words.
EVALUATED: Mapping[str, str] = {
    "rule": "rule",
    "backprop_sgd": "backprop by SGD",
    "backprop_adam": "backprop by Adam",
    "feedback_alignment": "feedback alignment",
}
#: Of a search that begins at a rule, that rule as it was given.
BEGUN = "begun"


def in_words(name: str) -> str:
    """What a record of the evaluation is of.

    Example:
        >>> in_words("backprop_sgd"), in_words("hand_made")
        ('backprop by SGD', 'hand made')
    """
    words = {**EVALUATED, BEGUN: "rule begun with"}
    return words.get(name, name.replace("_", " "))


def significant(value: Number, figures: int = 3) -> str:
    """A number with significant figures, so that small ones do not vanish.

    Example:
        >>> significant(0.0112345), significant(-0.051), significant(3.2e-7), significant(0.0)
        ('0.0112', '-0.0510', '3.20e-07', '0')
    """
    if value is None:
        return "nan"
    return f"{value:#.{figures}g}".removesuffix(".") if value else "0"


def percent(share: Number) -> str:
    """A share in per cents: two significant figures, and whole ones from ten on.

    Example:
        >>> percent(0.0123), percent(0.456)
        ('1.2 %', '46 %')
    """
    if share is None:
        return significant(None)
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{significant(100 * share, 2)} %"


def interval_text(interval: Interval) -> str:
    """An interval as `[low, high]`, in significant figures."""
    return f"[{significant(interval[0])}, {significant(interval[1])}]"
