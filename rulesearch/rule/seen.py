"""What the searches that a rule comes from have seen."""

from __future__ import annotations

from rulesearch.data.apart import Searched
from rulesearch.data.tasks import TaskShape
from rulesearch.rule.rule import Rule


def searches_of(rule: Rule) -> list[Searched]:
    """Those searches, that of the rule it was begun with among them; none of a rule that has none.

    Example:
        >>> from rulesearch.given_rule import load_rule
        >>> [each.datasets for each in searches_of(load_rule("mixture"))]
        [('emnist', 'fashion-mnist', 'mnist'), ('emnist',)]
    """
    return [
        Searched(
            each.datasets,
            TaskShape(each.ways, each.shots, each.queries),
            each.held_out_classes,
            each.scale_ranges,
        )
        for each in (rule.sought.all if rule.sought else ())
    ]
