"""Rewrite the golden files; read the diff before it is committed."""

from . import FOLDER, TEXTS

for name, text in TEXTS.items():
    (FOLDER / name).write_text(text(), encoding="utf-8")
