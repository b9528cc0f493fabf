"""Progress on standard error: one rewritten line on a terminal, a plain line now and then elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable

_PLAIN_INTERVAL_SECONDS = 20.0
_BAR_CELLS = 24
_ERASE_LAST_LINE = "\x1b[1A\x1b[2K"


def bar(done: int, total: int) -> str:
    """`done` of `total` as text of fixed width; `done` above `total` counts as all of it."""
    filled = _BAR_CELLS * min(done, total) // max(total, 1)
    return "[" + "#" * filled + "-" * (_BAR_CELLS - filled) + "]"


def standard_error() -> Callable[[str], None]:
    """A receiver of progress messages that prints them to standard error.

    On a terminal a message overwrites the one before it when both begin with the same word. Elsewhere a message is
    printed when it begins with another word than the last one printed, or after 20 seconds.
    """
    return _on_terminal() if sys.stderr.isatty() else _plain()


def _on_terminal() -> Callable[[str], None]:
    last_word = ""

    def show(message: str) -> None:
        nonlocal last_word
        word = message.partition(" ")[0]
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write((_ERASE_LAST_LINE if word == last_word else "") + message[:width] + "\n")
        sys.stderr.flush()
        last_word = word

    return show


def _plain() -> Callable[[str], None]:
    last_word, last_time = "", 0.0

    def show(message: str) -> None:
        nonlocal last_word, last_time
        word, now = message.partition(" ")[0], time.monotonic()
        if word != last_word or now - last_time >= _PLAIN_INTERVAL_SECONDS:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
            last_word, last_time = word, now

    return show
