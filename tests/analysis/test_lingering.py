"""What outlives a closing is told, class by class, and nothing that does not."""

from __future__ import annotations

import pytest
from inventories import RBAC, added, binding, inventory, role

from breakglass.analysis.lingering import grants, lives_on
from breakglass.model.inventory import InventoryObject


@pytest.mark.parametrize(
    ("rule", "classes"),
    [
        (("create", "pods/exec"), ["exec"]),
        (("get", "pods/attach"), ["exec"]),
        (("create", "pods/portforward"), ["exec"]),
        (("create", "*/portforward"), ["exec"]),
        (("watch", "secrets"), ["watches"]),
        (("get", "pods/log"), ["logs"]),
        (("list", "pods"), []),
        (("get", "pods"), []),
        (("delete", "pods/exec"), []),
        (("*", "*"), ["exec", "watches", "logs"]),
    ],
)
def test_what_a_binding_allows_and_that_lives_on(rule: tuple[str, str], classes: list[str]) -> None:
    assert [each.kind for each in lives_on(inventory(binding("r")), [role(rule)])] == classes


def test_a_role_that_nobody_knows_may_allow_everything() -> None:
    assert [each.kind for each in lives_on(inventory(binding("elsewhere")), [])] == ["exec", "watches", "logs"]


def test_a_role_that_cannot_be_read_may_allow_everything() -> None:
    broken = role(("get", "pods")) | {"rules": "all"}
    assert [each.kind for each in lives_on(inventory(binding("r")), [broken])] == ["exec", "watches", "logs"]


def test_the_overlay_s_own_role_counts_before_the_baseline_s() -> None:
    own = added(f"{RBAC}/v1", "Role", "r", rules=role(("watch", "pods"))["rules"])
    assert [each.kind for each in lives_on(inventory(own, binding("r", "Role")), [])] == ["watches"]


def test_every_other_kind_has_its_class() -> None:
    objects = [
        added("networking.k8s.io/v1", "NetworkPolicy", "n"),
        added("networking.k8s.io/v1", "Ingress", "i"),
        added("gateway.networking.k8s.io/v1", "HTTPRoute", "h"),
        added("v1", "ServiceAccount", "s"),
        added("traefik.io/v1alpha1", "Middleware", "m"),
    ]
    told = {each.kind: each for each in lives_on(inventory(*objects), [])}
    assert sorted(told) == ["connections", "requests", "tokens"]
    assert "Ingress.networking.k8s.io shop/i" in told["requests"].what
    assert "HTTPRoute.gateway.networking.k8s.io shop/h" in told["requests"].what
    assert "ServiceAccount shop/s: residual until 10s after" in str(told["tokens"])
    assert all(each.source.startswith("https://") for each in told.values())


def test_a_policy_that_was_lifted_counts_too() -> None:
    policy = added("networking.k8s.io/v1", "NetworkPolicy", "n").emergency
    lifted = InventoryObject(baseline=policy, emergency=None)
    assert [each.kind for each in lives_on(inventory(lifted), [])] == ["connections"]


def test_a_thousand_policies_are_one_sentence() -> None:
    many = [added("networking.k8s.io/v1", "NetworkPolicy", f"n{number:04}") for number in range(1000)]
    (told,) = lives_on(inventory(*many), [])
    assert "and 995 more" in told.what
    assert len(str(told)) < 500


def test_exec_into_named_pods_is_exec_into_those() -> None:
    (grant,) = grants(inventory(binding("r")), [role(("create", "pods/exec"), names=["web-0"])])
    assert (grant.streams_into("web-0"), grant.streams_into("web-1")) == (True, False)
