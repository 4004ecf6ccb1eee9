"""Whether a path is that of a grammar file, before anything that reads one is imported."""

from __future__ import annotations

from pathlib import Path

from rulesearch.errors import RuleSearchError


def grammar_file(path: str | Path) -> Path:
    """The path of a grammar file that is there and can be opened.

    Raises:
        RuleSearchError: neither `.py` nor `.toml`, no such file, or one that cannot be opened; it
            starts with the path.
    """
    file = Path(path)
    if file.suffix not in (".py", ".toml"):
        hint = "; a search begins at a rule by --from" if file.suffix == ".json" else ""
        raise RuleSearchError(f"{path}: not a grammar file; give a .py or a .toml file{hint}")
    try:
        file.open("rb").close()
    except FileNotFoundError:
        raise RuleSearchError(
            f"{path}: no such file; give a grammar file such as grammar/paper_pool.py"
        ) from None
    except OSError as error:
        raise RuleSearchError(
            f"{path}: cannot be read ({error.strerror}); give a text file"
        ) from None
    return file
