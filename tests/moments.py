"""Moments of a process: before, within and after every change that it makes in a folder."""

import builtins
import io
import os
import sys

WRITING = os.O_WRONLY | os.O_RDWR


def watch(folder, do):
    """From here on, and until the process ends, `do` is called at every moment.

    It is told which: of an opening to write, "before" and "after", which is empty if it is new, and
    "half written"; of a whole temporary file, "before fsync"; of a rename, a removal and a new
    folder, "before" and "after". What goes before, Python's audit events tell, whoever makes the
    change; what follows, functions that stand in for those of `os` and `io`.

    Args:
        folder: whose changes are meant.
        do: takes the name of the moment.
    """
    inside = str(folder)

    def concerns(path):
        return isinstance(path, str | os.PathLike) and str(path).startswith(inside)

    def before(event, details):
        path = details[0] if details else None
        if not concerns(path):
            return
        if event == "open":
            changing = details[2] & WRITING
        elif event == "os.mkdir":
            changing = not os.path.lexists(path)
        else:
            changing = event in ("os.rename", "os.remove") and os.path.lexists(path)
        if changing:
            do(f"before {event.removeprefix('os.')}")

    def followed(real, name):
        def change(path, *rest, **more):
            real(path, *rest, **more)
            if concerns(path):
                do(f"after {name}")

        return change

    def opened(path, mode="r", *rest, **more):
        stream = opening(path, mode, *rest, **more)
        if concerns(path) and set(mode) & set("wxa+"):
            do("after open")
            _halve(stream, do)
        return stream

    def synchronised(descriptor):
        do("before fsync")  # and none: it takes long, and helps against other ends than signals

    opening = io.open
    io.open = builtins.open = opened
    os.fsync = synchronised
    os.replace, os.rename = followed(os.replace, "rename"), followed(os.rename, "rename")
    os.unlink, os.remove = followed(os.unlink, "remove"), followed(os.remove, "remove")
    os.mkdir = followed(os.mkdir, "mkdir")
    sys.addaudithook(before)


def _halve(stream, do):
    """The next write of a file is made in two, with a moment between them."""
    real = stream.write

    def write(content):
        stream.write = real
        half = len(content) // 2
        done = real(content[:half])
        stream.flush()
        do("half written")
        return done + real(content[half:])

    stream.write = write
