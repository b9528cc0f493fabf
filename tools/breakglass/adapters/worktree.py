"""Files of a work tree: read and written by path, nothing outside it is ever touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from breakglass.model.errors import Refused


def read_files(root: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Contents of those of the paths that exist.

    Args:
        root: the work tree.
        paths: relative to it, without `..`.

    Raises:
        Refused: a symlink, or anything else that is no plain file, stands at a path or on the way to it.
    """
    return {path: (root / path).read_bytes() for path in paths if _is_file(root, path)}


def files_below(root: Path, directory: str) -> dict[str, bytes]:
    """Contents of all files below a directory, by path relative to the work tree; none where it does not exist.

    Args:
        root: the work tree.
        directory: relative to it, without `..`.

    Raises:
        Refused: a symlink, or anything else that is neither a plain file nor a directory, stands among them.
    """
    top = root / directory
    found = [path for path in sorted(top.rglob("*")) if path.is_symlink() or not path.is_dir()] if top.is_dir() else []
    return read_files(root, (path.relative_to(root).as_posix() for path in found))


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files, directories included; all of them or none.

    Raises:
        Refused: one cannot be written; what was written before it is as it was.
    """
    before = read_files(root, files)
    made: list[Path] = []
    written: list[str] = []
    try:
        for path, content in files.items():
            parents = [parent for parent in (root / path).parents if not parent.exists()]
            for parent in reversed(parents):
                parent.mkdir()
                made.append(parent)
            written.append(path)
            (root / path).write_bytes(content)
    except OSError as error:
        _restore(root, written, before)
        for directory in reversed(made):
            directory.rmdir()
        raise Refused(f"{error.filename}: {error.strerror}; nothing was written") from None


def _restore(root: Path, paths: Iterable[str], before: Mapping[str, bytes]) -> None:
    for path in paths:
        if path in before:
            (root / path).write_bytes(before[path])
        else:
            (root / path).unlink(missing_ok=True)


def _is_file(root: Path, path: str) -> bool:
    place = root
    *directories, name = path.split("/")
    for part in directories:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise Refused("this is no directory", where=str(place), remedy="put a plain directory there")
    place /= name
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise Refused("this is no plain file", where=str(place), remedy="move it out of the way")
    return place.exists()
