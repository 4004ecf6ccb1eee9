"""A rule by itself: what a search leaves, what is evaluated elsewhere, exported, begun from."""

from __future__ import annotations

from rulesearch.rule.plain import rule_from_plain as rule_from_plain
from rulesearch.rule.plain import rule_to_plain as rule_to_plain
from rulesearch.rule.plain import toml_of as toml_of
from rulesearch.rule.rule import Network as Network
from rulesearch.rule.rule import Rule as Rule
from rulesearch.rule.rule import Sought as Sought
from rulesearch.rule.rule import made as made
