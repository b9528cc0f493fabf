"""Who must review what can open something: the paths, their lines in CODEOWNERS, and what is wrong with those."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from breakglass.model.activation import ACTIVATIONS
from breakglass.model.codeowners import TOO_LARGE, Codeowners, Rule, parse
from breakglass.model.codeowners_pattern import samples
from breakglass.model.finding import Finding
from breakglass.model.overlay import OVERLAYS
from breakglass.model.policy import POLICY_FILE, Policy
from breakglass.model.residue import RESIDUE
from breakglass.model.review import REVIEWS

FEWEST_OWNERS = 2
"""An author never approves their own pull request, so one owner alone could change nothing, or nobody need look."""
IN_CLUSTER = "breakglass"
"""Directory of what `init` writes for the clusters."""
_BLOCK = """\
# Break-glass access: what can open something, and who may approve an opening. The last line that matches a path
# decides, so these stand below the general ones. Each names at least two owners.
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A path that can open something: its line in CODEOWNERS, and files that the line must decide about."""

    pattern: str
    files: tuple[str, ...]


def guarded(policy: Policy, codeowners_file: str) -> tuple[Guarded, ...]:
    """The paths that can open something, the general before the special; the last are the activations.

    Args:
        codeowners_file: the CODEOWNERS file that GitHub reads.
    """
    baselines = sorted({cluster.baseline for cluster in policy.spec.clusters.values()})
    automation = tuple(f".github/{name}" for name in ("workflows/apply.yml", "actions/install/action.yml"))
    return (
        Guarded(f"/{POLICY_FILE}", (POLICY_FILE,)),
        Guarded(f"/{IN_CLUSTER}/", (f"{IN_CLUSTER}/rbac.yaml",)),
        Guarded("/.github/", automation),
        Guarded(f"/{codeowners_file}", (codeowners_file,)),
        *(Guarded(f"/{root}/", (f"{root}/kustomization.yaml",)) for root in baselines),
        Guarded(f"/{OVERLAYS}/", tuple(f"{OVERLAYS}/any/{name}" for name in ("overlay.yaml", "kustomization.yaml"))),
        Guarded(f"/{RESIDUE}/", (f"{RESIDUE}/2026-11-23-any-7f3a.yaml",)),
        Guarded(f"/{REVIEWS}/", (f"{REVIEWS}/2026-11-23-any-7f3a.yaml",)),
        Guarded(f"/{ACTIVATIONS}/", (f"{ACTIVATIONS}/2026-11-23-any-7f3a.yaml",)),
    )


def guard(content: bytes, file: str, policy: Policy, owners: Iterable[str]) -> tuple[bytes, list[Finding]]:
    """Add the lines that are missing in a CODEOWNERS file.

    A path that has its own line keeps it; nothing is changed where all have.

    Args:
        content: the file as it is; empty where there is none.
        file: its path.
        owners: of everything but the activations, which belong to the policy's approvers.

    Returns:
        The new content, and every reason to refuse it: a line with too few owners, or one that would lose its effect.
    """
    present = parse(content, file)
    reviewers, approvers = list(dict.fromkeys(owners)), list(dict.fromkeys(policy.spec.approvals.approvers))
    if len(approvers) < FEWEST_OWNERS:
        approvers = list(dict.fromkeys([*approvers, *reviewers]))
    missing, findings = [], []
    for path in guarded(policy, file):
        rule = next((rule for rule in present.rules if f"/{rule.pattern.removeprefix('/')}" == path.pattern), None)
        if rule is None:
            missing.append((path.pattern, approvers if path.pattern == f"/{ACTIVATIONS}/" else reviewers))
        else:
            findings += judge_path(present, path)
    findings += [_too_few(pattern, names, file) for pattern, names in missing if len(names) < FEWEST_OWNERS]
    if not missing:
        return content, findings
    width = max(len(pattern) for pattern, _ in missing)
    block = _BLOCK + "".join(f"{pattern:<{width}} {' '.join(names)}\n" for pattern, names in missing)
    separator = b"" if not content else b"\n" if content.endswith(b"\n") else b"\n\n"
    new = content + separator + block.encode()
    findings += [_skipped(line, why, file) for line, why in parse(new, file).skipped[len(present.skipped) :]]
    before = {rule for rule, _ in shadowed(present)}
    findings += [_lost(rule, later, file) for rule, later in shadowed(parse(new, file)) if rule not in before]
    return new, findings


def judge_path(codeowners: Codeowners, path: Guarded) -> list[Finding]:
    """Check that each file of a guarded path has owners enough."""
    findings = []
    for file in path.files:
        rule = codeowners.match(file)
        owners = rule.owners if rule is not None else ()
        if len({owner.lower() for owner in owners}) < FEWEST_OWNERS:
            where = f"{codeowners.file}:{rule.line}" if rule is not None else codeowners.file
            findings.append(_too_few(file, owners, where))
    return findings


def shadowed(codeowners: Codeowners) -> list[tuple[Rule, Rule]]:
    """Lines that later lines leave without effect: each with a line that decides instead.

    Judged by paths that the pattern matches, of every depth and with names that no line mentions.
    """
    word = _unmentioned(codeowners)
    found = []
    for rule in codeowners.rules:
        instead: Rule | None = None
        for path in samples(rule.pattern, word):
            decides = codeowners.match(path)
            if decides is None or decides.line <= rule.line:
                instead = None
                break
            instead = instead or decides
        if instead is not None:
            found.append((rule, instead))
    return found


def _unmentioned(codeowners: Codeowners) -> str:
    """A name of letters that stand in no pattern: from the private use area of Unicode."""
    mentioned = set().union(*(rule.pattern for rule in codeowners.rules))
    return 7 * next((letter for letter in map(chr, range(0xE000, 0xF900)) if letter not in mentioned), "\ue000")


def lint(codeowners: Codeowners, ignored: Iterable[str]) -> list[Finding]:
    """Everything that is wrong with a CODEOWNERS file by itself, in the order of its lines.

    Args:
        ignored: other CODEOWNERS files, which GitHub does not read.
    """
    unowned = [
        Finding(
            "codeowners-unowned",
            f"{rule.pattern} has no owner: nobody need review what it matches",
            f"{codeowners.file}:{rule.line}",
            "give it owners, or see that it frees only what may be free",
            severity="warning",
        )
        for rule in codeowners.rules
        if not rule.owners
    ]
    word = _unmentioned(codeowners)
    nothing = [
        Finding(
            "codeowners-nothing",
            f"{rule.pattern} matches no file: paths have no empty names, and neither . nor ..",
            f"{codeowners.file}:{rule.line}",
            "write the path from the top of the repository, such as /docs/, or * for everything",
        )
        for rule in codeowners.rules
        if next(samples(rule.pattern, word), None) is None
    ]
    several = [
        Finding("codeowners-several", f"GitHub reads {codeowners.file} and ignores this one", place, "remove it")
        for place in ignored
    ]
    shadows = [replace(finding, severity="warning") for finding in judge_shadows(codeowners)]
    lines = [*judge_skipped(codeowners), *nothing, *shadows, *unowned]
    return [*several, *sorted(lines, key=lambda finding: int(finding.where.rpartition(":")[2]))]


def judge_skipped(codeowners: Codeowners) -> list[Finding]:
    """A finding for each line that GitHub skips."""
    return [_skipped(line, why, codeowners.file) for line, why in codeowners.skipped]


def judge_shadows(codeowners: Codeowners) -> list[Finding]:
    """A finding for each line without effect."""
    return [_lost(rule, later, codeowners.file) for rule, later in shadowed(codeowners)]


def _skipped(line: int, why: str, file: str) -> Finding:
    if why == TOO_LARGE:
        remedy = "shorten it: one line with a wildcard can stand for many"
        return Finding("codeowners-skipped", why, f"{file}:{line}", remedy)
    return Finding(
        "codeowners-skipped", f"GitHub skips this line: {why}", f"{file}:{line}", "correct or remove the line"
    )


def _lost(rule: Rule, later: Rule, file: str) -> Finding:
    message = f"{rule.pattern} has no effect: {later.pattern} in line {later.line} comes later and decides"
    remedy = f"move the line of {rule.pattern} below the line of {later.pattern}, or remove it"
    return Finding("codeowners-shadow", message, f"{file}:{rule.line}", remedy)


def _too_few(path: str, owners: Iterable[str], where: str) -> Finding:
    message = f"{path} can open something and has too few owners: {', '.join(owners) or 'nobody'}"
    return Finding("codeowners-owners", message, where, f"give {path} at least {FEWEST_OWNERS} owners")
