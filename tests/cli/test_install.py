"""`breakglass install`: the verb, and that this repository's own baseline is what it writes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from breakglass.cli.failure import run
from breakglass.cli.install import command
from breakglass.lifecycle.install import FILES

ROOT = Path(__file__).parents[2]
Install = Callable[..., int]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(*arguments)` → the exit code, in this repository."""

    def call(*arguments: str) -> int:
        monkeypatch.chdir(ROOT / "docs")
        monkeypatch.setattr(sys, "argv", ["breakglass", *arguments])
        return run(command)

    return call


def test_the_baseline_holds_exactly_what_it_writes(install: Install, tmp_path: Path) -> None:
    into = tmp_path / "a new" / "directory"
    assert install("prod-eu", "--into", str(into)) == 0
    assert sorted(path.name for path in into.iterdir()) == sorted([*FILES, "kustomization.yaml"])
    for name in FILES:
        assert (into / name).read_text() == (ROOT / "base/breakglass" / name).read_text(), name
    listed = yaml.safe_load((ROOT / "base/breakglass/kustomization.yaml").read_text())["resources"]
    assert set(FILES) <= set(listed)


@pytest.mark.parametrize("cluster", ["prod-us", "drill"])
def test_the_clusters_that_share_the_baseline_need_the_same(
    install: Install, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install("prod-eu") == 0
    of_production = capsys.readouterr().out
    assert install(cluster) == 0
    assert capsys.readouterr().out == of_production


def test_what_is_printed_is_one_stream_of_every_object(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    assert install("prod-eu") == 0
    printed = capsys.readouterr()
    assert install("prod-eu", "--output=json") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(yaml.safe_load_all(printed.out)) == told["objects"]
    assert (told["kind"], told["cluster"], told["written"]) == ("Installation", "prod-eu", [])
    assert [note for note in told["notes"] if note.startswith("exec-into-shop carries Roles")]
    assert told["notes"][0] in printed.err


def test_a_second_time_nothing_changes_and_what_is_listed_beside_stays(install: Install, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "base/breakglass", tmp_path / "own")
    before = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    assert install("prod-eu", "--into", str(tmp_path / "own")) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()} == before


def test_something_else_than_a_kustomization_is_not_overwritten(install: Install, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("- a\n- list\n")
    assert install("prod-eu", "--into", str(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kustomization.yaml"]


def test_the_authentication_goes_alone(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    assert install("prod-eu", "--authentication") == 0
    configuration = yaml.safe_load(capsys.readouterr().out)
    assert configuration["kind"] == "AuthenticationConfiguration"
    assert configuration["jwt"][0]["issuer"]["audiences"] == ["breakglass/prod-eu"]
    assert install("prod-eu", "--authentication", "--output=json") == 0
    assert json.loads(capsys.readouterr().out)["configuration"] == configuration
    for other in (["--cut"], ["--follow"], ["--into", "x"]):
        assert install("prod-eu", "--authentication", *other) == 2


@pytest.mark.parametrize("option", [[], ["--authentication"]])
def test_a_cluster_that_the_policy_does_not_know_is_refused(
    install: Install, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert install("prod-xx", *option) == 1
    assert "choose from prod-eu, prod-us, drill" in capsys.readouterr().err
