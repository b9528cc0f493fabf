"""A token that dies with its window, on a real API server: who gets it, what it can do, when it is refused."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from emergency import agree, ask

from breakglass_lab.controlplane import ControlPlane
from breakglass_lab.controlplane.client import StatusError
from breakglass_lab.platform import PROGRAMS, Platform, running, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

GROUPS = ("acme:incident",)
CACHED_SECONDS = 10.0
"""How long the API server remembers a token that it accepted (TokenSuccessCacheTTL,
https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubeapiserver/options/authentication.go)."""
JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")
SPY = """
import os, sys
def spy(event, arguments):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        with open(os.environ["SPY"], "a") as file:
            print(arguments[:2], file=file)
sys.addaudithook(spy)
"""


@dataclass(frozen=True)
class Window:
    """A window of exec-into-shop that robin asked for, open in prod-eu."""

    platform: Platform
    id: str

    @property
    def plane(self) -> ControlPlane:
        plane = self.platform.clusters["prod-eu"]
        assert isinstance(plane, ControlPlane)
        return plane

    @property
    def account(self) -> str:
        return f"incident-{self.id}"

    def own_kubeconfig(self, login: str) -> Path:
        """How a person of the group reaches the cluster without breakglass."""
        path = self.platform.directory / f"{login}.kubeconfig"
        return path if path.exists() else self.plane.kubeconfig_as(login, path, GROUPS)

    def creds(self, login: str, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        own = str(self.own_kubeconfig(login))
        return self.platform.breakglass(login, "creds", self.id, "--kubeconfig", own, *options, code=code)

    def token(self) -> tuple[str, datetime]:
        """A token as kubectl gets it, and when it is to stop using it."""
        status = json.loads(self.creds("robin", "-o", "exec-credential").stdout)["status"]
        return status["token"], datetime.fromisoformat(status["expirationTimestamp"])

    def expiry(self) -> datetime:
        told = json.loads(self.creds("robin", "-o", "json").stdout)
        assert told["serviceAccount"] == {"namespace": "shop", "name": self.account}
        return datetime.fromisoformat(told["expiry"])

    def close(self, token: str) -> float:
        """Robin closes early, the applier runs; seconds from when the ServiceAccount is gone to the token's refusal.

        The token is in use all the time: the API server remembers it as long as it ever does.
        """
        self.platform.breakglass("robin", "close", self.id)
        self.platform.breakglass(self.platform.app.login, "expire", "--patience", "1s", code=4)
        account = f"/api/v1/namespaces/shop/serviceaccounts/{self.account}"
        with ThreadPoolExecutor(1) as beside, self.plane.client() as client:
            applied = beside.submit(self.apply)
            wait_for(lambda: (refusal(self, token), client.exists(account))[1] is False, 60, "the account gone")
            gone = time.monotonic()
            # One second more is for our own asking.
            wait_for(lambda: refusal(self, token) == 401, CACHED_SECONDS + 1, "refused")
            seconds = time.monotonic() - gone
            applied.result()
        return seconds

    def apply(self) -> None:
        own = str(self.platform.kubeconfig("prod-eu"))
        self.platform.breakglass(self.platform.app.login, "apply", "prod-eu", "--kubeconfig", own)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("credentials")
    with running(directory, print, clusters=("prod-eu",), workflows=False, agents=False) as started:
        yield started


def opened(platform: Platform, *options: str) -> Window:
    request = ask(platform, "exec-into-shop", *options)
    agree(platform, request, "ines", "sofia")
    window = Window(platform, request.id)
    window.apply()
    return window


@pytest.fixture(scope="module")
def window(platform: Platform) -> Window:
    """An hour, as long as the overlay allows."""
    return opened(platform, "--for", "1h")


def kubectl(platform: Platform, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as robin, somewhere else than in the clone."""
    command = [PROGRAMS / "kubectl", *arguments]
    shell = {**platform.environment("robin"), **environment}
    return subprocess.run(
        command, cwd=platform.directory, env=shell, capture_output=True, text=True, timeout=60, check=False
    )


def refusal(window: Window, token: str, resource: str = "pods") -> int | None:
    """The status with which the API server refuses a token; None where it does not."""
    with window.plane.client(token) as client:
        try:
            client.call("GET", f"/api/v1/namespaces/shop/{resource}")
        except StatusError as error:
            return error.code
    return None


def test_kubectl_works_with_the_printed_kubeconfig_and_may_what_the_overlay_grants(window: Window) -> None:
    printed = window.creds("robin", "-o", "kubeconfig").stdout
    assert not JWT.search(printed.encode())
    file = window.platform.directory / "window.kubeconfig"
    file.write_text(printed)
    pods = kubectl(window.platform, "--kubeconfig", str(file), "get", "pods")
    assert (pods.returncode, pods.stderr) == (0, "")
    assert pods.stdout.startswith("NAME")
    secrets = kubectl(window.platform, "--kubeconfig", str(file), "get", "secrets")
    assert f'User "system:serviceaccount:shop:{window.account}" cannot list resource "secrets"' in secrets.stderr


def test_kubectl_reads_the_kubeconfig_from_a_pipe(window: Window) -> None:
    own = window.own_kubeconfig("robin")
    call = f"breakglass creds {window.id} -C '{window.platform.clone('robin')}' --kubeconfig '{own}' -o kubeconfig"
    done = subprocess.run(
        ["bash", "-c", f"kubectl --kubeconfig <({call}) auth can-i create pods --subresource exec"],
        env=window.platform.environment("robin"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "yes\n"), done.stderr


def test_the_kubeconfig_may_take_the_place_of_the_own_one(window: Window) -> None:
    """`export KUBECONFIG=…` is inherited by the plugin, which must still find the person's own way in."""
    platform, own = window.platform, str(window.own_kubeconfig("robin"))
    shell = {**platform.environment("robin"), "KUBECONFIG": own}
    printed = subprocess.run(
        [PROGRAMS / "breakglass", "creds", window.id, "-o", "kubeconfig"],
        cwd=platform.clone("robin"),
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    file = platform.directory / "exported.kubeconfig"
    file.write_text(printed.stdout)
    done = kubectl(platform, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", KUBECONFIG=str(file))
    assert done.stdout == f"system:serviceaccount:shop:{window.account}", done.stderr


def test_a_way_in_that_leads_back_here_ends_at_once(window: Window) -> None:
    file = window.platform.directory / "round.kubeconfig"
    file.write_text(window.creds("robin", "-o", "kubeconfig").stdout.replace("robin.kubeconfig", "round.kubeconfig"))
    round_again = ("creds", window.id, "-o", "exec-credential", "--kubeconfig", str(file))
    done = window.platform.breakglass("robin", *round_again, code=1)
    assert "asks this command for its credential" in done.stderr
    assert done.stdout == ""


def test_a_token_ends_by_itself_with_the_window_or_before(window: Window) -> None:
    token, told = window.token()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == window.account
    assert claims["exp"] - claims["iat"] <= 3600
    assert told == min(datetime.fromtimestamp(claims["exp"], UTC), window.expiry())
    # One second each for the two roundings, one for the way of the request.
    assert datetime.fromtimestamp(claims["exp"], UTC) <= window.expiry() + timedelta(seconds=3)


def test_the_api_server_gives_no_token_for_less_than_ten_minutes(window: Window) -> None:
    with (
        window.plane.client_as("robin", GROUPS) as client,
        pytest.raises(StatusError, match="may not specify a duration less than 10 minutes") as refused,
    ):
        client.token("shop", window.account, 599)
    assert refused.value.code == 422


def test_the_api_server_gives_no_token_of_the_account_for_more_than_an_hour(window: Window) -> None:
    with (
        window.plane.client_as("robin", GROUPS) as client,
        pytest.raises(StatusError, match="lives one hour at most"),
    ):
        client.token("shop", window.account, 3601)


@pytest.mark.parametrize(
    ("user", "groups", "had"),
    [("robin", (), True), ("robin", GROUPS, True), ("ivan", GROUPS, False), ("Robin", GROUPS, False)],
)
def test_the_cluster_gives_the_token_to_who_asked_alone(
    window: Window, user: str, groups: tuple[str, ...], had: bool
) -> None:
    request: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/shop/serviceaccounts/{window.account}/token"
    with (
        window.plane.client_as(user, groups) as client,
        nullcontext() if had else pytest.raises(StatusError, match="403"),
    ):
        assert client.call("POST", path, request)["status"]["token"]
    # Impersonation asks the same question of RBAC, for people who may impersonate.
    as_groups = [f"--as-group={group}" for group in groups]
    admin = ["--kubeconfig", str(window.plane.kubeconfig), "--namespace", "shop"]
    done = kubectl(window.platform, *admin, "create", "token", window.account, f"--as={user}", *as_groups)
    assert (done.returncode == 0) == had


def test_another_of_the_group_is_told_so_and_uses_what_the_overlay_grants_the_group(window: Window) -> None:
    done = window.creds("ivan", "-o", "exec-credential", code=1)
    assert f"@robin asked for {window.id}, and you are @ivan" in done.stderr
    assert done.stdout == ""
    own = kubectl(
        window.platform, "--kubeconfig", str(window.own_kubeconfig("ivan")), "--namespace=shop", "get", "pods"
    )
    assert own.returncode == 0, own.stderr


def test_no_process_and_no_file_gets_to_see_the_token(window: Window, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SPY)
    spied, scratch = tmp_path / "spied", tmp_path / "tmp"
    scratch.mkdir()
    platform, secret = window.platform, window.platform.environment("robin")["GITHUB_TOKEN"]
    shell = {**platform.environment("robin"), "PYTHONPATH": str(tmp_path), "SPY": str(spied), "TMPDIR": str(scratch)}
    options = ["-o", "exec-credential", "--kubeconfig", str(window.own_kubeconfig("robin"))]
    done = subprocess.run(
        [PROGRAMS / "breakglass", "creds", window.id, *options],
        cwd=platform.clone("robin"),
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    token = json.loads(done.stdout)["status"]["token"]
    commands = spied.read_text()
    assert "git" in commands
    assert token not in commands
    assert secret not in commands
    assert token not in done.stderr
    kept = [path for place in (platform.directory, tmp_path) for path in place.rglob("*") if path.is_file()]
    assert [path for path in kept if JWT.search(path.read_bytes())] == []
    assert list(scratch.iterdir()) == []


def test_people_are_told_where_the_token_goes_and_never_shown_one(window: Window) -> None:
    told = window.creds("robin")
    assert told.stdout.startswith(f"prod-eu  ServiceAccount shop/{window.account}  ")
    assert "the closing deletes its ServiceAccount; refused within 10 s\n" in told.stdout
    assert not JWT.search((told.stdout + told.stderr).encode())


def test_a_merged_window_that_is_not_applied_yet_has_no_token(platform: Platform) -> None:
    request = ask(platform, "exec-into-shop")
    agree(platform, request, "ines", "sofia")
    done = Window(platform, request.id).creds("robin", "-o", "exec-credential", code=1)
    assert f"incident-{request.id}" in done.stderr
    assert done.stdout == ""


def test_in_a_short_window_the_closing_ends_what_the_expiry_does_not(
    platform: Platform, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    short = opened(platform, "--for", "5m")
    assert "the token by itself lives 10m" in short.creds("robin").stdout
    token, told = short.token()
    assert told == short.expiry()
    assert jwt.decode(token, options={"verify_signature": False})["exp"] >= (told + timedelta(minutes=4)).timestamp()
    assert [refusal(short, token, resource) for resource in ("pods", "secrets")] == [None, 403]
    seconds = short.close(token)
    record_property("seconds until a token is refused", round(seconds, 2))
    with capsys.disabled():
        print(f"\na token is refused {seconds:.2f} s after its ServiceAccount is gone", end=" ")  # noqa: T201
    done = short.creds("robin", "-o", "exec-credential", code=1)
    assert f"{short.id} is closed" in done.stderr
