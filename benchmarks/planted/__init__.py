"""Planted rules: how far can a search be believed?

    python -m benchmarks.planted [--small] [--out DIR]

Teachers learn by sparse rules that are known. Students see what a teacher does, search its rule in
a pool with distractors, and are scored by what they found. See `docs/planted.md`.
"""
