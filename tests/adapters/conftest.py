"""Real git repositories, a forge on loopback, and a clock that nobody has to wait for."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_server import Connect, Time, namespace_of, numbers
from stand_ins import Clone, Waits

from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import Access, access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass_lab.controlplane import ControlPlane, install
from breakglass_lab.forge import App, Forge, Organisation, Team, User
from breakglass_lab.interruption import Interruption

WORKFLOW = "on: {workflow_dispatch: {inputs: {overlay: {type: string, required: true}}}}\njobs: {}\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any configuration, so that nobody's own git settings decide a test."""
    home = tmp_path / "home of nobody"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home


@pytest.fixture
def clock() -> Waits:
    return Waits()


@pytest.fixture
def author(tmp_path: Path) -> Clone:
    """Somebody's repository with one commit on main."""
    directory = tmp_path / "author of it"
    directory.mkdir()
    clone = Clone(directory)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.commit({"base/web.yaml": "web\n", "base/db/db.yaml": "db\n", "README.md": "hello\n"}, "first")
    return clone


@pytest.fixture
def remote(tmp_path: Path, author: Clone) -> Clone:
    """A bare repository that the author pushes to."""
    directory = tmp_path / "remote.git"
    author.git("init", "--quiet", "--bare", "--initial-branch=main", str(directory))
    bare = Clone(directory)
    bare.git("config", "uploadpack.allowFilter", "true")
    author.git("remote", "add", "origin", str(directory))
    author.git("push", "--quiet", "origin", "main")
    return bare


@pytest.fixture
def clone(tmp_path: Path, remote: Clone) -> Clone:
    """A full clone of the remote, without an identity."""
    remote.git("clone", "--quiet", str(remote.directory), str(tmp_path / "clone"))
    return Clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def app() -> App:
    """An App; its key takes a while to make."""
    return App()


@pytest.fixture
def forge(tmp_path: Path, author: Clone, app: App) -> Iterator[Forge]:
    """A forge whose main is the author's, plus a workflow; ann and bob may write, rita may read."""
    users = tuple(User(login, login.title(), f"{login}@acme.example") for login in ("ann", "bob", "rita"))
    organisation = Organisation(
        users=users,
        teams=(Team("dba", ("bob", "ann")),),
        apps=(app,),
        rights={"platform": {"@ann": "write", "@acme/dba": "write", "@rita": "read"}},
    )
    author.commit({".github/workflows/open.yml": WORKFLOW, "CODEOWNERS": "* @ann @bob\n"})
    with Forge.start(tmp_path / "forge", organisation) as forge:
        forge.seed(author.directory)
        yield forge


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("control plane"), name="prod-eu") as control_plane:
        install(control_plane, [namespace_of("breakglass")])
        yield control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    name = f"test-{next(numbers)}"
    install(control_plane, [namespace_of(name)])
    return name


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(access, clock=…)` → a cluster that is closed after the test."""
    with ExitStack() as clusters:

        def make(access: Access, clock: Any = None, **limits: timedelta) -> KubernetesCluster:
            cluster = KubernetesCluster("prod-eu", access, clock or SystemClock(), **limits)
            clusters.callback(cluster.close)
            return cluster

        yield make


@pytest.fixture
def administrator(control_plane: ControlPlane) -> Access:
    return access_to("prod-eu", None, control_plane.kubeconfig)


@pytest.fixture
def cluster(administrator: Access, connect: Connect) -> KubernetesCluster:
    return connect(administrator)


@pytest.fixture
def proxy(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Interruption]:
    with Interruption(control_plane, tmp_path / "kubeconfig") as proxy:
        yield proxy


@pytest.fixture
def interrupted(proxy: Interruption, connect: Connect) -> KubernetesCluster:
    """The same cluster through the proxy; retries take no time."""
    return connect(access_to("prod-eu", None, proxy.kubeconfig), Time())
