"""How much memory the process of a run may take, held by the kernel.

What an image may cost is counted where it is read. This is the second line: for what a
library takes by itself, and for what nobody has thought of. The kernel refuses more, so
that one image takes the memory of nobody else.

What is bounded is ``RLIMIT_DATA``, private writable memory, as that can be said of a
process by itself. ``RLIMIT_AS`` counts what is only mapped, too: a run of 220 MB has
730 MB of that, and how much more depends on the libraries. Of the data, stacks of
threads are the part that is reserved and hardly used (8 MB each), so they come on top.

Source: setrlimit(2), of Linux 4.7 and later.
"""

import errno
import os
import resource
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from itertools import islice

import zstandard

# Heartbeat, claims, layers and contents take a dozen.
_THREADS = 16
_USUAL_STACK_BYTES = 8 << 20
# The client of buckets has a thread for each core, whose stacks Rust makes so large.
_RUST_STACK_BYTES = 2 << 20
_LONGEST_CHAIN = 20
# What those say who raise errors of their own for it.
_REFUSALS: Mapping[type[Exception], str] = {
    RuntimeError: "start new thread",
    sqlite3.Error: "out of memory",
    ssl.SSLError: "malloc failure",
    zstandard.ZstdError: "not enough memory",
}


def limit_memory(mib: int) -> None:
    """Let this process take no more; a child of it may raise that for itself."""
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if not 0 < stack < _USUAL_STACK_BYTES:
        stack = _USUAL_STACK_BYTES
    stacks = _THREADS * stack + (os.cpu_count() or 1) * _RUST_STACK_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = (mib << 20) + stacks
    if hard not in {resource.RLIM_INFINITY, -1}:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_want_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or one that it was raised for, is a refusal of memory."""
    return any(map(_is_refusal, islice(_causes(error), _LONGEST_CHAIN)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_refusal(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return any(
        isinstance(error, kind) and words in str(error)
        for kind, words in _REFUSALS.items()
    )


def too_much(mib: int) -> str:
    """Say why a run ends that wanted more memory than it may take."""
    return (
        f"the image's conversion needed more than {mib} MiB of memory, all that"
        " `worker_memory_mib` allows: push an image of smaller layers"
    )
