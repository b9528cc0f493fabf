"""What a kustomization may say: local files of the repository, and nothing that needs a network or a program."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.errors import InvalidFile
from breakglass.model.kustomization import NAMES, changes_baseline, inspect_baseline, inspect_overlay

ROOT = "overlays/emergency/x"
COMPONENT = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}

# Remote targets: https://github.com/kubernetes-sigs/kustomize/blob/master/examples/remoteBuild.md
REMOTE = [
    "github.com/acme/bases?ref=main",
    "github.com/acme/bases//deploy?ref=v1",
    "github.com/acme/bases",
    "github.com",
    "GitHub.com/acme/bases",
    "github.com:acme/bases",
    "gh:acme/bases",
    "https://github.com/acme/bases",
    "HTTPS://example.com/a.yaml",
    "http://example.com/a.yaml",
    "https://example.com/a.git?submodules=false&timeout=10s",
    "ssh://git@example.com/acme/bases",
    "git://example.com/acme/bases",
    "git@github.com:acme/bases.git",
    "org-1234@github.com:acme/bases",
    "git@gitlab.com/acme/bases",
    "git::https://example.com/acme/bases",
    "git::git@example.com:acme/bases",
    "git::file:///srv/bases",
    "file:///srv/bases",
    "//example.com/a.yaml",
    "bases//deploy",
    "s3::https://s3.amazonaws.com/bucket/a",
    "s3://bucket/a",
    "gcs::https://www.googleapis.com/storage/v1/bucket/a",
    "hg::http://example.com/a",
    "oci://registry.example.com/a",
    "bitbucket.org/acme/bases?ref=main",
    "git-codecommit.us-east-2.amazonaws.com:acme",
    "example.com:8443/a",
]
OUTSIDE = [
    "/etc/passwd",
    "~/a.yaml",
    "..",
    "../..",
    "../y/a.yaml",
    "../../../../etc/passwd",
    "../x/../y/a.yaml",
    "sub/../../y/a.yaml",
    "./../y/a.yaml",
    "../activations/2026-11-23-x-7f3a.yaml",
]
ODD = [
    "",
    " ",
    ".",
    "-",
    "--help",
    "a.yaml ",
    " a.yaml",
    "a.yaml\n",
    "a.yaml\n../y/a.yaml",
    "a.yaml\0",
    "sub\\a.yaml",
    "$(id)",
    "`id`",
    "*.yaml",
    "a.yaml?ref=main",
    "a.yaml#b",
    "%2e%2e/y/a.yaml",
    "\u2024\u2024/a.yaml",
    "a\u2215b.yaml",
    ".git/config",
    "sub//a.yaml",
    "sub/./a.yaml",
    "sub/../a.yaml",
    "absent.yaml",
    "sub",
    "x" * 5000,
]
FORBIDDEN = [
    "bases",
    "buildMetadata",
    "configurations",
    "crds",
    "generators",
    "helmChartInflationGenerator",
    "helmCharts",
    "helmGlobals",
    "imageTags",
    "metadata",
    "openapi",
    "patchesJson",
    "plugins",
    "sortOptions",
    "transformers",
    "validators",
    "vars",
    "Resources",
    "re\u017fources",
    "resources ",
    "resources\n",
]
REACHING = {
    "resources": lambda path: [path],
    "patches": lambda path: [{"path": path}],
    "replacements": lambda path: [{"path": path}],
    # kustomize reads keys by Go's encoding/json, which ignores case, also that of the long s.
    "patches of another case": lambda path: [{"Path": path}],
    "replacements of another case": lambda path: [{"PATH": path}],
    "patches said twice": lambda path: [{"path": "a.yaml", "PaTh": path}],
}
BASELINE_REACHING = REACHING | {
    "components": lambda path: [path],
    "patchesJson6902": lambda path: [{"path": path, "target": {"kind": "Pod", "name": "a"}}],
    "patchesStrategicMerge": lambda path: [path],
    "configMapGenerator": lambda path: [{"name": "a", "files": [path]}],
    "configMapGenerator with a key": lambda path: [{"name": "a", "files": [f"key={path}"]}],
    "configMapGenerator of environments": lambda path: [{"name": "a", "envs": ["a.yaml", path]}],
    "configMapGenerator of one environment": lambda path: [{"name": "a", "env": path}],
    "configMapGenerator of another case": lambda path: [{"name": "a", "FILES": [path]}],
    "configMapGenerator with a long s": lambda path: [{"name": "a", "file\u017f": [path]}],
    "secretGenerator": lambda path: [{"name": "a", "files": [path]}],
    "secretGenerator alone": lambda path: {"name": "a", "files": path},
}


def overlay(kustomization: object, **files: bytes) -> dict[str, bytes]:
    """An overlay with three files, beside another one."""
    content = kustomization if isinstance(kustomization, bytes) else json.dumps(kustomization, indent=1).encode()
    present = {"a.yaml": b"", "sub/a.yaml": b"", "kustomization.yaml": content, **files}
    return {f"{ROOT}/{path}": data for path, data in present.items()} | {"overlays/emergency/y/a.yaml": b""}


def overlay_findings(**fields: Any) -> list[str]:
    return [finding.id for finding in inspect_overlay(overlay(COMPONENT | fields), ROOT)]


def baseline_findings(files: dict[str, Any]) -> list[str]:
    written = {path: data if isinstance(data, bytes) else json.dumps(data).encode() for path, data in files.items()}
    return [finding.id for finding in inspect_baseline(written, "base")]


def reaching(place: str, path: str) -> dict[str, Any]:
    return {place.partition(" ")[0]: BASELINE_REACHING[place](path)}


@pytest.mark.parametrize("place", REACHING)
@pytest.mark.parametrize("path", ["a.yaml", "sub/a.yaml", "./a.yaml", "../x/a.yaml", "../../emergency/x/sub/a.yaml"])
def test_an_overlay_may_use_its_own_files(place: str, path: str) -> None:
    assert overlay_findings(**reaching(place, path)) == []


@pytest.mark.parametrize("place", REACHING)
@pytest.mark.parametrize("path", [*REMOTE, *OUTSIDE, *ODD], ids=lambda text: ascii(text[:60]))
def test_f22_an_overlay_uses_nothing_but_its_own_files(place: str, path: str) -> None:
    assert "kustomization-path" in overlay_findings(**reaching(place, path))


@pytest.mark.parametrize(
    "field", [*FORBIDDEN, "components", "configMapGenerator", "namespace", "nameSuffix"], ids=ascii
)
def test_an_overlay_may_use_few_fields_and_the_line_of_another_is_told(field: str) -> None:
    files = overlay(COMPONENT | {"resources": ["a.yaml"], field: []})
    (finding,) = inspect_overlay(files, ROOT)
    assert (finding.id, finding.where) == ("kustomization-field", f"{ROOT}/kustomization.yaml:7")


def test_a_directory_of_github_com_is_a_remote_base_to_kustomize() -> None:
    files = overlay(COMPONENT | {"resources": ["github.com/acme/a.yaml"]}, **{"github.com/acme/a.yaml": b""})
    assert [finding.id for finding in inspect_overlay(files, ROOT)] == ["kustomization-path"]


@pytest.mark.parametrize("kind", ["Kustomization", "component", None])
def test_an_overlay_is_a_component(kind: str | None) -> None:
    assert overlay_findings(kind=kind) == ["kustomization-kind"]


@pytest.mark.parametrize("name", NAMES)
def test_a_kustomization_has_one_of_three_names(name: str) -> None:
    files = {f"{ROOT}/{name}": json.dumps(COMPONENT).encode()}
    assert inspect_overlay(files, ROOT) == []
    assert changes_baseline(files, ROOT) is False


def test_an_overlay_without_a_kustomization_is_told() -> None:
    (finding,) = inspect_overlay({f"{ROOT}/sub/kustomization.yaml": b"{}"}, ROOT)
    assert (finding.id, finding.where) == ("kustomization-missing", ROOT)
    with pytest.raises(InvalidFile):
        changes_baseline({}, ROOT)


@pytest.mark.parametrize(
    "content",
    [b"[a.yaml]\n", b"", b"a.yaml\n", b"resources: [\n", b"resources: []\nresources: [../y]\n", b"a: &a b\n", b"\xff"],
)
def test_a_kustomization_that_cannot_be_read_refuses(content: bytes) -> None:
    found = [finding.id for finding in inspect_overlay(overlay(content), ROOT)]
    assert found[0] == "kustomization-unreadable"


@pytest.mark.parametrize(
    "value", ["a string", 7, True, {"a": "b"}, [7], [None], [["a.yaml"]], [{"path": ["a.yaml"]}], [{"path": {}}], {}]
)
@pytest.mark.parametrize("field", ["resources", "patches", "replacements"])
def test_a_field_of_another_type_does_not_break_the_inspection(field: str, value: object) -> None:
    assert set(overlay_findings(**{field: value})) <= {"kustomization-path"}


def test_only_patches_change_the_baseline() -> None:
    added = {"resources": ["a.yaml"], "replacements": [{"path": "a.yaml"}], "labels": [{"pairs": {"a": "b"}}]}
    assert changes_baseline(overlay(COMPONENT | added), ROOT) is False
    assert changes_baseline(overlay(COMPONENT | {"patches": [{"path": "a.yaml"}]}), ROOT) is True
    assert changes_baseline(overlay(COMPONENT | {"patches": [{"patch": "a: b\n"}]}), ROOT) is True


@pytest.mark.parametrize("place", BASELINE_REACHING)
def test_a_baseline_may_use_files_anywhere_in_the_repository(place: str) -> None:
    files = {"base/kustomization.yaml": reaching(place, "../shared/a.yaml"), "shared/a.yaml": {}, "base/a.yaml": {}}
    assert baseline_findings(files) == []


@pytest.mark.parametrize("place", BASELINE_REACHING)
@pytest.mark.parametrize("path", [*REMOTE, "/etc/passwd", "../../a.yaml", "../../../etc", "sub/../../../a", "absent"])
def test_f22_a_baseline_uses_nothing_out_of_the_repository(place: str, path: str) -> None:
    files = {"base/kustomization.yaml": reaching(place, path), "base/a.yaml": {}, "a.yaml": {}}
    assert baseline_findings(files) == ["kustomization-path"]


@pytest.mark.parametrize("field", FORBIDDEN, ids=ascii)
@pytest.mark.parametrize("at", ["base", "base/deep", "elsewhere"])
def test_f22_every_kustomization_that_a_baseline_reaches_is_inspected(field: str, at: str) -> None:
    files: dict[str, Any] = {
        "base/kustomization.yaml": {"resources": ["deep"]},
        "base/deep/kustomization.yml": {"components": ["../../elsewhere/"]},
        "elsewhere/Kustomization": {"kind": "Component"},
    }
    assert baseline_findings(files) == []
    bad = next(path for path in files if path.rpartition("/")[0] == at)
    assert baseline_findings(files | {bad: files[bad] | {field: []}}) == ["kustomization-field"]


def test_a_directory_without_a_kustomization_is_told_and_a_circle_ends() -> None:
    files = {"base/kustomization.yaml": {"resources": ["empty", "../base", "."]}, "base/empty/a.yaml": {}}
    assert baseline_findings(files) == ["kustomization-missing"]
    assert baseline_findings({}) == ["kustomization-missing"]


def test_an_inline_patch_is_no_path() -> None:
    inline = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
    patches = {"patchesStrategicMerge": [inline], "patches": [{"patch": inline}]}
    assert baseline_findings({"base/kustomization.yaml": patches}) == []


@given(st.text(max_size=30), st.sampled_from(sorted(REACHING)))
def test_whatever_an_overlay_names_is_one_of_its_files_or_refused(path: str, place: str) -> None:
    files = overlay(COMPONENT | reaching(place, path))
    named = path.removeprefix("./").removesuffix("/")
    assert bool(inspect_overlay(files, ROOT)) is (named not in ("a.yaml", "sub/a.yaml"))
