"""What bad input gets: a clear error with its place and the remedy, exit code 1 or 2, and nothing changed anywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from breakglass_lab.platform import Platform, running


@pytest.fixture(scope="module")
def forge_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The forge and its repository; no cluster, no workflow."""
    with running(tmp_path_factory.mktemp("a forge"), print, clusters=(), workflows=False, agents=False) as started:
        yield started


def refs(platform: Platform) -> str:
    return subprocess.run(
        ["git", "show-ref"], cwd=platform.forge.bare, capture_output=True, text=True, check=True
    ).stdout


REQUEST = ("--cluster", "prod-eu", "--because", "checkout down", "--incident", "INC-1")

BAD_REQUESTS = {
    "unknown overlay": (("no-such-overlay", *REQUEST), 1, "there is no overlay 'no-such-overlay'"),
    "overlay with ../": (("../../base", *REQUEST), 1, "there is no overlay '../../base'"),
    "overlay of 300 characters": (("a" * 300, *REQUEST), 1, "there is no overlay"),
    "overlay with a newline": (("db\nfrom", *REQUEST), 1, r"there is no overlay 'db\nfrom'"),
    "unknown cluster": (("db-from-bastion", "--cluster", "mars", *REQUEST[2:]), 1, "unknown cluster mars"),
    "too long": (("db-from-bastion", *REQUEST, "--for", "3h"), 1, "3h is longer than the maximum of 2h"),
    "999999999d": (("db-from-bastion", *REQUEST, "--for", "999999999d"), 2, "is not a duration"),
    "negative": (("db-from-bastion", *REQUEST, "--for=-5m"), 2, "is not a duration"),
    "a reason of two lines": (
        ("db-from-bastion", "--cluster", "prod-eu", "--because", "a\nb", "--incident", "I"),
        1,
        "line breaks",
    ),
    "no reason": (("db-from-bastion", "--cluster", "prod-eu", "--incident", "I"), 2, "--because is missing"),
    "unknown parameter": (("db-from-bastion", *REQUEST, "-p", "x=1"), 1, "Additional properties are not allowed"),
    "wrong parameter": (("ingress-to-admin", *REQUEST, "-p", "sourceRange=0.0.0.0/0"), 1, "parameters.sourceRange"),
    "no parameter": (("ingress-to-admin", *REQUEST), 2, "--parameter sourceRange"),
    "metacharacters in a parameter": (("ingress-to-admin", *REQUEST, "-p", "sourceRange=$(id)"), 1, "sourceRange"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_opens_nothing(forge_only: Platform, name: str) -> None:
    arguments, code, message = BAD_REQUESTS[name]
    before = refs(forge_only)
    result = forge_only.breakglass("robin", "open", *arguments, code=code)
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert refs(forge_only) == before


ACTIVATIONS = "overlays/emergency/activations"
GOOD = """\
apiVersion: breakglass.dev/v1alpha1
kind: Activation
metadata:
  name: {name}
spec:
  overlay: db-from-bastion
  digest: sha256:{digest}
  clusters: [prod-eu]
  parameters: {{}}
  reason: checkout down
  incident: INC-1
  requestedBy: robin
  requestedAt: {at}
  duration: {duration}
"""


def activation(
    name: str = "2026-11-23-x-0000", *, digest: str = "0" * 64, at: str = "2026-11-23T00:00:00Z", duration: str = "30m"
) -> str:
    return GOOD.format(name=name, digest=digest, at=at, duration=duration)


def write(path: str, text: str | bytes) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        file = clone / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        for each in changes:
            each(clone)

    return change


def symlink(path: str, target: str) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        (clone / path).unlink(missing_ok=True)
        (clone / path).symlink_to(target)

    return change


OVERLAY = "overlays/emergency/db-from-bastion"
ONE = f"{ACTIVATIONS}/2026-11-23-x-0000.yaml"

BAD_BRANCHES = {
    "an overlay changed since its digest": (write(ONE, activation()), "changed since this request was made"),
    "two files in one pull request": (
        both(write(ONE, activation()), write(f"{ACTIVATIONS}/2026-11-23-x-0001.yaml", activation("2026-11-23-x-0001"))),
        "2 activations in one pull request",
    ),
    "something beside it": (both(write(ONE, activation()), write("base/more.yaml", "a: 1")), "base/more.yaml"),
    "an activation that is a symlink": (both(write(ONE, ""), symlink(ONE, "/etc/passwd")), "git mode 120000"),
    "a naive time": (write(ONE, activation(at="2026-11-23T00:00:00")), "has no offset"),
    "a negative duration": (write(ONE, activation(duration="-5m")), "is not a duration"),
    "999999999d": (write(ONE, activation(duration="999999999d")), "is not a duration"),
    "duplicate keys": (write(ONE, activation() + "kind: Activation\n"), "found duplicate key"),
    "invalid UTF-8": (write(ONE, b"\xff" + activation().encode()), "the file is not UTF-8"),
    "an anchor": (write(ONE, activation().replace("[prod-eu]", "&a [prod-eu]")), "anchors and aliases"),
    "an unknown key": (write(ONE, activation() + "more: 1\n"), "more"),
    "an unknown overlay": (write(ONE, activation().replace("db-from-", "no-")), "there is no overlay 'no-bastion'"),
    "a name that is not the file's": (write(ONE, activation("2026-11-23-y-0000")), "does not fit the file's name"),
    "a symlink in an overlay": (symlink(f"{OVERLAY}/networkpolicies.yaml", "/etc/passwd"), "symlink"),
    "a remote base in an overlay": (
        write(f"{OVERLAY}/kustomization.yaml", "kind: Component\nresources: [https://example.com/x]\n"),
        "https://example.com/x",
    ),
    "a policy that is not one": (write("breakglass.yaml", "kind: Policy\n"), "breakglass.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BRANCHES)
def test_a_bad_branch_fails_the_check(forge_only: Platform, name: str) -> None:
    change, message = BAD_BRANCHES[name]
    clone = forge_only.clone("robin")
    before = refs(forge_only)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(forge_only.directory)}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=clone, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("checkout", "--quiet", "--detach", "origin/main")
    try:
        change(clone)
        git("add", "--all")
        git("commit", "--quiet", "--message", name)
        commit = git("rev-parse", "HEAD")
        git("checkout", "--quiet", "main")
        result = forge_only.breakglass("robin", "check", commit, code=1)
    finally:
        git("checkout", "--quiet", "--force", "main")
    assert message in result.stdout
    assert "failed" in result.stdout
    assert result.stderr == ""
    assert refs(forge_only) == before


def test_a_cluster_that_cannot_be_reached_is_exit_code_4(forge_only: Platform, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: prod-eu\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: nothing}}]\n"
        "contexts: [{name: prod-eu, context: {cluster: c, user: u}}]\n"
    )
    result = forge_only.breakglass("robin", "apply", "prod-eu", "--kubeconfig", str(kubeconfig), code=4)
    assert "the API server of prod-eu did not answer" in result.stderr


def test_a_token_without_rights_opens_nothing(forge_only: Platform) -> None:
    before = refs(forge_only)
    environment = {**forge_only.environment("robin"), "GITHUB_TOKEN": "nonsense"}
    command = ["breakglass", "open", "db-from-bastion", *REQUEST]
    result = subprocess.run(
        command, cwd=forge_only.clone("robin"), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert "nonsense" not in result.stderr
    assert "do" in result.stderr
    assert refs(forge_only) == before
