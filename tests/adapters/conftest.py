"""Real git repositories, a forge on loopback, and a clock that nobody has to wait for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_ins import Clone, Waits

from breakglass_lab.forge import App, Forge, Organisation, Team, User

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
