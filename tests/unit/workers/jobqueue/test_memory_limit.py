"""How much memory a process may take, and how it is known that it wanted more."""

import errno
import sqlite3
import subprocess
import sys

import pytest
import zstandard

from workers.images.tar.decompress import DamagedLayer
from workers.jobqueue.memory_limit import is_want_of_memory, too_much

GREEDY = """
from workers.jobqueue.memory_limit import is_want_of_memory, limit_memory
limit_memory({limit})
held = bytes({small} << 20)
try:
    more = bytes({large} << 20)
except MemoryError as error:
    assert is_want_of_memory(error)
    print("refused")
"""


@pytest.mark.slow
def test_a_process_gets_what_it_may_have_and_no_more() -> None:
    code = GREEDY.format(limit=320, small=250, large=700)
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout == "refused\n"


@pytest.mark.slow
def test_a_lower_limit_that_holds_already_stays() -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({1 << 28}, {1 << 28}))
from workers.jobqueue.memory_limit import limit_memory
limit_memory(512)
print(resource.getrlimit(resource.RLIMIT_DATA))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"({1 << 28}, {1 << 28})\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        sqlite3.OperationalError("out of memory"),
        zstandard.ZstdError("decompress error: Allocation error : not enough memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_known_whatever_became_of_it(error: Exception) -> None:
    assert is_want_of_memory(error)
    damaged = DamagedLayer("zstd: the layer is corrupt")
    damaged.__cause__ = error
    outer = RuntimeError("a thread failed")
    outer.__context__ = damaged
    assert is_want_of_memory(outer)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a mistake"),
        OSError(errno.ENOSPC, "No space left on device"),
        # What another says of its own memory is not about ours.
        ValueError("the bucket answered: out of memory"),
        # Of a window that is too large.
        zstandard.ZstdError("Frame requires too much memory for decoding"),
    ],
    ids=str,
)
def test_what_is_about_something_else_is_not_taken_for_it(error: Exception) -> None:
    assert not is_want_of_memory(error)


def test_errors_in_a_circle_are_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert not is_want_of_memory(one)


def test_the_reason_names_the_limit_and_the_mend() -> None:
    assert "512 MiB" in too_much(512)
    assert "worker_memory_mib" in too_much(512)
    assert "smaller layers" in too_much(512)
