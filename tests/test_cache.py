"""Compiled code on disk: found again if it is whole and one's own, and never in the way."""

import errno
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rulesearch.errors import RuleSearchError
from rulesearch.kernels.fused import cache

#: As small as a module of two compiled functions can be.
SOURCE = """
from numba import njit

@njit
def forward(x):
    return x + {number}

@njit
def adjoint(x):
    return 2 * x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path / "kernels"))
    cache._say.cache_clear()
    return tmp_path / "kernels"


def anew(number=1):
    """What a process that has just begun gets of the module: its value, and how much was found."""
    source = SOURCE.format(number=number)
    sys.modules.pop(cache._name(source), None)
    module = cache.load(source)
    value = module.forward(10), module.adjoint(10)
    found = sum(sum(f.stats.cache_hits.values()) for f in (module.forward, module.adjoint))
    return value, found


def kept(folder, function="forward"):
    (path,) = folder.glob(f"kernel_*.{function}.nbc")
    return path


# --- which folder ---------------------------------------------------------------------------------


def test_cache_folder_is_the_user_s_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path / "mine"))
    folder = cache.cache_folder()
    assert folder == tmp_path / "mine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.delenv("RULESEARCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "rulesearch" / "kernels"


WAY_OUT = "; name a folder that you alone can write to, or leave the variable unset"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_refused(tmp_path, monkeypatch, mode):
    tmp_path.chmod(mode)
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path))
    with pytest.raises(RuleSearchError) as refused:
        cache.cache_folder()
    assert refused.value.lines == (f"RULESEARCH_CACHE {tmp_path}: others can write to it{WAY_OUT}",)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    named = tmp_path / "file" / "kernels"
    monkeypatch.setenv("RULESEARCH_CACHE", str(named))
    with pytest.raises(RuleSearchError) as refused:
        cache.cache_folder()
    assert refused.value.lines == (
        f"RULESEARCH_CACHE {named}: cannot be written (Not a directory){WAY_OUT}",
    )


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RuleSearchError, match=r"cannot be written \(Permission denied\); name a"):
        cache.cache_folder()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owner here")
def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(RuleSearchError, match="belongs to another user; name a folder"):
        cache.cache_folder()


def test_without_a_folder_of_one_s_own_there_is_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("RULESEARCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = cache.cache_folder()
    assert tmp_path not in folder.parents
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.access(folder, os.W_OK)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", refusing(RuntimeError("no home")))
    assert cache.cache_folder() == folder


def test_without_any_folder_everything_is_compiled(monkeypatch):
    monkeypatch.delenv("RULESEARCH_CACHE", raising=False)
    monkeypatch.setattr(cache, "_fault", lambda folder: "cannot be written")
    monkeypatch.setattr(tempfile, "mkdtemp", refusing(FileNotFoundError("no usable directory")))
    cache._temporary.cache_clear()
    cache._folder.cache_clear()
    try:
        assert [anew(7), anew(7)] == [((17, 20), 0), ((17, 20), 0)]
    finally:
        cache._temporary.cache_clear()
        cache._folder.cache_clear()


def refusing(error):
    """A function that raises."""

    def refuse(*_args, **_more):
        raise error

    return refuse


# --- found again ----------------------------------------------------------------------------------


def test_code_is_kept_by_content_in_files_closed_to_others(folder):
    assert anew() == ((11, 20), 0)
    assert anew() == ((11, 20), 2)
    assert anew(2) == ((12, 20), 0)
    assert [path.suffix for path in folder.iterdir()] == [".nbc"] * 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_a_module_is_run_once(folder):
    source = SOURCE.format(number=3)
    assert cache.load(source) is cache.load(source)
    assert not any(cache.is_kept(source, name) for name in cache.FUNCTIONS)


def test_a_module_that_fails_is_not_there(folder):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.load("1 / 0")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


DAMAGE = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[:-1],
    "cut within the digest": lambda whole: whole[:31],
    "one bit": lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
    "another function's": lambda whole: whole[:32] + pickle.dumps(None),
    "a pickle of somebody's": lambda whole: pickle.dumps(Bomb()),
    "text": lambda whole: "größer".encode("latin-1"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_compiled_again(folder, damage, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    anew()
    whole = kept(folder).read_bytes()
    kept(folder).write_bytes(damage(whole))
    assert anew() == ((11, 20), 1)
    assert anew() == ((11, 20), 2)
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize(
    "body",
    [b"", b"\x80", pickle.dumps(None), pickle.dumps((1, 2)), b"cno_such_module\nthing\n."],
    ids=["empty", "cut", "None", "a tuple", "another version's"],
)
def test_a_whole_file_that_does_not_unpickle_is_compiled_again(folder, body, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(cache, "_dumps", lambda _: body)
        anew()
    assert anew() == ((11, 20), 0)
    assert anew() == ((11, 20), 2)


def test_a_directory_in_place_of_a_file_costs_time_only(folder, caplog):
    anew()
    kept(folder).unlink()
    path = folder / kept(folder, "adjoint").name.replace("adjoint", "forward")
    path.mkdir()
    assert anew() == ((11, 20), 1)
    assert anew() == ((11, 20), 1)
    (line,) = caplog.messages
    assert line.startswith(f"{folder}: compiled code could not be kept (")
    assert line.endswith("); it will be compiled again")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_code_that_others_could_have_written_is_not_run(folder, monkeypatch):
    anew()
    kept(folder).chmod(0o666)
    assert anew() == ((11, 20), 1)
    assert stat.S_IMODE(kept(folder).stat().st_mode) == 0o600
    # Opened after the folder was found to be one's own.
    folder.chmod(0o777)
    assert anew() == ((11, 20), 0)
    folder.chmod(0o700)
    assert anew() == ((11, 20), 2)
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    assert anew() == ((11, 20), 0)


def test_no_code_is_read_from_below_the_folder(folder):
    anew()
    (folder / "__pycache__").mkdir(mode=0o777)
    kept(folder).rename(folder / "__pycache__" / kept(folder).name)
    assert anew() == ((11, 20), 1)


# --- what cannot be written -----------------------------------------------------------------------


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once_and_costs_time_only(folder, monkeypatch, caplog):
    def full(handle, *_args, **_more):
        os.close(handle)
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", full)
        assert [anew(), anew(), anew(2)] == [((11, 20), 0), ((11, 20), 0), ((12, 20), 0)]
    assert caplog.messages == [
        f"{folder}: compiled code could not be kept (No space left on device); "
        "it will be compiled again"
    ]
    assert not list(folder.iterdir())
    anew()
    assert anew() == ((11, 20), 2)


def test_a_disk_too_full_for_a_folder_is_no_fault_of_its_name(folder, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing(FULL))
    assert cache.cache_folder() == folder
    assert anew() == ((11, 20), 0)


def test_code_that_cannot_be_pickled_is_said(folder, monkeypatch, caplog):
    monkeypatch.setattr(cache, "_dumps", refusing(pickle.PicklingError("a lambda")))
    assert anew() == ((11, 20), 0)
    assert "(PicklingError('a lambda'))" in caplog.text


def test_a_folder_deleted_in_the_middle_is_made_again(folder):
    anew()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert anew() == ((11, 20), 0)
    assert anew() == ((11, 20), 2)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_lost_in_the_middle_costs_time_only(folder, caplog):
    anew()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert [anew(), anew()] == [((11, 20), 0)] * 2
    assert len(caplog.messages) == 1


# --- several at once ------------------------------------------------------------------------------


def test_threads_that_compile_the_same_at_once(folder):
    source = SOURCE.format(number=4)
    with ThreadPoolExecutor(4) as executor:
        modules = list(executor.map(lambda _: cache.load(source), range(4)))
        assert len(set(map(id, modules))) == 1
        assert list(executor.map(modules[0].forward, range(4))) == [4, 5, 6, 7]
    assert anew(4) == ((14, 20), 1)  # one function was called, and kept


@pytest.mark.slow
def test_processes_that_compile_the_same_at_once(folder):
    script = textwrap.dedent("""
        import sys
        from rulesearch.kernels.fused import cache
        module = cache.load(sys.argv[1])
        print(module.forward(10), module.adjoint(10))
    """)
    command = [sys.executable, "-c", script, SOURCE.format(number=1)]
    begun = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in begun] == ["11 20\n"] * 2
    assert len(list(folder.iterdir())) == 2
    assert anew() == ((11, 20), 2)


# --- bounds ---------------------------------------------------------------------------------------


def old(folder, name, days, size=10):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    return path


def test_what_nobody_uses_any_more_goes(folder):
    anew()
    recent, ancient = (
        old(folder, f"kernel_{'a' * 24}.adjoint.nbc", 80),
        old(folder, f"kernel_{'b' * 24}.py", 100),
    )
    below = old(folder, f"__pycache__/kernel_{'c' * 24}.forward-5.py311.1.nbc", 100)
    unfinished = old(folder, "kernel_abcdefgh.tmp", 1)
    somebody_s = old(folder, "notes.txt", 1000)
    mine = kept(folder)
    os.utime(mine, (0, 0))
    anew(2)
    assert [p.exists() for p in (recent, ancient, below, unfinished)] == [True, False, False, False]
    assert somebody_s.exists()
    assert mine.exists()  # this process uses it


def test_what_is_too_much_goes_last_used_first(folder, monkeypatch):
    sizes = {0: 300, 1: 500, 2: 400, 3: 100}
    anew()
    own = sum(path.stat().st_size for path in folder.glob("kernel_*.*.nbc"))
    paths = [
        old(folder, f"kernel_{str(i) * 24}.forward.nbc", 4 - i, 1000 * sizes[i]) for i in sizes
    ]
    monkeypatch.setattr(cache, "LARGEST", 2 * own + 550_000)
    anew(2)
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert anew() == ((11, 20), 2)


def test_using_code_keeps_it_young(folder):
    anew()
    os.utime(kept(folder), (0, 0))
    anew()
    assert time.time() - kept(folder).stat().st_mtime < 3600


def test_clearing_deletes_what_is_kept_and_nothing_else(folder):
    assert cache.clear() == 0
    anew()
    size = sum(path.stat().st_size for path in folder.iterdir())
    left = {old(folder, name, 0) for name in ("notes.txt", "kernel_notes.txt", "kernel_thesis.tex")}
    assert cache.clear() == size
    assert {*folder.iterdir()} == left
    assert anew() == ((11, 20), 0)


def test_clearing_says_what_it_cannot_delete(folder, monkeypatch):
    anew()
    monkeypatch.setattr(Path, "unlink", refusing(PermissionError(13, "Permission denied")))
    with pytest.raises(RuleSearchError, match=r"nbc: cannot be deleted \(Permission denied\)$"):
        cache.clear()
