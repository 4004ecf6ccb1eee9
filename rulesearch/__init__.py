"""rulesearch: search for short, interpretable, local learning rules."""
