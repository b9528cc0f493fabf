"""What stands in a clone's object store, read by GitPython: commits, and files below directories of a commit.

GitPython parses; the `git cat-file` processes it reads from are the runner's, so they see its clean environment and no
network. Paths are text with surrogates where their bytes are not UTF-8.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from breakglass.adapters.git_runner import GitRunner
from breakglass.model.errors import NotFound, Refused
from breakglass.ports import Commit

if TYPE_CHECKING:
    from subprocess import Popen

    import git
    from git.objects import Blob, Submodule, Tree

    Entry = Blob | Submodule | Tree

LARGEST_FILE = 16 * 1024 * 1024
"""Bytes; a larger file is no manifest."""

SHA = re.compile(r"[0-9a-f]{40}", re.ASCII)
"""A full object name."""

_SYMLINK = 0o120000


class GitObjects:
    """Reads the objects of one clone, one thread at a time.

    Args:
        runner: git in that clone.
        remote: where a partial clone gets its missing blobs.
    """

    def __init__(self, runner: GitRunner, remote: str) -> None:
        self._runner = runner
        self._remote = remote

    def commit(self, sha: str) -> Commit:
        """One commit, by its full sha. Raises NotFound."""
        with self._reading(sha):
            found = self._reader.commit(full(sha))
            return Commit(
                found.hexsha,
                tuple(parent.hexsha for parent in found.parents),
                datetime.fromtimestamp(found.committed_date, UTC),
                found.message if isinstance(found.message, str) else found.message.decode("utf-8", "replace"),
            )

    def files(self, commit: str, *directories: str) -> Mapping[str, bytes]:
        """Contents of all files under the directories (or single paths) of a commit, by path inside the repository.

        In a partial clone, blobs that are missing are fetched first, all at once.

        Raises:
            NotFound: there is no such commit.
            Refused: a symlink or a submodule stands among them, or a file is larger than 16 MiB.
        """
        with self._reading(commit):
            tree = self._reader.commit(full(commit)).tree
            if directories and self._is_partial:
                self._fetch_missing(commit, directories)
            found = [entry for directory in directories if (entry := _entry(tree, directory)) is not None]
            return {str(blob.path): _content(blob) for entry in found for blob in _blobs(entry)}

    @cached_property
    def _reader(self) -> git.Repo:
        import git

        try:
            repository = git.Repo(self._runner.git_dir, expand_vars=False)
        except git.GitError as error:
            message = f"GitPython does not open the repository: {type(error).__name__}"
            remedy = "unset GIT_OBJECT_DIRECTORY and GIT_COMMON_DIR"
            raise Refused(message, where=self._runner.git_dir, remedy=remedy) from None
        for attribute, option in (("cat_file_all", "--batch"), ("cat_file_header", "--batch-check")):
            process = self._runner.start("cat-file", option)
            weakref.finalize(self, _end, process)
            setattr(repository.git, attribute, repository.git.AutoInterrupt(process, ["git", "cat-file", option]))
        return repository

    @contextmanager
    def _reading(self, commit: str) -> Iterator[None]:
        """Turn what GitPython raises for missing or malformed objects into NotFound; drop its processes with it."""
        try:
            yield
        except (ValueError, TypeError, KeyError, OSError, OverflowError) as error:
            self.__dict__.pop("_reader", None)
            words = str(error)[:200]
            raise NotFound(f"{commit[:12]} cannot be read: {words}", remedy="fetch, and name a commit") from None

    @cached_property
    def _is_partial(self) -> bool:
        return self._runner.attempt("config", "--get-regexp", r"^remote\..*\.promisor$").code == 0

    def _fetch_missing(self, commit: str, directories: Sequence[str]) -> None:
        options = ("--objects", "--no-object-names", "--missing=print", "--no-walk", "--end-of-options")
        paths = (pathspec(directory) for directory in directories)
        listed = self._runner.run("rev-list", *options, f"{commit}^{{tree}}", "--", *paths).decode().splitlines()
        missing = "\n".join(line[1:] for line in listed if line.startswith("?"))
        if missing:
            fetch = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=blob:none")
            self._runner.run(
                *fetch, "--quiet", "--stdin", "--end-of-options", self._remote, stdin=missing.encode(), network=True
            )


def full(sha: str) -> str:
    """The sha itself, if it is a full one: what an argument of git may safely be. Raises NotFound."""
    if not SHA.fullmatch(sha):
        raise NotFound(f"{sha[:80]!r} is no full commit sha", remedy="resolve the revision first")
    return sha


def pathspec(directory: str) -> str:
    """The directory (or path) as a pathspec that means nothing but itself."""
    return f":(top,literal){directory}"


def _end(process: Popen[bytes]) -> None:
    with process:
        process.kill()


def _entry(tree: Tree, directory: str) -> Entry | None:
    entry: Entry = tree
    for name in filter(None, directory.split("/")):
        _refuse_special(entry)
        if entry.type != "tree":
            return None
        found = next((child for child in entry if child.name == name), None)
        if found is None:
            return None
        entry = found
    return entry


def _blobs(entry: Entry) -> Iterator[Blob]:
    waiting = [entry]
    while waiting:
        current = waiting.pop()
        _refuse_special(current)
        if current.type == "tree":
            waiting.extend(current)
        elif current.type == "blob":
            yield current


def _refuse_special(entry: Entry) -> None:
    if entry.type == "submodule" or entry.mode == _SYMLINK:
        kind = "submodule" if entry.type == "submodule" else "symlink"
        raise Refused(f"a {kind} is not allowed here", where=str(entry.path), remedy="replace it with a plain file")


def _content(blob: Blob) -> bytes:
    stream = blob.data_stream
    if stream.size > LARGEST_FILE:
        raise Refused(f"the file has {stream.size} bytes; at most {LARGEST_FILE} are read", where=str(blob.path))
    content: bytes = stream.read()
    return content
