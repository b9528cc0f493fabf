"""Manifests from files behind `Manifests`: what is read is what stands in the directory, and nothing outside of it.

A directory is read as `kubectl apply --recursive --filename` reads it, except that no symlink leads out.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from breakglass.model.errors import NotFound, Refused
from breakglass.model.source import Source, SourcedManifest
from breakglass.model.stream import LARGEST_INPUT, read_stream, refuse_many, refuse_twice

if TYPE_CHECKING:
    from breakglass.ports import Renderer

EXTENSIONS = frozenset({".yaml", ".yml", ".json"})
"""Of the files of a directory that are read."""
KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
"""Names of the file that makes a kustomize root: `model.kustomization.NAMES`, which is slow to import."""
STANDARD_INPUT = "-"

_GIT = ".git"
_UPWARD = re.compile(rb"(?<![\w.-])\.\.(?:/[\w.-]+)*(?![\w.])")


class ManifestReader:
    """`Manifests` from the disk and standard input.

    One reader reads both sides of a comparison: documents that they have in common are read once.

    Args:
        renderer: makes the renderer, once there is a kustomize root.
        standard_input: what `-` reads; the process's own where None.
    """

    def __init__(self, renderer: Callable[[], Renderer], standard_input: IO[bytes] | None = None) -> None:
        self._renderer = renderer
        self._standard_input = standard_input
        self._standard_input_was_read = False
        self._memory: dict[str, Any] = {}

    def read_both(self, before: str, after: str) -> tuple[tuple[SourcedManifest, ...], tuple[SourcedManifest, ...]]:
        """Both sides of a comparison; two kustomize roots are built side by side.

        Raises:
            NotFound: there is nothing at a path.
            Refused: something there cannot be read, is no manifest, or stands twice.
        """
        if not (_is_kustomize_root(before) and _is_kustomize_root(after)):
            return self.read(before), self.read(after)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=1) as beside:
            second = beside.submit(self.read, after)
            return self.read(before), second.result()

    def read(self, path: str) -> tuple[SourcedManifest, ...]:
        """Every object of a file, a directory, a kustomize root, or standard input (`-`).

        Raises:
            NotFound: there is nothing at the path.
            Refused: something there cannot be read, is no manifest, or stands twice.
        """
        found = self._read(path)
        refuse_twice(found)
        return tuple(found)

    def _read(self, path: str) -> list[SourcedManifest]:
        if path == STANDARD_INPUT:
            return read_stream(self._read_standard_input(), "<stdin>", self._memory)
        if not path:
            raise NotFound("the path is empty", remedy="name a file or directory, or `.`")
        place = Path(path)
        if not _is_directory(place):
            return read_stream(_content(place, LARGEST_INPUT), _name(place), self._memory)
        if _is_kustomize_root(path):
            return self._render(place)
        return self._read_directory(place)

    def _read_standard_input(self) -> bytes:
        if self._standard_input_was_read:
            raise Refused("standard input can be read once", where=STANDARD_INPUT, remedy="put one side into a file")
        self._standard_input_was_read = True
        return (self._standard_input or sys.stdin.buffer).read(LARGEST_INPUT + 1)

    def _read_directory(self, directory: Path) -> list[SourcedManifest]:
        found: list[SourcedManifest] = []
        left = LARGEST_INPUT
        for file in _manifest_files(directory):
            content = _content(file, left)
            left -= len(content)
            found += read_stream(content, _name(file), self._memory)
            refuse_many(len(found), _name(file))
        return found

    def _render(self, path: Path) -> list[SourcedManifest]:
        from breakglass.model.kustomization import inspect_baseline

        root = path.resolve()
        top = _top(root)
        files = _kustomize_files(root, top)
        directory = _name_in(top, root)
        for finding in inspect_baseline(files, directory):
            raise Refused(finding.message, where=finding.where, remedy=finding.remedy)
        source = Source(_name(path), 0, "")
        return [SourcedManifest(manifest, source) for manifest in self._renderer().render(files, directory)]


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFound("there is no such file or directory", where=_name(path), remedy="correct the path") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _content(path: Path, most: int) -> bytes:
    """The bytes of a plain file."""
    try:
        with io.FileIO(path, opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused("this is no plain file", where=_name(path), remedy="write its content to a file")
            if status.st_size > most:
                what = f"more than {LARGEST_INPUT} bytes are not read at once"
                raise Refused(what, where=_name(path), remedy="read fewer files")
            return file.readall()
    except OSError as error:
        raise _unreadable(path, error) from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would keep us for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _manifest_files(directory: Path) -> list[Path]:
    """The files of a directory to read, in the order of their paths."""
    root = directory.resolve()
    return sorted(
        path for path, is_symlink in _below(directory) if (_adds_file(path, root) if is_symlink else _is_manifest(path))
    )


def _below(directory: Path) -> Iterator[tuple[Path, bool]]:
    """All files below a directory and whether each is a symlink; none is followed, and git's own are left out."""
    waiting = [str(directory)]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        yield Path(entry.path), entry.is_symlink()
                    elif entry.name != _GIT:
                        waiting.append(entry.path)
        except OSError as error:
            raise _unreadable(Path(place), error) from None


def _is_kustomize_root(path: str) -> bool:
    return any((Path(path) / name).exists() for name in KUSTOMIZATIONS)


def _is_manifest(path: Path) -> bool:
    return path.suffix in EXTENSIONS and path.name not in KUSTOMIZATIONS


def _adds_file(symlink: Path, root: Path) -> bool:
    """Whether a symlink leads to a file inside the root that would not be read without it.

    Raises:
        Refused: it leads out of the root, or to nothing, and is to be read.
    """
    try:
        target = symlink.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: symlinks that lead to one another
        if not _is_manifest(symlink):
            return False
        raise Refused("this symlink leads nowhere", where=_name(symlink), remedy="remove it") from None
    if not target.is_dir() and not _is_manifest(symlink):
        return False
    if not target.is_relative_to(root):
        raise Refused("this symlink leads out of the directory", where=_name(symlink), remedy="replace it by a copy")
    return not target.is_dir() and not _is_manifest(target)


def _top(directory: Path) -> Path:
    """How far up a kustomize root may refer: to its git work tree, or to the second directory above without one."""
    above = directory.parents
    git = next((place for place in (directory, *above) if (place / _GIT).exists()), None)
    return git or above[min(1, len(above) - 1)]


def _kustomize_files(root: Path, top: Path) -> dict[str, bytes]:
    """The files below a kustomize root, and whatever of the top's its kustomizations may name by `..`.

    Symlinks are left out, so a kustomization that names one is refused as if it were not there.
    """
    files: dict[str, bytes] = {}
    left = LARGEST_INPUT
    waiting, seen = [root], set[Path]()
    while waiting:
        place = waiting.pop()
        if place in seen or not place.is_relative_to(top):
            continue
        seen.add(place)
        for path in _plain_files(place):
            name = _name_in(top, path)
            if name in files:
                continue
            files[name] = content = _content(path, left)
            left -= len(content)
            refuse_many(len(files), _name(path))
            if path.name in KUSTOMIZATIONS:
                waiting += (_joined(path.parent, os.fsdecode(upward)) for upward in _UPWARD.findall(content))
    return files


def _name_in(top: Path, path: Path) -> str:
    """The path from above the top, so that the top has a name too."""
    return path.relative_to(top.parent).as_posix()


def _plain_files(place: Path) -> list[Path]:
    """The place itself where it is a file, else the files below it; nothing where a symlink is on the way."""
    if place != place.resolve():
        return []
    if place.is_dir():
        return [path for path, is_symlink in _below(place) if not is_symlink]
    return [place] if place.exists() else []


def _joined(directory: Path, upward: str) -> Path:
    """Where a path leads that begins with `..`, names only."""
    place = directory
    for step in upward.split("/"):
        place = place.parent if step == ".." else place / step
    return place


def _unreadable(path: Path, error: OSError) -> Refused:
    return Refused(f"this cannot be read: {error.strerror}", where=_name(path), remedy="make it readable")


def _name(path: Path) -> str:
    """The path for people: a name that is no UTF-8 can be opened, but not printed."""
    return str(path).encode("utf-8", "replace").decode()
