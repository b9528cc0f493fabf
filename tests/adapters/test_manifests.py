"""Manifests from real directories: what is read of them, in which order, and what never is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from breakglass.adapters import manifests
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.adapters.manifests import KUSTOMIZATIONS, ManifestReader
from breakglass.model import kustomization
from breakglass.model.errors import NotFound, Refused
from breakglass.model.source import Place, SourcedManifest


def pod(name: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"


def write(directory: Path, files: Mapping[str, str]) -> None:
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)


@pytest.fixture
def reader() -> ManifestReader:
    return ManifestReader(KustomizeRenderer, io.BytesIO(pod("a").encode()))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory `d`, below the one that the test works in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


def names(found: tuple[SourcedManifest, ...]) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in found]


def test_a_directory_is_read_in_the_order_of_its_paths(reader: ManifestReader, directory: Path) -> None:
    write(
        directory,
        {
            "b.yaml": pod("b"),
            "a/z.yml": pod("z"),
            "a/c/deep.json": '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deep"}}',
            "a.yaml": f"---\n{pod('a')}---\n{pod('a2')}",
            "empty.yaml": "",
            ".hidden/h.yaml": pod("h"),
        },
    )
    found = reader.read("d")
    assert [str(Place(manifest)) for manifest in found] == [
        "d/.hidden/h.yaml:1: Pod h",
        "d/a/c/deep.json:1: Pod deep",
        "d/a/z.yml:1: Pod z",
        "d/a.yaml:2: Pod a",
        "d/a.yaml:6: Pod a2",
        "d/b.yaml:1: Pod b",
    ]


def test_other_files_are_left_alone(reader: ManifestReader, directory: Path) -> None:
    write(
        directory,
        {
            "README.md": "[",
            "values.yaml.bak": "[",
            "yaml": "[",
            "nested/kustomization.yaml": "resources: []",
            "nested/more/kustomization.yml": "resources: []",
            "nested/Kustomization": "resources: []",
            ".git/refs/heads/main.yaml": "0" * 40,
        },
    )
    os.mkfifo(directory / "pipe")
    (directory / "link.txt").symlink_to("/etc/hostname")
    assert reader.read("d") == ()


def test_a_file_is_read_whatever_its_name(reader: ManifestReader, directory: Path) -> None:
    write(directory, {"pods.txt": pod("a")})
    (directory / "link").symlink_to("pods.txt")
    assert names(reader.read("d/pods.txt")) == names(reader.read(str(directory / "link"))) == ["a"]


def test_standard_input_is_read_once(reader: ManifestReader) -> None:
    (found,) = reader.read("-")
    assert str(Place(found)) == "<stdin>:1: Pod a"
    with pytest.raises(Refused, match="standard input can be read once"):
        reader.read("-")


def test_both_sides_share_what_they_have_in_common(reader: ManifestReader, directory: Path) -> None:
    write(directory, {"before/a.yaml": pod("a"), "after/x.yaml": f"{pod('b')}---\n{pod('a')}"})
    (before,) = reader.read("d/before")
    _, after = reader.read("d/after")
    assert after["metadata"] is before["metadata"]
    assert str(Place(after)) == "d/after/x.yaml:5: Pod a"


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("absent", NotFound, "absent: there is no such file"),
        ("d/f.yaml/x", NotFound, "d/f.yaml/x: there is no such file"),
        ("d/a\0b", NotFound, "there is no such file"),
        ("", NotFound, "the path is empty"),
        ("x" * 300, Refused, "cannot be read: File name too long"),
        ("d/pipe", Refused, "d/pipe: this is no plain file"),
        (os.devnull, Refused, "this is no plain file"),
        ("d/loop", Refused, "d/loop: this cannot be read"),
    ],
)
def test_what_is_no_file_is_refused(
    reader: ManifestReader, directory: Path, path: str, error: type[Refused], words: str
) -> None:
    write(directory, {"f.yaml": pod("a")})
    os.mkfifo(directory / "pipe")
    (directory / "loop").symlink_to("loop")
    with pytest.raises(error) as refused:
        reader.read(path)
    assert words in str(refused.value)


def test_a_special_file_in_a_directory_is_refused_without_waiting(reader: ManifestReader, directory: Path) -> None:
    os.mkfifo(directory / "a.yaml")
    with pytest.raises(Refused, match=r"^d/a.yaml: this is no plain file"):
        reader.read("d")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("path", ["a.yaml", "inner"])
def test_what_may_not_be_read_is_refused(reader: ManifestReader, directory: Path, path: str) -> None:
    write(directory, {"a.yaml": pod("a"), "inner/b.yaml": pod("b")})
    (directory / path).chmod(0)
    with pytest.raises(Refused, match=rf"^d/{path}: this cannot be read: Permission denied"):
        reader.read("d")
    (directory / path).chmod(0o700)


@pytest.mark.parametrize(
    ("link", "target", "words"),
    [
        ("a.yaml", "../outside.yaml", "leads out of the directory"),
        ("a.yaml", "/etc/hostname", "leads out of the directory"),
        ("inner", "..", "leads out of the directory"),
        ("inner", "/etc", "leads out of the directory"),
        ("a.yaml", "absent.yaml", "leads nowhere"),
        ("a.yaml", "a.yaml", "leads nowhere"),
    ],
)
def test_a_symlink_that_leads_out_is_refused(
    reader: ManifestReader, directory: Path, link: str, target: str, words: str
) -> None:
    write(directory, {"../outside.yaml": pod("outside")})
    (directory / link).symlink_to(target)
    with pytest.raises(Refused, match=rf"^d/{link}: this symlink {words}"):
        reader.read("d")


def test_a_symlink_inside_reads_nothing_twice_and_loses_nothing(reader: ManifestReader, directory: Path) -> None:
    write(directory, {"inner/a.yaml": pod("a"), "inner/b.text": pod("b"), "inner/kustomization.yaml": ""})
    for link, target in (
        ("a.yaml", "inner/a.yaml"),
        ("b.yaml", "inner/b.text"),
        ("again", "inner"),
        ("inner/up", ".."),
    ):
        (directory / link).symlink_to(target)
    assert names(reader.read("d")) == ["b", "a"]
    (directory.parent / "link").symlink_to("d")
    assert names(reader.read("link")) == ["b", "a"]


def test_an_object_in_two_files_is_refused(reader: ManifestReader, directory: Path) -> None:
    write(directory, {"a.yaml": pod("a"), "b.yaml": f"# again\n{pod('a')}"})
    with pytest.raises(Refused, match=r"^d/b.yaml:2: Pod a: this object stands at d/a.yaml:1 already$"):
        reader.read("d")


def test_too_much_is_refused(reader: ManifestReader, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(directory, {"a.yaml": pod("a"), "b.yaml": pod("b")})
    monkeypatch.setattr(manifests, "LARGEST_INPUT", 2 * len(pod("a")))
    assert names(reader.read("d")) == ["a", "b"]
    monkeypatch.setattr(manifests, "LARGEST_INPUT", 2 * len(pod("a")) - 1)
    with pytest.raises(Refused, match=r"^d/b.yaml: more than 89 bytes"):
        reader.read("d")
    monkeypatch.undo()
    monkeypatch.chdir(directory.parent)
    monkeypatch.setattr("breakglass.model.stream.MOST_OBJECTS", 1)
    with pytest.raises(Refused, match=r"^d/b.yaml: more than 1 objects"):
        ManifestReader(KustomizeRenderer).read("d")


def test_a_name_that_is_no_utf_8_can_be_told(reader: ManifestReader, directory: Path) -> None:
    Path(os.fsdecode(os.fsencode(directory) + b"/\xff.yaml")).write_text("]")
    with pytest.raises(Refused, match=r"^d/\?.yaml:1: not YAML"):
        reader.read("d")


@pytest.mark.parametrize("name", sorted(KUSTOMIZATIONS))
def test_a_kustomize_root_is_rendered(reader: ManifestReader, directory: Path, name: str) -> None:
    write(directory, {name: "namePrefix: x-\nresources: [a.txt]\n", "a.txt": pod("a"), "b.yaml": "["})
    (found,) = reader.read("d")
    assert found["metadata"]["name"] == "x-a"
    assert Place(found).of(found["metadata"], "name") == "d: Pod x-a"


def test_a_kustomize_root_reaches_what_its_work_tree_holds(reader: ManifestReader, directory: Path) -> None:
    files = {
        "overlays/x/kustomization.yaml": 'resources: ["../../base", ../shared]\npatches: [{path: ./p.yaml}]\n',
        "overlays/x/p.yaml": pod("a").replace("name: a", "name: a, labels: {x: y}"),
        "overlays/shared/kustomization.yaml": "resources: [../../pods/s.yaml]",
        "base/kustomization.yaml": "resources: [a.yaml]",
        "base/a.yaml": pod("a"),
        "pods/s.yaml": pod("s"),
        "elsewhere/too-large.bin": "x" * 1000,
    }
    write(directory, files)
    (directory / ".git").mkdir()
    with pytest.raises(Refused, match=r"s\.yaml"):
        reader.read("d/overlays/x")
    write(directory, {"overlays/shared/kustomization.yaml": "resources: [s.yaml]", "overlays/shared/s.yaml": pod("s")})
    found = reader.read("d/overlays/x")
    assert sorted(names(found)) == ["a", "s"]
    assert {manifest.source.file for manifest in found} == {"d/overlays/x"}


def test_without_a_work_tree_a_kustomize_root_reaches_two_directories_up(
    reader: ManifestReader, directory: Path
) -> None:
    files = {
        "a/b/c/kustomization.yaml": "resources: [../../near]",
        "a/b/far/kustomization.yaml": "resources: [../../../d/far]",
        "a/near/kustomization.yaml": "resources: [a.yaml]",
        "a/near/a.yaml": pod("a"),
        "far/kustomization.yaml": "resources: [a.yaml]",
        "far/a.yaml": pod("a"),
    }
    write(directory, files)
    assert names(reader.read("d/a/b/c")) == ["a"]
    with pytest.raises(Refused, match=r"'../../../d/far' is not a file of this repository"):
        reader.read("d/a/b/far")


@pytest.mark.parametrize(
    ("kustomization", "words"),
    [
        ("resources: [https://example.invalid/x.yaml]", "'https://example.invalid/x.yaml' is not a file"),
        ("helmCharts: []", "the field helmCharts is not allowed"),
        ("resources: [link.yaml]", "'link.yaml' is not a file"),
        ("resources: [linked]", "'linked' is not a file"),
        ("resources: [../outside]", "'../outside' is not a file"),
        ("resources: [../../..]", "'../../..' is not a file"),
        ("resources: [absent.yaml]", "'absent.yaml' is not a file"),
        ("[", "not YAML"),
    ],
)
def test_a_kustomize_root_that_leads_out_is_refused(
    reader: ManifestReader, directory: Path, kustomization: str, words: str
) -> None:
    write(directory, {"kustomization.yaml": kustomization, "../outside/a.yaml": pod("a"), ".git/HEAD": ""})
    (directory / "link.yaml").symlink_to("../outside/a.yaml")
    (directory / "linked").symlink_to("../outside")
    with pytest.raises(Refused) as refused:
        reader.read("d")
    assert str(refused.value).startswith("d/kustomization.yaml:")
    assert words in str(refused.value)


@pytest.mark.parametrize("upward", ["../linked", "../linked/inner"])
def test_no_symlink_of_a_work_tree_leads_a_kustomize_root_out(
    reader: ManifestReader, directory: Path, upward: str
) -> None:
    write(directory, {"x/kustomization.yaml": f"resources: [{upward}]", ".git/HEAD": ""})
    for outside in ("../outside", "../outside/inner"):
        write(directory, {f"{outside}/kustomization.yaml": "resources: [a.yaml]", f"{outside}/a.yaml": pod("a")})
    (directory / "linked").symlink_to("../outside")
    with pytest.raises(Refused, match=rf"^d/x/kustomization.yaml: '{upward}' is not a file of this repository"):
        reader.read("d/x")


def test_the_names_of_kustomizations_are_those_of_the_model() -> None:
    assert set(kustomization.NAMES) == KUSTOMIZATIONS


def test_reading_files_imports_nothing_that_is_slow(directory: Path) -> None:
    write(directory, {"a.yaml": pod("a")})
    script = (
        "import sys; from pathlib import Path; from breakglass.wiring import Wiring\n"
        "assert len(Wiring(Path('/')).manifests.read('d')) == 1\n"
        "print(*{'pydantic', 'git', 'kubernetes', 'ruamel', 'github'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
