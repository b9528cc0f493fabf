"""How to start the components of a control plane: the lab's own binary, or the directory KUBEBUILDER_ASSETS names."""

import hashlib
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from breakglass_lab.controlplane.progress import bar
from breakglass_lab.controlplane.toolchain import GO_MODULE, BuildError, cache_directory, go, only_one

_SOURCES = ("go.mod", "go.sum", "main.go")
_BUILD_FLAGS = ("-trimpath", "-buildvcs=false")
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Assets:
    """The command prefix of each component; arguments are appended to it.

    `kube_controller_manager` is None where KUBEBUILDER_ASSETS has none: envtest's archives carry only the other two.
    """

    etcd: tuple[str, ...]
    kube_apiserver: tuple[str, ...]
    kube_controller_manager: tuple[str, ...] | None


def assets(progress: Callable[[str], None]) -> Assets:
    """Find or build the components; `progress` receives lines of text, several a second while building.

    The directory in the environment variable KUBEBUILDER_ASSETS comes first
    (https://book.kubebuilder.io/reference/envtest), then the cached binary, then a build, which takes minutes. Raises
    BuildError.
    """
    directory = os.environ.get("KUBEBUILDER_ASSETS")
    if directory:
        return _from_directory(Path(directory).absolute())
    binary = str(build(progress))
    return Assets((binary, "etcd"), (binary, "kube-apiserver"), (binary, "kube-controller-manager"))


def _from_directory(directory: Path) -> Assets:
    for name in ("etcd", "kube-apiserver"):
        if not os.access(directory / name, os.X_OK):
            raise BuildError(f"no executable {name} in KUBEBUILDER_ASSETS={directory}: correct or unset the variable")
    controller_manager = directory / "kube-controller-manager"
    return Assets(
        (str(directory / "etcd"),),
        (str(directory / "kube-apiserver"),),
        (str(controller_manager),) if os.access(controller_manager, os.X_OK) else None,
    )


def kubernetes_version() -> str:
    """The version of k8s.io/kubernetes that go.mod requires, such as `v1.37.2`."""
    required = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)$", (GO_MODULE / "go.mod").read_text(), re.MULTILINE)
    if required is None:
        raise BuildError("binary/go.mod requires no release of k8s.io/kubernetes: restore the file")
    return required[1]


def build(progress: Callable[[str], None]) -> Path:
    """The path of the control plane binary, built when the cache has none of this source. Raises BuildError."""
    version = kubernetes_version()
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for source in _SOURCES:
        digest.update((GO_MODULE / source).read_bytes())
    directory = cache_directory("controlplane", f"{version}-{digest.hexdigest()[:16]}")
    binary = directory / "breakglass-controlplane"
    if binary.is_file():
        return binary
    with only_one(directory / "lock", progress, "the control plane binary"):
        if not binary.is_file():
            _build_into(binary, version, progress)
    return binary


def _build_into(binary: Path, version: str, progress: Callable[[str], None]) -> None:
    started = time.monotonic()
    command = go(progress)
    stale = _stale_packages(command, progress)
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        output = Path(scratch, binary.name)
        _compile(command, output, version, stale, progress)
        answer = subprocess.run([output, "kube-apiserver", "--version"], capture_output=True, text=True, check=False)
        if answer.stdout.strip() != f"Kubernetes {version}":
            raise BuildError(f"the new binary does not answer as Kubernetes {version}: {answer.stdout}{answer.stderr}")
        size = output.stat().st_size
        output.replace(binary)
    progress(f"built the control plane {version}: {size // 1_000_000} MB in {time.monotonic() - started:.0f} s")


def _stale_packages(command: str, progress: Callable[[str], None]) -> int:
    """Number of packages Go's build cache lacks, standard library included; modules it lacks are downloaded here."""
    downloaded, stale = 0, 0
    progress("reading the Go modules of the control plane")
    for line in _go(
        command, "list", "-deps", *_BUILD_FLAGS, "-f", '{{if and .Stale (ne .Name "main")}}stale{{end}}', "."
    ):
        if line.startswith("go: downloading "):
            downloaded += 1
            progress(f"downloading Go modules: {downloaded} so far, now {line.removeprefix('go: downloading ')}")
        elif line == "stale":
            stale += 1
    return stale


def _compile(command: str, output: Path, version: str, stale: int, progress: Callable[[str], None]) -> None:
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = "-s -w " + " ".join(f"-X {package}.{key}={values[key]}" for package in _VERSION_PACKAGES for key in values)
    compiled = 0
    progress(_build_message(0, stale))
    # `go build -v` names a package when its compilation begins and leaves out those in the cache.
    for line in _go(command, "build", "-v", *_BUILD_FLAGS, "-ldflags", flags, "-o", str(output), "."):
        if re.fullmatch(r"[\w.~/-]+", line) is not None:
            compiled += 1
            progress(_build_message(compiled, stale))


def _build_message(compiled: int, stale: int) -> str:
    if compiled >= stale:
        return "linking, the last step"
    return f"compiling {bar(compiled, stale)} {compiled} of {stale} packages"


def _go(command: str, *arguments: str) -> Iterator[str]:
    """Run go in the module and yield the lines of both its streams; raise BuildError with the last ones if it fails."""
    last: list[str] = []
    with subprocess.Popen(
        [command, *arguments],
        cwd=GO_MODULE,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        if process.stdout is None:
            raise BuildError("go gave no output to read")
        for line in process.stdout:
            last = [*last[-19:], line.rstrip()]
            yield line.rstrip()
    if process.returncode != 0:
        raise BuildError(f"go {arguments[0]} failed:\n" + "\n".join(last))
