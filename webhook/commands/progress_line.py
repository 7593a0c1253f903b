"""How far a long command is: one line on a terminal, nothing where nobody looks."""

import shutil
import sys
import time

import click

_REFRESH_SECONDS = 0.2


class ProgressLine:
    """A line on stderr that is written over again and again.

    Attributes:
        is_seen: whether somebody looks at it.
    """

    def __init__(self) -> None:
        self.is_seen = sys.stderr.isatty()
        self._shown = 0.0
        self._width = 0

    def show(self, text: str) -> None:
        """Show how far it is now; called as often as one likes."""
        now = time.monotonic()
        if self.is_seen and now - self._shown > _REFRESH_SECONDS:
            self._shown = now
            # A line that the terminal breaks cannot be written over.
            text = text[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r{text:{self._width}}", nl=False, err=True)
            self._width = len(text)

    def clear(self) -> None:
        """Take the line away again."""
        if self._width:
            click.echo(f"\r{'':{self._width}}\r", nl=False, err=True)
            self._width = 0
