"""After the closing, on a real API server with its real audit log: residue to the object, what lives on, the cut."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.inventories import inventory
from breakglass.adapters.audit_log import read_audit_log
from breakglass.adapters.clock import SystemClock
from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.adapters.kustomize import KustomizeRenderer
from breakglass.lifecycle import ledger
from breakglass.lifecycle.content import read_overlay, read_policy
from breakglass.lifecycle.cut import cut
from breakglass.lifecycle.render import render_baseline, render_delta
from breakglass.lifecycle.residue import Found, Search, find
from breakglass.lifecycle.settlement import by_hand, choose, propose
from breakglass.lifecycle.sweep import Sweep, Sweeper, sweep
from breakglass.lifecycle.windows import all_windows
from breakglass.model.activation import Activation, activation_file, new_activation, requester_of, write_activation
from breakglass.model.errors import NotFound, Refused
from breakglass.model.inventory import InventoryObject
from breakglass.model.ledger import Closed, Swept, paths
from breakglass.model.manifest import Manifest, ObjectKey, key_of
from breakglass.model.residue import residue_file
from breakglass_lab.controlplane import ControlPlane, gateway_api_crds, install
from breakglass_lab.controlplane.client import Client
from breakglass_lab.platform import PARTS, PROGRAMS, ROOT, wait_for
from ports.forge import ForgeServer, InMemoryForge
from ports.remote import PLAIN, InMemoryRemote
from ports.repository import InMemoryRepository

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

RBAC = "rbac.authorization.k8s.io"
LEDGER = "breakglass-ledger"
ALICE = {"Impersonate-User": "alice", "Impersonate-Group": "acme:incident"}
PAT = {"Impersonate-User": "pat", "Impersonate-Group": "acme:platform"}
SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER = {"name": "c", "image": "example.com/c", "securityContext": SECURE}
POD = {"containers": [CONTAINER]}


def role(name: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    return _object(f"{RBAC}/v1", "Role", {"name": name}, rules=rules)


def network_policy(name: str) -> dict[str, Any]:
    return _object("networking.k8s.io/v1", "NetworkPolicy", {"name": name}, spec={"podSelector": {}})


def binding(name: str, subject: Mapping[str, str], cluster_role: str) -> dict[str, Any]:
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": cluster_role}
    return _object(f"{RBAC}/v1", "RoleBinding", {"name": name}, subjects=[dict(subject)], roleRef=reference)


def _object(api_version: str, kind: str, metadata: Mapping[str, Any], **rest: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": "shop", **metadata}, **rest}


@dataclass
class Site:
    """The example platform's repository in memory and one of its clusters, on a real API server."""

    plane: ControlPlane
    cluster: KubernetesCluster
    applier: KubernetesCluster
    remote: InMemoryRemote
    forge: ForgeServer
    renderer: KustomizeRenderer = field(default_factory=KustomizeRenderer)
    clock: SystemClock = field(default_factory=SystemClock)

    def repository(self) -> InMemoryRepository:
        return InMemoryRepository(self.remote, self.clock)

    def commit(self, changes: Mapping[str, bytes | None], at: datetime) -> str:
        tip = self.remote.ref("refs/heads/main")
        entries = {path: None if content is None else (PLAIN, content) for path, content in changes.items()}
        sha = self.remote.commit((tip,) if tip else (), entries, at)
        self.remote.set_ref("refs/heads/main", sha)
        return sha

    @property
    def tip(self) -> str:
        tip = self.remote.ref("refs/heads/main")
        assert tip is not None
        return tip

    def search(self) -> Search:
        return Search("prod-eu", self.cluster, self.repository(), self.renderer, self.clock, "main", LEDGER)

    def find(self, activation: Activation, *, log: bool = True) -> Found:
        events = list(read_audit_log(self.plane.audit_log)) if log else None
        return find(self.search(), activation.id, events)

    def sweep(self, told: tuple[str, ...] = ()) -> Sweep:
        repository = self.repository()
        sweeper = Sweeper(
            name="prod-eu",
            cluster=self.applier,
            repository=repository,
            clock=self.clock,
            commit=self.tip,
            history=all_windows(repository, self.tip),
            baseline=lambda: render_baseline(repository, self.renderer, self.tip, "base"),
            report=print,
        )
        return sweep(sweeper, told)

    def next_second(self) -> datetime:
        """Nothing of the second that is left belongs to what comes now."""
        begin = int(time.time())
        wait_for(lambda: int(time.time()) > begin, 5, "the next second")
        return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ControlPlane.start(tmp_path_factory.mktemp("residue") / "control plane", name="prod-eu") as plane:
        files = {
            file.relative_to(ROOT).as_posix(): file.read_bytes()
            for part in PARTS
            for file in ([ROOT / part] if (ROOT / part).is_file() else sorted((ROOT / part).rglob("*")))
            if file.is_file() and "tools" not in file.parts and "__pycache__" not in file.parts
        }
        remote = InMemoryRemote()
        cluster = KubernetesCluster("prod-eu", access_to("prod-eu", None, plane.kubeconfig), SystemClock())
        own = plane.kubeconfig_as("breakglass:applier", tmp_path_factory.mktemp("applier") / "kubeconfig")
        applier = KubernetesCluster("prod-eu", access_to("prod-eu", None, own), SystemClock())
        made = Site(plane, cluster, applier, remote, ForgeServer(remote, SystemClock()))
        made.commit(files, datetime.now(UTC) - timedelta(hours=1))
        baseline = render_baseline(made.repository(), made.renderer, made.tip, "base")
        install(plane, [*gateway_api_crds(), *map(dict, baseline)])
        yield made
        cluster.close()
        applier.close()


@dataclass(frozen=True)
class Emergency:
    """A window of exec-into-shop in which too much was possible, and what people made of it."""

    site: Site
    activation: Activation
    begin: datetime

    @property
    def account(self) -> str:
        return f"incident-{self.activation.id}"


@pytest.fixture(scope="module")
def emergency(site: Site) -> Emergency:
    """The window is over; every kind of maker made something in it."""
    activation = _activation(site)
    account = {"kind": "ServiceAccount", "name": f"incident-{activation.id}", "namespace": "shop"}
    incident = {"apiGroup": RBAC, "kind": "Group", "name": "acme:incident"}
    platform = {"apiGroup": RBAC, "kind": "Group", "name": "acme:platform"}
    # The overlay gives no such rights; that they were there for another reason is the point.
    wide = [
        binding(f"wide-{name}", who, "cluster-admin")
        for name, who in (("a", account), ("g", incident), ("p", platform))
    ]
    install(site.plane, [*wide, _object("v1", "Pod", {"name": "before"}, spec=POD), role("by-hand-before")])

    begin = site.next_second()
    merge = site.commit({activation_file(activation.id): write_activation(activation)}, begin)
    content, policy = read_overlay(site.repository(), merge, "exec-into-shop"), read_policy(site.repository(), merge)
    changes = render_delta(site.renderer, activation, content, None, requester_of(activation, policy))
    added = [change.emergency for change in changes if change.emergency is not None]
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        site.applier.apply(manifest for manifest in added if manifest["kind"] == kind)
    _make(site, account["name"])
    site.applier.delete(live for live in site.applier.get(map(key_of, added)).values() if live is not None)

    event = Closed(
        activation=activation.id,
        overlay="exec-into-shop",
        cluster="prod-eu",
        closedAt=datetime.now(UTC),
        closedBy="agent",
        cause="expired",
        expiry=begin + timedelta(minutes=30),
        lateSeconds=0.0,
        baseline="proven",
    )
    ledger.append(site.repository(), LEDGER, paths(event), "closed")
    return Emergency(site, activation, begin)


def _activation(site: Site) -> Activation:
    content = read_overlay(site.repository(), site.tip, "exec-into-shop")
    return new_activation(
        content.overlay,
        digest=content.digest,
        clusters=["prod-eu"],
        parameters={},
        reason="checkout down",
        incident="INC-4211",
        requested_by="robin",
        requested_at=datetime.now(UTC),
        duration=timedelta(minutes=30),
        random="7f3a",
    )


def _make(site: Site, account: str) -> None:
    with site.plane.client(site.plane.token("shop", account)) as intruder:
        _by_the_account(intruder)
    with site.plane.client() as admin:
        _by_the_group(admin)
        _by_others(site, admin)
        token = admin.token("shop", "sleeper", 3600)
        wait_for(lambda: any(_pods(admin, "miner-")), 30, "the pod of a Deployment")
        wait_for(lambda: any(_pods(admin, "web-")), 30, "the pods of the baseline")
        _debug(admin, next(_pods(admin, "web-")), ALICE)
        _debug(admin, next(_pods(admin, "api-")), PAT)
    with site.plane.client(token) as sleeper:
        create(sleeper, network_policy("by-the-sleeper"))


def _by_the_account(intruder: Client) -> None:
    sleeper = {"kind": "ServiceAccount", "name": "sleeper", "namespace": "shop"}
    create(intruder, role("backdoor"))
    create(intruder, _object("v1", "ServiceAccount", {"name": "sleeper"}))
    create(intruder, binding("backdoor", sleeper, "edit"))
    create(intruder, binding("sleeper-admin", sleeper, "admin"))
    metadata = {"name": "sleeper-token", "annotations": {"kubernetes.io/service-account.name": "sleeper"}}
    create(intruder, _object("v1", "Secret", metadata, type="kubernetes.io/service-account-token"))
    template = {"metadata": {"labels": {"app": "miner"}}, "spec": POD}
    spec = {"selector": {"matchLabels": {"app": "miner"}}, "template": template}
    create(intruder, _object("apps/v1", "Deployment", {"name": "miner"}, spec=spec))
    apply_path = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/hole"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    intruder.call("PATCH", apply_path, network_policy("hole"), query={"fieldManager": "platform"}, headers=headers)
    intruder.token("shop", "default", 3600)


def _by_the_group(admin: Client) -> None:
    create(admin, _object("v1", "Pod", {"generateName": "shell-"}, spec=POD), ALICE)
    backend = {"service": {"name": "api", "port": {"number": 8080}}}
    spec = {"defaultBackend": backend}
    create(admin, _object("networking.k8s.io/v1", "Ingress", {"name": "way-in"}, spec=spec), ALICE)
    # She deletes what she made first: what is gone is no residue.
    create(admin, role("gone"), ALICE)
    admin.call("DELETE", f"/apis/{RBAC}/v1/namespaces/shop/roles/gone", headers=ALICE)
    # The name of something hers, made again by somebody else.
    create(admin, role("reused"), ALICE)
    admin.call("DELETE", f"/apis/{RBAC}/v1/namespaces/shop/roles/reused", headers=ALICE)
    wait_for(_tick(), 5, "the next second")
    create(admin, role("reused"), PAT)


def _by_others(site: Site, admin: Client) -> None:
    create(admin, role("of-a-bystander"), PAT)
    create(admin, _object("v1", "Pod", {"generateName": "bystander-"}, spec=POD), PAT)
    path = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
    (first, *_) = admin.call("GET", path)["items"]
    kept = next(item for item in admin.call("GET", path)["items"] if item["metadata"]["name"] == "default-deny")
    assert first["metadata"]["namespace"] == "shop"
    admin.call("DELETE", f"{path}/{kept['metadata']['name']}")
    # The team's own tool brings it back in the window.
    install(site.plane, map(dict, render_baseline(site.repository(), site.renderer, site.tip, "base")))


def _tick() -> Callable[[], bool]:
    begin = int(time.time())
    return lambda: int(time.time()) > begin


def create(client: Client, manifest: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
    plurals = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
    plural = plurals.get(manifest["kind"], manifest["kind"].lower() + "s")
    root = "/apis/" if "/" in manifest["apiVersion"] else "/api/"
    return client.call("POST", f"{root}{manifest['apiVersion']}/namespaces/shop/{plural}", manifest, headers=headers)


def _pods(client: Client, prefix: str) -> Iterator[str]:
    for item in client.call("GET", "/api/v1/namespaces/shop/pods")["items"]:
        if item["metadata"]["name"].startswith(prefix):
            yield item["metadata"]["name"]


def _debug(client: Client, pod: str, headers: Mapping[str, str]) -> None:
    path = f"/api/v1/namespaces/shop/pods/{pod}/ephemeralcontainers"
    patch = {"spec": {"ephemeralContainers": [{**CONTAINER, "name": "debugger"}]}}
    merge = {"Content-Type": "application/strategic-merge-patch+json"}
    client.call("PATCH", path, patch, headers={**headers, **merge})


def names(found: Found, *, certain: bool) -> set[str]:
    """Kind and name of the pieces; what the server named ends in `*`."""
    return {
        f"{piece.key.kind} {_shown(piece.manifest)}{' +' + ','.join(piece.containers) if piece.containers else ''}"
        for piece in found.pieces
        if piece.certain is certain
    }


def _shown(manifest: Manifest) -> str:
    name = str(manifest["metadata"]["name"])
    return f"{name.partition('-')[0]}-*" if manifest["metadata"].get("generateName") else name


def test_what_the_emergency_identities_made_is_found_and_nothing_else(emergency: Emergency) -> None:
    found = emergency.site.find(emergency.activation)
    assert names(found, certain=True) == {
        "Role backdoor",
        "RoleBinding backdoor",
        "RoleBinding sleeper-admin",
        "ServiceAccount sleeper",
        "Secret sleeper-token",
        "Deployment miner",
        "NetworkPolicy hole",
        "NetworkPolicy by-the-sleeper",
        "Ingress way-in",
        "Pod shell-*",
        "Pod web-* +debugger",
    }
    assert names(found, certain=False) == set()
    assert found.unread == ()
    evidence = {piece.key.name: piece.evidence for piece in found.pieces}
    intruder = f"system:serviceaccount:shop:{emergency.account}"
    assert evidence["hole"].startswith(f"made by {intruder} at ")
    assert "system:serviceaccount:shop:sleeper, which" in evidence["by-the-sleeper"]
    assert evidence["way-in"].startswith("made by admin as alice of acme:incident at ")
    (minted,) = found.tokens
    assert minted.startswith(f"{intruder} minted a token for system:serviceaccount:shop:default at ")
    assert all("data" not in piece.manifest for piece in found.pieces if piece.key.kind == "Secret")


def test_without_the_log_the_time_alone_speaks_and_only_asks(emergency: Emergency) -> None:
    found = emergency.site.find(emergency.activation, log=False)
    assert names(found, certain=True) == set()
    perhaps = names(found, certain=False)
    assert {"Role backdoor", "NetworkPolicy hole", "Pod shell-*", "Pod web-* +debugger"} <= perhaps
    assert {"Role of-a-bystander", "Role reused", "Pod bystander-*", "Pod api-* +debugger"} <= perhaps
    held = {"Role by-hand-before", "Pod before", "NetworkPolicy default-deny", "Role gone"}
    assert perhaps & held == set()
    assert [name for name in perhaps if name.startswith(("ReplicaSet", "Pod miner"))] == []
    assert "by manager platform at" in next(p.evidence for p in found.pieces if p.key.name == "hole")


def test_who_may_not_list_secrets_is_told_so(emergency: Emergency, tmp_path: Path) -> None:
    plane, site = emergency.site.plane, emergency.site
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}
    plain = [{**rule, "apiGroups": [group]} for group in ("apps", "batch", "networking.k8s.io")]
    some = ["pods", "serviceaccounts", "configmaps"]
    rules = [*plain, {**rule, "apiGroups": [""], "resources": some}]
    rules += [{**rule, "apiGroups": [RBAC], "resources": ["roles", "rolebindings"]}]
    rules += [{**rule, "apiGroups": ["gateway.networking.k8s.io"]}]
    cluster_role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "looks"}, "rules": rules}
    subject = {"apiGroup": RBAC, "kind": "User", "name": "sofia"}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "looks"}
    bound = {"kind": "ClusterRoleBinding", "metadata": {"name": "looks"}, "subjects": [subject], "roleRef": reference}
    install(plane, [cluster_role, {"apiVersion": f"{RBAC}/v1", **bound}])
    access = access_to("prod-eu", None, plane.kubeconfig_as("sofia", tmp_path / "kubeconfig"))
    sofia = KubernetesCluster("prod-eu", access, SystemClock())
    search = Search("prod-eu", sofia, site.repository(), site.renderer, site.clock, "main", LEDGER)
    found = find(search, emergency.activation.id, read_audit_log(plane.audit_log))
    sofia.close()
    assert [line.partition(" ")[0] for line in found.unread] == ["clusterroles", "clusterrolebindings", "secrets"]
    assert "Role backdoor" in names(found, certain=True)
    assert not any(piece.key.kind == "Secret" for piece in found.pieces)


def test_an_activation_that_was_never_here_is_refused(emergency: Emergency) -> None:
    search = emergency.site.search()
    with pytest.raises(NotFound, match="ever reached main"):
        find(search, "2026-11-23-exec-into-shop-0000", None)


def test_residue_is_adopted_and_deleted_by_pull_request(emergency: Emergency) -> None:
    site = emergency.site
    found = site.find(emergency.activation)
    kept = choose(found, ["NetworkPolicy/shop/hole"])
    others = [piece for piece in found.pieces if by_hand(found, piece) is not None]
    gone = tuple(piece for piece in found.pieces if piece not in kept and piece not in others)
    forge = InMemoryForge(site.forge, "robin")
    with pytest.raises(Refused, match="a Secret is not adopted"):
        settle(site, found, choose(found, ["Secret/shop/sleeper-token"]), ())
    for piece in found.pieces:
        if by_hand(found, piece) is not None:
            with pytest.raises(Refused, match=f"the applier deletes no {piece.key.kind}") as refused:
                settle(site, found, (), (piece,))
            assert piece.uid in str(refused.value.remedy)
    with pytest.raises(Refused, match="both adopted and deleted"):
        settle(site, found, kept, kept)
    pull = propose(site.search(), forge, found, adopt=kept, delete=gone, reason="left behind", author="robin")

    repository = site.repository()
    repository.fetch(f"refs/pull/{pull.number}/head")
    changed = {change.path: change.status for change in repository.changes(site.tip, pull.head)}
    assert changed == {
        "base/kustomization.yaml": "modified",
        f"base/adopted/{emergency.activation.id}.yaml": "added",
        f"overlays/emergency/residue/{emergency.activation.id}.yaml": "added",
    }
    before = repository.files(site.tip, "base/kustomization.yaml")["base/kustomization.yaml"]
    after = repository.files(pull.head, "base/kustomization.yaml")["base/kustomization.yaml"]
    assert after == before + f"  - adopted/{emergency.activation.id}.yaml\n".encode(), "comments and lines stay"
    assert site.sweep().deleted == [], "nothing goes before the merge"

    site.forge.merge(pull.number, "sofia")
    baseline = {key_of(manifest) for manifest in render_baseline(site.repository(), site.renderer, site.tip, "base")}
    assert {piece.key for piece in kept} <= baseline

    role_key = ObjectKey(RBAC, "Role", "shop", "backdoor")
    # Somebody made the Role anew meanwhile: that one is not listed.
    with site.plane.client() as admin:
        admin.call("DELETE", f"/apis/{RBAC}/v1/namespaces/shop/roles/backdoor")
        create(admin, role("backdoor"), PAT)
    swept = site.sweep()
    assert sorted(f"{key.kind} {key.name}" for key in swept.deleted) == [
        "Ingress way-in",
        "NetworkPolicy by-the-sleeper",
        "RoleBinding backdoor",
        "RoleBinding sleeper-admin",
        "ServiceAccount sleeper",
    ]
    assert swept.problems == []
    ((path, event),) = swept.events.items()
    assert isinstance(event, Swept)
    assert len(event.absent) == len(gone)
    assert site.cluster.get([role_key])[role_key] is not None, "the other Role of the name is nobody's business"
    assert names(site.find(emergency.activation), certain=True) == {
        "Deployment miner",
        "Pod shell-*",
        "Pod web-* +debugger",
    }, "the Secret went with its ServiceAccount"
    assert site.sweep((path,)).events == {}, "told already"
    again = site.sweep()
    assert (again.deleted, again.problems, [*again.events]) == ([], [], [path])


def test_what_is_not_the_appliers_is_left_with_the_command_for_it(emergency: Emergency) -> None:
    site = emergency.site
    found = site.find(emergency.activation)
    (miner,) = choose(found, ["Deployment/shop/miner"])
    with site.plane.client() as admin:
        create(admin, network_policy("in-the-way"))
    stranger = next(iter(site.cluster.get([policy_key("in-the-way")]).values()))
    adopted = next(iter(site.cluster.get([policy_key("hole")]).values()))
    assert stranger is not None
    assert adopted is not None
    place = {"cluster": "prod-eu", "evidence": "written by hand"}
    listed = [
        {**place, "group": "apps", "kind": "Deployment", "namespace": "shop", "name": "miner", "uid": miner.uid},
        {**place, **told(policy_key("in-the-way")), "uid": "00000000-0000-0000-0000-000000000000"},
        {**place, **told(policy_key("hole")), "uid": adopted["metadata"]["uid"]},
        {**place, **told(policy_key("in-the-way")), "cluster": "prod-us", "uid": stranger["metadata"]["uid"]},
        {**place, "kind": "Secret", "namespace": "shop", "name": "a-secret", "uid": "0"},
    ]
    metadata, spec = {"name": emergency.activation.id}, {"reason": "by hand", "delete": listed}
    file = {"apiVersion": "breakglass.dev/v1alpha1", "kind": "Residue", "metadata": metadata, "spec": spec}
    site.commit({residue_file(emergency.activation.id): json.dumps(file).encode()}, datetime.now(UTC))

    swept = site.sweep()
    assert swept.deleted == []
    assert swept.events == {}, "not done yet"
    assert [problem.partition(":")[0] for problem in swept.problems] == [
        "Deployment.apps shop/miner is left",
        "Secret shop/a-secret is left",
    ]
    _run(site, by_hand(found, miner) or "")
    (left,) = site.sweep().problems
    assert "delete it by hand, then take it out of" in left, "it may not even look"
    assert all(site.cluster.get(map(policy_key, ("in-the-way", "hole"))).values()), "neither is touched"


def policy_key(name: str) -> ObjectKey:
    return ObjectKey("networking.k8s.io", "NetworkPolicy", "shop", name)


def told(key: ObjectKey) -> dict[str, str]:
    return {"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name}


def settle(site: Site, found: Found, adopt: Any, delete: Any) -> None:
    forge = InMemoryForge(site.forge, "robin")
    propose(site.search(), forge, found, adopt=adopt, delete=delete, reason="left behind", author="robin")


def _run(site: Site, command: str) -> None:
    """Do as it says: the command deletes its object by uid, and no other."""
    environment = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "KUBECONFIG": str(site.plane.kubeconfig)}
    other = command.replace('"uid": "', '"uid": "0')
    wrong = subprocess.run(
        ["sh", "-c", other], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "the UID in the precondition" in wrong.stderr
    subprocess.run(["sh", "-c", command], env=environment, capture_output=True, timeout=60, check=True)
    key = ObjectKey("apps", "Deployment", "shop", "miner")
    wait_for(lambda: site.cluster.get([key])[key] is None, 30, "gone")


def test_a_watch_goes_on_after_its_permission_is_gone(site: Site) -> None:
    """Kubernetes asks once, when the watch begins: what lingering.py tells, measured."""
    watcher = {"apiGroup": RBAC, "kind": "User", "name": "watcher"}
    install(site.plane, [binding("watcher", watcher, "view")])
    path = "/api/v1/namespaces/shop/configmaps"
    with site.plane.client() as admin, site.plane.client_as("watcher") as client:
        wait_for(lambda: client.exists(path), 10, "the binding counts")
        import urllib3

        pool = urllib3.PoolManager(ssl_context=site.plane.tls_as("watcher"))
        stream = pool.request("GET", f"{site.plane.server}{path}?watch=1&timeoutSeconds=30", preload_content=False)
        lines = (line for chunk in stream.stream(65536) for line in chunk.splitlines())
        admin.call("DELETE", f"/apis/{RBAC}/v1/namespaces/shop/rolebindings/watcher")
        wait_for(lambda: _forbidden(client, path), 10, "the binding is gone")
        create(admin, _object("v1", "ConfigMap", {"name": "told-to-the-watcher"}, data={"secret": "plan"}))
        seen = next(
            name for line in lines if (name := json.loads(line)["object"]["metadata"]["name"]).startswith("told")
        )
        assert seen == "told-to-the-watcher"
        stream.close()
        pool.clear()


def test_the_cut_evicts_pods_that_come_back_and_no_more_than_the_limit(emergency: Emergency) -> None:
    site = emergency.site
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "emergency-exec"}
    bound = _object(f"{RBAC}/v1", "RoleBinding", {"name": "b"}, subjects=[], roleRef=reference)
    roles = render_baseline(site.repository(), site.renderer, site.tip, "base")
    made = cut(site.cluster, inventory(InventoryObject(baseline=None, emergency=bound)), roles, print, most=2)
    gone = {line.rpartition("/")[2] for line in made.evicted}
    assert len(gone) == 2
    with site.plane.client() as admin:
        wait_for(lambda: not gone & set(_pods(admin, "")), 30, "the evicted pods are gone")
        assert {"before"} <= set(_pods(admin, ""))
    assert "Pod shop/before: no controller would start it again" in made.left
    assert any(line.endswith("the limit") for line in made.left)


def _forbidden(client: Client, path: str) -> bool:
    from breakglass_lab.controlplane.client import StatusError

    try:
        client.call("GET", path)
    except StatusError as error:
        return error.code == 403
    return False
