"""The readers of policies against the real API server: thousands of changed policies, refused by both or by neither.

What both take must also mean the same as what the API server keeps of it: defaults, and what it drops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import pytest
from mutations import POD, VALID, Manifest, Mutation, mutations, pod_mutations

from breakglass.analysis.network.adminnetworkpolicy import read_admin_network_policy
from breakglass.analysis.network.clusternetworkpolicy import read_cluster_network_policy
from breakglass.analysis.network.networkpolicy import read_network_policy
from breakglass.analysis.network.pod import read_workloads
from breakglass.analysis.network.policy import Policy
from breakglass.model.errors import Refused
from breakglass_lab.controlplane import ControlPlane, install, network_policy_api_crds
from breakglass_lab.controlplane.client import Client, StatusError
from breakglass_lab.controlplane.install import discover, object_path

pytestmark = pytest.mark.lab

Create = Callable[[Manifest], Any]

READERS: dict[str, Callable[[Manifest], Policy]] = {
    "NetworkPolicy": read_network_policy,
    "ClusterNetworkPolicy": read_cluster_network_policy,
    "AdminNetworkPolicy": read_admin_network_policy,
    "BaselineAdminNetworkPolicy": read_admin_network_policy,
}
V1ALPHA1 = {"AdminNetworkPolicy", "BaselineAdminNetworkPolicy"}
CLUSTER_WIDE = {"ClusterNetworkPolicy", *V1ALPHA1}
SENT = {**VALID, "Pod": POD}
THREADS = 6
ELSEWHERE = "x"
"""A namespace, which one of the changes puts a policy into."""


@dataclass(frozen=True)
class Stricter:
    """Where a reader refuses, on purpose, what the API server takes: the kinds, the changes, the complaint, and why."""

    kinds: set[str]
    change: str
    complaint: str
    reason: str

    def excuses(self, mutation: Mutation, complaint: str) -> bool:
        return bool(
            mutation.manifest["kind"] in self.kinds
            and re.search(self.change, str(mutation))
            and re.search(self.complaint, complaint)
        )


STRICTER = (
    Stricter(
        {"NetworkPolicy"},
        r"null\W*$",
        r"^(ingress|egress|ports|values) is not a list of",
        "a dash with nothing behind it is unfinished; the API server reads a rule or port that allows everything",
    ),
    Stricter(
        CLUSTER_WIDE,
        r"match(Labels|Expressions)",
        r"is no label's (name|value)|is no operator of a selector|(In|NotIn|Exists|DoesNotExist) has \d values",
        "CRDs do not look into selectors; what every implementation reads them with (LabelSelectorAsSelector) refuses",
    ),
    Stricter(
        CLUSTER_WIDE,
        r"matchLabels.*: .*null",
        r"^matchLabels\.\w+ has no value",
        "the API server drops such a label, and so selects more than is written",
    ),
    Stricter(
        CLUSTER_WIDE - {"BaselineAdminNetworkPolicy"},
        r" spec\.egress\.",
        r"^domainNames are for rules that accept",
        "the specification knows them there only; what they mean elsewhere nobody says",
    ),
    Stricter(
        CLUSTER_WIDE,
        r'[nN]amedPort: ""$',
        r"[nN]amedPort is empty",
        "Go reads an empty name as no port at all, and what that means nobody says",
    ),
    Stricter(
        CLUSTER_WIDE,
        r": \d+\.0$",
        r"is no whole number",
        "CRDs take 80.0 for a whole number, unless a rule of theirs computes with it",
    ),
    Stricter(
        V1ALPHA1,
        r'\.protocol: "\w*"$',
        r"is no protocol of port(Number|Range)",
        "the CRDs take any text; there are three protocols",
    ),
    Stricter(
        V1ALPHA1,
        r"\.portRange\.(start|end): \d+$",
        r"^start is greater than end",
        "the CRDs do not compare them; their documentation does",
    ),
)


@pytest.fixture(scope="module")
def create(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Create]:
    """`create(manifest)` → what the API server would keep of it; StatusError where it refuses. Nothing is created."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}}
    # Without the controller manager nobody else makes it, and pods need one.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    directory = tmp_path_factory.mktemp("policies") / "control plane"
    with ControlPlane.start(directory, name="policies", controller_manager=False) as control_plane:
        install(control_plane, [*network_policy_api_crds(), namespace, account])
        with control_plane.client() as client:
            paths = {kind: object_path(discover(client), valid).rpartition("/")[0] for kind, valid in SENT.items()}
            yield lambda manifest: _create(client, paths[manifest["kind"]], manifest)


def _create(client: Client, path: str, manifest: Manifest) -> Any:
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict) and metadata.get("namespace") == ELSEWHERE:
        path = path.replace("/default/", f"/{ELSEWHERE}/")
    return client.call("POST", path, manifest, query={"dryRun": "All", "fieldValidation": "Strict"})


@pytest.mark.parametrize("kind", VALID)
def test_refused_by_both_or_neither(kind: str, create: Create) -> None:
    excuses: set[str] = set()

    def difference(mutation: Mutation) -> str:
        kept, complaint = _outcome(create, mutation.manifest, StatusError)
        read, refusal = _outcome(READERS[kind], mutation.manifest, Refused)
        excused = {row.reason for row in STRICTER if row.excuses(mutation, refusal)}
        if kept and refusal and excused:
            excuses.update(excused)
            return ""
        if bool(complaint) != bool(refusal):
            return f"{mutation}\n    API server: {complaint or 'taken'}\n    reader: {refusal or 'taken'}"
        if read and _content(read) != _content(READERS[kind](kept)):
            return f"{mutation}\n    is read as {_content(read)}\n    but kept as {kept['spec']}"
        return ""

    with ThreadPoolExecutor(THREADS) as threads:
        differences = [told for told in threads.map(difference, mutations(kind)) if told]
    assert not differences, "\n".join(differences)
    assert excuses == {row.reason for row in STRICTER if kind in row.kinds}


NOT_LOOKED_AT_IN_PODS = r"containers\[0\]\.ports\[\d\]\.name: (Invalid|Duplicate) value"


def test_pods_that_the_api_server_refuses_are_refused(create: Create) -> None:
    taken = []
    for mutation in pod_mutations():
        _, complaint = _outcome(create, mutation.manifest, StatusError)
        _, refusal = _outcome(lambda manifest: read_workloads([manifest]), mutation.manifest, Refused)
        if complaint and not refusal and not re.search(NOT_LOOKED_AT_IN_PODS, complaint):
            taken.append(f"{mutation}\n    API server: {complaint}")
    assert not taken, "\n".join(taken)


def _outcome(action: Callable[[Manifest], Any], manifest: Manifest, error: type[Exception]) -> tuple[Any, str]:
    """What comes of it, and the complaint; one of the two is empty."""
    try:
        return action(manifest), ""
    except error as refusal:
        return None, str(getattr(refusal, "what", refusal))


def _content(policy: Policy) -> dict[str, Any]:
    return {field.name: getattr(policy, field.name) for field in fields(policy)}
