"""Frozen records as strict JSON, by their types (`plain`), and as sealed files (`documents`)."""
