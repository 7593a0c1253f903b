"""The kernel's count of processes that it killed for want of memory."""

from pathlib import Path

import pytest

from workers.jobqueue.oom_kills import oom_kills

EVENTS = "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"


@pytest.mark.parametrize(
    ("ours", "file", "text", "count"),
    [
        ("0::/pod/a", "pod/a/memory.events", EVENTS, 2),
        ("0::/../host/a", "memory.events", EVENTS, 2),
        ("1:cpu:/x\n4:memory:/a", "memory/a/memory.oom_control", CONTROL, 5),
        ("4:memory,cpu:/host/a", "memory/memory.oom_control", CONTROL, 5),
        ("0::/", "memory.current", "oom_kill 1", None),
        ("1:cpu:/a", "cpu/a/memory.events", EVENTS, None),
        ("0::/", "memory.events", "oom 0\n", None),
        ("0::/", "memory.events", "\udcff", None),
    ],
)
def test_the_count_is_that_of_our_own_group(
    tmp_path: Path, ours: str, file: str, text: str, count: int | None
) -> None:
    path = tmp_path / "mount" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "ours").write_text(ours)
    assert oom_kills(tmp_path / "mount", tmp_path / "ours") == count


def test_where_nobody_counts_nothing_is_known(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path / "absent") is None


def test_the_kernel_here_is_understood() -> None:
    count = oom_kills()
    assert count is None or count >= 0
