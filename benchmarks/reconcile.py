"""Opening and closing 10, 100 and 1,000 objects beside a bare client, kubectl and Helm, on one API server in turn."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import helm_client
import yaml
from measurement import Command, LimitMissed, Sample, duration, measured, spread
from scene import (
    BREAKGLASS,
    CLUSTER,
    KUBECTL,
    Emergency,
    Manifests,
    add_overlay,
    administrator,
    allow_mixed,
    applier,
    approved,
    delta,
    mixed,
    networkpolicies,
    plane_of,
    platform,
    requested,
    reset,
)

from breakglass_lab.controlplane.install import discover, object_path
from breakglass_lab.platform import Platform

TITLE = "Opening and closing"
ROUNDS = 4
HERE = Path(__file__).parent
OURS, BARE, VERB, BUILD, KUBECTL_NAME = (
    "the reconciler (`reconciler.py`)",
    "the bare client (`bare_client.py`)",
    f"`breakglass apply {CLUSTER}`",
    "`kubectl kustomize`",
    "`kubectl`",
)
NETWORKPOLICY, INGRESS = "NetworkPolicy.networking.k8s.io", "Ingress.networking.k8s.io"
ACCESS = ("ServiceAccount", "Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io")

MOST_OF_BARE = 1.3
"""What the reconciler may take, plan and verification included, in times of what the bare client takes."""
LEAST_TO_OPEN, LEAST_TO_CLOSE = 2.5, 50.0
"""What kubectl must take at least, in times of what the reconciler takes."""
MOST_SECONDS_FOR_NOTHING = 0.5
"""What the reconciler may take where nothing is to be done."""


@dataclass(frozen=True)
class Set:
    """Objects to open, beside the two NetworkPolicies of the emergency itself, and how often.

    Attributes:
        limited: the limits hold here.
        beside: whether kubectl and Helm are measured as well, which takes minutes for many objects.
    """

    name: str
    manifests: Manifests
    kinds: Sequence[str]
    rounds: int = ROUNDS
    limited: bool = False
    beside: bool = True

    @property
    def title(self) -> str:
        """How the section is called."""
        return f"{len(self.manifests) + 2:,} {self.name}"


SETS = (
    Set("NetworkPolicies", networkpolicies(8), (NETWORKPOLICY,)),
    Set("NetworkPolicies", networkpolicies(98), (NETWORKPOLICY,)),
    Set("NetworkPolicies", networkpolicies(998), (NETWORKPOLICY,), limited=True),
    Set(
        "ServiceAccounts, Roles, RoleBindings, Ingresses",
        mixed(250)[2:],
        (NETWORKPOLICY, INGRESS, *ACCESS),
        beside=False,
    ),
)


@dataclass(frozen=True)
class Side:
    """One way to open and to close.

    Attributes:
        again: opens once more where all is open; None where that is not measured.
        seconds: the file to which it writes what it took without the start of its process; None where it writes none.
        closings: how often the closing is measured; kubectl and Helm throttle themselves, so once will do.
    """

    name: str
    open: Command
    close: Command | None = None
    again: Command | None = None
    seconds: Path | None = None
    closings: int = sys.maxsize


@dataclass
class Series:
    """What one side took to do one thing, round by round: its processes, and inside them."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)

    def add(self, command: Command, seconds: Path | None) -> None:
        """Run the command, and read what it took."""
        self.samples.append(measured(command))
        if seconds is not None:
            self.inside.append(float(seconds.read_text(encoding="ascii")))

    @property
    def whole(self) -> list[float]:
        """Seconds of the processes."""
        return [sample.seconds for sample in self.samples]


Results = dict[str, dict[str, Series]]
"""What is done (`open`, `again`, `close`) → side → what it took."""


def run() -> list[str]:
    """All sets.

    Raises:
        LimitMissed: the reconciler is slower than it may be.
    """
    helm = helm_client.program()
    lines = [_introduction(helm), ""]
    missed: list[str] = []
    for these in SETS:
        with platform() as on:
            results = _measured(on, these, helm)
        lines += [f"### {these.title}", "", *_tables(results)]
        if these.limited:
            kept, not_kept = _limits(results)
            lines += [*kept, ""]
            missed += not_kept
    if missed:
        raise LimitMissed(missed, lines)
    return lines


def _introduction(helm: str | None) -> str:
    others = "" if helm else " Helm could not be built on this machine."
    return (
        "The reconciler is what `breakglass apply` does once a window is proven approved and rendered: it takes the "
        "Lease, reads the inventories, writes this one, plans by list and compare, writes, verifies, and records; to "
        "close it reads the inventories, plans, deletes, observes every object absent, proves the baseline and records "
        "that. The bare client (same language, eight kept connections, bodies ready to be sent) sends one request an "
        f"object and does nothing else. {BUILD} only renders, which `kubectl apply -k` does as well. All of them write "
        "the same objects, in turn, to the same API server, with the example platform in it. “Inside” leaves out the "
        "start of the process and what it reads from disk. kubectl and Helm have their discovery cached. kapp is not "
        f"among them: no package registry that this project builds from has it.{others}"
    )


def _measured(on: Platform, these: Set, helm: str | None) -> Results:
    allow_mixed(on)
    add_overlay(on, "many", these.manifests, these.kinds)
    emergency, activation = _merged(on)
    objects = delta(on)
    if len(objects) != len(these.manifests) + 2:
        raise RuntimeError(f"the overlay of {emergency.id} renders {len(objects)} objects")
    sides = [side for side in _sides(on, activation, objects, helm) if these.beside or side.name in (OURS, BARE, VERB)]
    results: Results = {"open": {}, "again": {}, "close": {}}
    reset(on)
    for number in range(these.rounds + 1):
        # The first round warms up, and what it takes does not count.
        kept = results if number > 0 else {"open": {}, "again": {}, "close": {}}
        for side in sides:
            _once(side, kept, warm=number > 0)
            reset(on)
    return results


def _once(side: Side, results: Results, *, warm: bool) -> None:
    results["open"].setdefault(side.name, Series(side.open.name)).add(side.open, side.seconds)
    if side.again is not None:
        results["again"].setdefault(side.name, Series(side.again.name)).add(side.again, side.seconds)
    if side.close is not None and (warm or side.closings == sys.maxsize):
        series = results["close"].setdefault(side.name, Series(side.close.name))
        if len(series.samples) < side.closings:
            series.add(side.close, side.seconds)


def _merged(on: Platform) -> tuple[Emergency, dict[str, Any]]:
    """Merge the request for the overlay; also the activation as its file says."""
    emergency = requested(on, "many")
    approved(on, emergency)
    on.merge("ines", emergency.number)
    on.refresh("robin")
    file = on.clone("robin") / "overlays" / "emergency" / "activations" / f"{emergency.id}.yaml"
    return emergency, yaml.safe_load(file.read_bytes())


def _sides(on: Platform, activation: dict[str, Any], objects: list[dict[str, Any]], helm: str | None) -> list[Side]:
    strict, full = str(applier(on)), str(administrator(on))
    # All rounds together may take longer than the window that was asked for.
    lasting = {**activation, "spec": {**activation["spec"], "duration": "4h"}}
    window, requests, seconds = (on.directory / name for name in ("window.json", "requests.json", "seconds"))
    window.write_text(json.dumps({"activation": lasting, "objects": objects}, default=str), encoding="utf-8")
    requests.write_text(json.dumps(_requests(on, objects)), encoding="utf-8")
    manifests = yaml.dump_all(objects, Dumper=yaml.CSafeDumper)
    root = on.directory / "kustomize"
    root.mkdir()
    (root / "kustomization.yaml").write_text("resources: [all.yaml]\n", encoding="utf-8")
    (root / "all.yaml").write_text(manifests, encoding="utf-8")

    def ours(name: str, action: str) -> Command:
        return Command(name, [sys.executable, str(HERE / "reconciler.py"), action, strict, str(window), str(seconds)])

    def bare(name: str, action: str) -> Command:
        return Command(
            name, [sys.executable, str(HERE / "bare_client.py"), action, strict, str(requests), str(seconds)]
        )

    def kubectl(name: str, *arguments: str) -> Command:
        return Command(name, [KUBECTL, *arguments], environment=environment, limit=900)

    environment = on.environment(on.app.login)
    verb = Command(VERB, [BREAKGLASS, "apply", CLUSTER, "--kubeconfig", strict], on.clone(on.app.login), environment)
    server_side = ("apply", "--server-side", "--force-conflicts", "-k", str(root), "--kubeconfig", full)
    sides = [
        Side(OURS, ours(OURS, "open"), ours(OURS, "close"), ours(OURS, "open"), seconds),
        Side(BARE, bare(BARE, "open"), bare(BARE, "close"), seconds=seconds),
        Side(VERB, verb, again=verb),
        Side(BUILD, kubectl(BUILD, "kustomize", str(root))),
        Side(
            KUBECTL_NAME,
            kubectl("`kubectl apply --server-side -k`", *server_side),
            kubectl("`kubectl delete -k`", "delete", "-k", str(root), "--kubeconfig", full),
            kubectl("`kubectl apply --server-side -k`", *server_side),
            closings=1,
        ),
    ]
    return sides if helm is None else [*sides, _helm(on, helm, manifests, full)]


def _requests(on: Platform, objects: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Path and body of every object, as the bare client sends them."""
    with plane_of(on).client() as client:
        resources = discover(client)
    return [(object_path(resources, manifest), json.dumps(manifest)) for manifest in objects]


def _helm(on: Platform, helm: str, manifests: str, kubeconfig: str) -> Side:
    chart = on.directory / "chart"
    helm_client.write_chart(chart, manifests)
    options = ["--namespace", "data", "--kubeconfig", kubeconfig]
    environment = on.environment(on.app.login)
    install = [helm, "install", "emergency", str(chart), *options]
    uninstall = [helm, "uninstall", "emergency", "--wait", *options]
    return Side(
        helm_client.NAME,
        Command(f"`helm install` ({helm_client.NAME})", install, environment=environment, limit=900),
        Command("`helm uninstall --wait`", uninstall, environment=environment, limit=900),
        closings=1,
    )


def _tables(results: Results) -> list[str]:
    headings = {"open": "Opening:", "again": "Again, with nothing to change:", "close": "Closing:"}
    lines: list[str] = []
    for what, heading in headings.items():
        series = results[what]
        lines += [heading, "", *_table(series), ""]
    return lines


def _table(sides: dict[str, Series]) -> list[str]:
    ours = sides[OURS]
    rows = [
        "| side | inside | min-max | process | min-max | CPU | peak | inside: this ÷ ours | process: this ÷ ours |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for series in sides.values():
        cells = [
            spread(series.inside) if series.inside else " | ",
            spread(series.whole),
            duration(median(sample.cpu_seconds for sample in series.samples)),
            f"{median(sample.peak_bytes for sample in series.samples) / 2**20:.0f} MiB",
            "" if series is ours or not series.inside else _told(_ratios(series.inside, ours.inside)),
            "" if series is ours else _told(_ratios(series.whole, ours.whole)),
        ]
        rows.append(f"| {series.name} | {' | '.join(cells)} |")
    return rows


def _ratios(these: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round; a side that is measured once is compared with the first round."""
    return [this / other for this, other in zip(these, others, strict=False)]


def _told(ratios: Sequence[float]) -> str:
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


def _limits(results: Results) -> tuple[list[str], list[str]]:
    """What the limits say, as lines of the section, and those that were not kept."""
    opening, closing = results["open"], results["close"]
    # kubectl renders as well, and the reconciler is given what is rendered: both ratios are told, one is the limit.
    written = [
        kubectl - build for kubectl, build in zip(opening[KUBECTL_NAME].whole, opening[BUILD].whole, strict=True)
    ]
    nothing = median(results["again"][OURS].inside)
    told = [
        _at_most("to open, the reconciler takes", _ratios(opening[OURS].inside, opening[BARE].inside)),
        _at_most("to close, the reconciler takes", _ratios(closing[OURS].inside, closing[BARE].inside)),
        _at_least("to open, kubectl", _ratios(opening[KUBECTL_NAME].whole, opening[OURS].inside), LEAST_TO_OPEN),
        _at_least("to close, kubectl", _ratios(closing[KUBECTL_NAME].whole, closing[OURS].whole), LEAST_TO_CLOSE),
        (
            f"where nothing is to be done, the reconciler takes {duration(nothing)}; "
            f"may take {duration(MOST_SECONDS_FOR_NOTHING)}",
            nothing <= MOST_SECONDS_FOR_NOTHING,
        ),
    ]
    lines = ["Limits, by the median:", "", *(f"* {'kept' if kept else '**missed**'}: {line}." for line, kept in told)]
    ours, bare = (median(_ratios(written, opening[side].inside)) for side in (OURS, BARE))
    lines.append(f"* told: to open, kubectl without its rendering takes {ours:.1f} times as long ({bare:.1f} of bare).")
    return lines, [line for line, kept in told if not kept]


def _at_most(what: str, ratios: Sequence[float]) -> tuple[str, bool]:
    found = median(ratios)
    return f"{what} {found:.2f} times what the bare client takes; may take {MOST_OF_BARE}", found <= MOST_OF_BARE


def _at_least(what: str, ratios: Sequence[float], least: float) -> tuple[str, bool]:
    found = median(ratios)
    return f"{what} takes {found:.1f} times what the reconciler takes; must take {least:.1f} at least", found >= least
