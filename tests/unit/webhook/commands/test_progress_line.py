"""The line that says how far a long command is, where somebody looks."""

from types import SimpleNamespace

import pytest

from webhook.commands.progress_line import ProgressLine


class Terminal:
    """What is written to stderr, which is a terminal, and the time."""

    def __init__(self, written: pytest.CaptureFixture[str]) -> None:
        self._written = written
        self.text = ""
        self.now = 1000.0

    def line(self) -> str:
        """Return what stands in the line where all was written."""
        self.text += self._written.readouterr().err
        cells: list[str] = []
        place = 0
        for sign in self.text:
            if sign == "\r":
                place = 0
                continue
            cells[place : place + 1] = sign
            place += 1
        return "".join(cells).rstrip()


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    made = Terminal(capsys)
    module = "webhook.commands.progress_line"
    stderr = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(f"{module}.sys", SimpleNamespace(stderr=stderr))
    monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def test_each_text_takes_the_place_of_the_one_before(terminal: Terminal) -> None:
    line = ProgressLine()
    for text in ("1 of 10 catalogs", "2 of 10 catalogs", "done"):
        terminal.now += 1
        line.show(text)
        assert terminal.line() == text
    assert "\n" not in terminal.text


def test_nothing_is_left_of_it(terminal: Terminal) -> None:
    line = ProgressLine()
    line.show("1 of 10 catalogs")
    line.clear()
    assert terminal.line() == ""
    written = terminal.text
    assert written.endswith("\r"), "what comes next begins at the left"
    line.clear()
    assert terminal.line() == ""
    assert terminal.text == written


def test_it_may_be_called_very_often(terminal: Terminal) -> None:
    line = ProgressLine()
    line.show("1 of 10 catalogs")
    terminal.now += 0.1
    line.show("2 of 10 catalogs")
    assert terminal.line() == "1 of 10 catalogs"
    terminal.now += 0.2
    line.show("3 of 10 catalogs")
    assert terminal.line() == "3 of 10 catalogs"


def test_a_line_is_never_longer_than_the_terminal(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    line = ProgressLine()
    line.show("1 of 10 catalogs")
    assert terminal.line() == "1 of 10 c"


def test_where_nobody_looks_nothing_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ProgressLine()
    line.show("1 of 10 catalogs")
    line.clear()
    assert capsys.readouterr().err == ""
