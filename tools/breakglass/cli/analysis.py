"""What the verbs of the analysis share: reading both sides, and writing one page in any format."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from breakglass.analysis.exposure.passage import Controller
    from breakglass.analysis.network.profile import Profile
    from breakglass.analysis.report.page import Page
    from breakglass.model.manifest import Manifest
    from breakglass.ports import Manifests

Function = TypeVar("Function", bound=Callable[..., Any])

_IP_BLOCKS = {"yes": True, "no": False, "both": None}

_LARGE = 1 << 16
"""Characters that are gathered before they are written: a stream of short lines is slow to write one by one."""


def analysis_output_option(function: Function) -> Function:
    """`--output text|json|markdown|svg|dot`."""
    choice = click.Choice(["text", "json", "markdown", "svg", "dot"])
    return click.option(
        "-o", "--output", type=choice, default="text", show_default=True, help="For people, programs, or as a picture."
    )(function)


def summary_option(function: Function) -> Function:
    """`--summary`."""
    return click.option(
        "--summary", is_flag=True, help="Rectangles (source set x destination set x ports) instead of pairs."
    )(function)


def exit_code_option(function: Function) -> Function:
    """`--exit-code`."""
    return click.option("--exit-code", is_flag=True, help="Exit with 1 if there is a difference.")(function)


def profile_options(function: Function) -> Function:
    """`--cni` and `--ip-blocks-match-pods`."""
    function = click.option(
        "--ip-blocks-match-pods",
        type=click.Choice(list(_IP_BLOCKS)),
        default="both",
        show_default=True,
        help="Whether an ipBlock matches addresses of pods; both says where it makes a difference, unless --cni knows.",
    )(function)
    names = ["upstream", "cilium", "calico", "aws", "azure", "ovn-kubernetes"]
    return click.option(
        "--cni",
        type=click.Choice(names),
        default="upstream",
        show_default=True,
        help="Whose reading of NetworkPolicy; upstream says where implementations differ.",
    )(function)


def policy_option(function: Function) -> Function:
    """`--policy`: where the ingress controllers are named."""
    return click.option(
        "--policy",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Policy that names the ingress controllers; breakglass.yaml if it is here.",
    )(function)


def profile_from(cni: str, ip_blocks_match_pods: str) -> Profile:
    """How the implementation of NetworkPolicy reads what the specification leaves open."""
    from breakglass.analysis.network.profile import PROFILES

    profile = PROFILES[cni]
    asked = _IP_BLOCKS[ip_blocks_match_pods]
    return profile if asked is None else replace(profile, ip_blocks_match_pods=asked)


def controllers_from(policy: Path | None) -> tuple[Controller, ...]:
    """The ingress controllers that a policy names; none where there is no policy.

    Raises:
        InvalidFile: the policy does not say what it must.
    """
    from breakglass.analysis.exposure.passage import controllers_of
    from breakglass.model.document import read
    from breakglass.model.policy import POLICY_FILE, Policy

    file = policy or Path(POLICY_FILE)
    if policy is None and not file.is_file():
        return ()
    return controllers_of(read(file.read_bytes(), str(file), Policy))


def read_input(path: str) -> tuple[Manifest, ...]:
    """The manifests of a file, a directory, a kustomize root, or `-`.

    Raises:
        Refused: the path cannot be read, or holds what is no manifest.
    """
    return _reader().read(path)


def read_inputs(before: str, after: str) -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
    """Both sides of a comparison, as `read_input` reads one; what they have in common is parsed once."""
    return _reader().read_both(before, after)


def _reader() -> Manifests:
    from breakglass.wiring import Wiring

    # Much data, a short life, and nothing that refers to itself: looking for that takes a tenth of the time.
    gc.disable()
    return Wiring(Path()).manifests


def exit_on_difference(asked: bool, differs: bool) -> None:
    """Leave with 1 where somebody asked for it and there is a difference."""
    if asked and differs:
        click.get_current_context().exit(1)


def emit_page(page: Page, output: str) -> None:
    """Write a page to stdout in one of the formats of `analysis_output_option`, or as HTML."""
    if output == "text":
        from breakglass.analysis.report import text

        emit(text.write(page, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    else:
        # A format is imported when it is asked for: together they take as long as a small comparison.
        module = importlib.import_module(f"breakglass.analysis.report.{output}")
        emit(module.write(page))


def emit(pieces: Iterable[str]) -> None:
    """Write a stream of text to stdout."""
    sys.stdout.writelines(_gathered(pieces))
    sys.stdout.flush()


def _gathered(pieces: Iterable[str]) -> Iterator[str]:
    waiting: list[str] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= _LARGE:
            yield "".join(waiting)
            waiting, length = [], 0
    yield "".join(waiting)
