"""The naive evaluator against the truth tables, and against what the specifications say, word by word."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import clusters, probes
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import Cluster

Manifest = dict[str, Any]

TABLES = Path(__file__).parent / "oracles" / "networkpolicy-truth-tables.json.gz"
CELLS = 123_669
SERVED = [
    {"name": f"serve-{port}-{protocol.lower()}", "containerPort": port, "protocol": protocol}
    for port in (80, 81)
    for protocol in ("TCP", "UDP", "SCTP")
]


def test_every_cell_of_the_truth_tables() -> None:
    seen = 0
    for step in json.loads(gzip.decompress(TABLES.read_bytes())):
        cluster = Cluster(truth_table_manifests(step), ip_blocks_match_pods=True)
        for cell in step["table"]:
            seen += 1
            protocol, port = cell["key"].split("/")
            told = (cell["egress"] == "allowed", cell["ingress"] == "allowed")
            # The tables tell what policies say; a pod reaches itself whatever they say.
            expected = (True, True) if cell["from"] == cell["to"] else told
            outcomes = cluster.outcomes(cell["from"], cell["to"], protocol, int(port))
            assert outcomes == {expected}, f"case {step['case']} step {step['step']} ({step['desc']}): {cell}"
    assert seen == CELLS


def truth_table_manifests(step: Manifest) -> Iterator[Manifest]:
    for name, labels in step["namespaces"].items():
        yield {"kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    for pod in step["pods"]:
        yield {
            "kind": "Pod",
            "metadata": {"name": pod["name"], "namespace": pod["ns"], "labels": pod["labels"]},
            "spec": {"containers": [{"name": "serve", "ports": SERVED}]},
            "status": {"podIP": pod["ip"]},
        }
    for policy in step["policies"]:
        yield {**policy, "kind": "NetworkPolicy"}


PLATFORM = """
- {kind: Namespace, metadata: {name: x, labels: {team: blue}}}  # y has no manifest
- kind: Node
  metadata: {name: n0, labels: {role: worker}}
  status: {addresses: [{type: InternalIP, address: 10.9.0.1}, {type: Hostname, address: n0}]}
- kind: Pod
  metadata: {name: a, namespace: x, labels: {app: a}}
  spec: {nodeName: n0, containers: [{name: main}]}
  status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
- kind: Pod
  metadata: {name: b, namespace: x, labels: {app: b}}
  spec:
    nodeName: n1
    containers: [{name: main, ports: [{name: web, containerPort: 8080}]}]
    initContainers:
    - {name: setup, ports: [{name: web, containerPort: 1}]}
    - {name: sidecar, restartPolicy: Always, ports: [{name: dns, containerPort: 53, protocol: UDP}]}
  status: {podIP: 10.0.0.2}
- kind: Pod
  metadata: {name: c, namespace: y, labels: {app: c}}
  spec: {containers: [{name: main, ports: [{name: web, containerPort: 9090}]}]}
  status: {podIP: "fd00::3"}
- kind: Pod
  metadata: {name: host, namespace: x, labels: {app: a}}
  spec: {hostNetwork: true, nodeName: n0, containers: [{name: main, ports: [{name: web, containerPort: 8080}]}]}
  status: {podIP: 10.9.0.1}
- kind: Pod
  metadata: {name: lost, namespace: x, labels: {app: a}}
  spec: {hostNetwork: true, nodeName: unknown, containers: [{name: main}]}
  status: {podIP: 10.9.0.2, podIPs: [{ip: 10.9.0.2}]}
"""

# Every policy is in namespace x, or selects all pods at priority 5, in tier Admin, unless it says otherwise.
# An answer tells egress and ingress; `either` where the specification leaves the verdict open.
CASES = """
no policy, no isolation:
  policies: []
  answers: {x/a x/b TCP/80: allow allow, 192.0.2.1 x/a UDP/1: allow allow}

# NetworkPolicy spec.policyTypes
a policy without rules isolates for ingress only:
  policies: [NetworkPolicy: {}]
  answers: {x/a x/b TCP/80: allow deny}
an empty egress section is none:
  policies: [NetworkPolicy: {egress: []}]
  answers: {x/a x/b TCP/80: allow deny}
empty policyTypes count as absent:
  policies: [NetworkPolicy: {policyTypes: []}]
  answers: {x/a x/b TCP/80: allow deny}
an egress section isolates both ways:
  policies: [NetworkPolicy: {egress: [{}]}]
  answers: {x/a x/b TCP/80: allow deny, x/a y/c TCP/80: allow allow}
an egress policy leaves ingress open whatever its sections:
  policies: [NetworkPolicy: {policyTypes: [Egress], ingress: []}]
  answers: {x/a x/b TCP/80: deny allow}
rules of a direction not in policyTypes open nothing:
  policies:
  - NetworkPolicy: {policyTypes: [Egress]}
  - NetworkPolicy: {policyTypes: [Ingress], egress: [{}]}
  answers: {x/a y/c TCP/80: deny allow}

# NetworkPolicy spec.podSelector, spec.ingress, spec.egress
a policy isolates pods of its own namespace:
  policies: [NetworkPolicy: {namespace: y}]
  answers: {x/a x/b TCP/80: allow allow, x/a y/c TCP/80: allow deny}
a pod reaches itself whatever isolates it:
  policies: [NetworkPolicy: {policyTypes: [Ingress, Egress]}]
  answers: {x/a x/a TCP/80: allow allow, x/a x/b TCP/80: deny deny}
policies add up:
  policies: [NetworkPolicy: {}, NetworkPolicy: {ingress: [{}]}]
  answers: {x/a x/b TCP/80: allow allow}
empty lists in a rule are everybody and every port:
  policies: [NetworkPolicy: {ingress: [{from: [], ports: []}]}]
  answers: {192.0.2.1 x/a SCTP/80: allow allow, x/b x/a TCP/80: allow allow}
a rule wants its peers and its ports:
  policies: [NetworkPolicy: {ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}]
  answers: {x/a x/b TCP/80: allow allow, x/a x/b TCP/81: allow deny, y/c x/b TCP/80: allow deny}
from the local node a pod is always reached:
  policies: [NetworkPolicy: {policyTypes: [Ingress, Egress]}]
  answers:
    10.9.0.1 x/a TCP/80: allow allow
    x/host x/a TCP/80: allow allow
    10.9.0.1 x/b TCP/80: allow deny
    x/a 10.9.0.1 TCP/80: deny allow

# NetworkPolicyPeer
podSelector alone is confined to the namespace of the policy:
  policies: [NetworkPolicy: {ingress: [{from: [{podSelector: {}, namespaceSelector: null}]}]}]
  answers: {x/b x/a TCP/80: allow allow, y/c x/a TCP/80: allow deny}
namespaceSelector alone is every pod there, and no address:
  policies: [NetworkPolicy: {ingress: [{from: [{namespaceSelector: {}}]}]}]
  answers: {y/c x/a TCP/80: allow allow, 192.0.2.1 x/a TCP/80: allow deny}
two selectors in one peer are ANDed:
  policies: [NetworkPolicy: {ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: c}}}]}]}]
  answers: {y/c x/a TCP/80: allow allow, x/b x/a TCP/80: allow deny}
two peers are ORed:
  policies:
  - NetworkPolicy: {ingress: [{from: [{namespaceSelector: {}}, {podSelector: {matchLabels: {app: c}}}]}]}
  answers: {y/c x/a TCP/80: allow allow, x/b x/a TCP/80: allow allow}
every namespace carries its name as a label:
  policies:
  - NetworkPolicy: {ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: y}}}]}]}
  answers: {y/c x/a TCP/80: allow allow, x/b x/a TCP/80: allow deny}
NotIn matches a missing key:
  policies:
  - NetworkPolicy:
      ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [blue]}]}}]}]
  answers: {y/c x/a TCP/80: allow allow, x/b x/a TCP/80: allow deny}
DoesNotExist matches a missing key:
  policies:
  - NetworkPolicy:
      ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]}]
  answers: {y/c x/a TCP/80: allow allow, x/b x/a TCP/80: allow deny}
In and Exists do not:
  policies:
  - NetworkPolicy:
      ingress:
      - from: [{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [blue]}]}}]
      - from: [{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}]
  answers: {y/c x/a TCP/80: allow deny, x/b x/a TCP/80: allow allow}

# IPBlock
except is cut out of the block:
  policies: [NetworkPolicy: {ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/30, except: [192.0.2.2/31]}}]}]}]
  answers:
    192.0.1.255 x/a TCP/80: allow deny
    192.0.2.0 x/a TCP/80: allow allow
    192.0.2.1 x/a TCP/80: allow allow
    192.0.2.2 x/a TCP/80: allow deny
    192.0.2.4 x/a TCP/80: allow deny
a block of IPv4 says nothing of IPv6:
  policies: [NetworkPolicy: {ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}]
  answers: {192.0.2.1 x/a TCP/80: allow allow, "2001:db8::1 x/a TCP/80": allow deny}
a block takes in nodes and the host-network pods on them:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.9.0.0/16}}]}]}]
  answers:
    x/a 10.9.0.1 TCP/80: allow allow
    x/a x/host TCP/80: allow allow
    x/a x/lost TCP/80: allow allow

# NetworkPolicyPort
a port without a number is every port of its protocol:
  policies: [NetworkPolicy: {ingress: [{ports: [{}, {protocol: SCTP}]}]}]
  answers: {x/a x/b TCP/9: allow allow, x/a x/b SCTP/9: allow allow, x/a x/b UDP/9: allow deny}
endPort is inclusive:
  policies: [NetworkPolicy: {ingress: [{ports: [{port: 80, endPort: 90}]}]}]
  answers:
    x/a x/b TCP/79: allow deny
    x/a x/b TCP/80: allow allow
    x/a x/b TCP/90: allow allow
    x/a x/b TCP/91: allow deny
a named port is looked up at the destination:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{ports: [{port: web}]}]}]
  answers: {x/a x/b TCP/8080: allow allow, x/a y/c TCP/9090: allow allow, x/a y/c TCP/8080: deny allow}
a named port must be of the protocol:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{ports: [{port: dns}]}]}]
  answers: {x/a x/b UDP/53: deny allow, x/a x/b TCP/53: deny allow}
sidecars have named ports, containers that end before have none:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{ports: [{port: dns, protocol: UDP}, {port: web}]}]}]
  answers: {x/a x/b UDP/53: allow allow, x/a x/b TCP/1: deny allow}
neither addresses nor host-network pods have named ports:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{ports: [{port: web}]}]}]
  answers: {x/a 192.0.2.1 TCP/8080: deny allow, x/a x/host TCP/8080: deny allow}

# Pods of the host network
host-network pods are not isolated:
  policies: [NetworkPolicy: {policyTypes: [Ingress, Egress]}]
  answers: {x/host 192.0.2.1 TCP/80: allow allow, y/c x/lost TCP/80: allow allow}
selectors take in no host-network pod:
  policies: [NetworkPolicy: {policyTypes: [Egress], egress: [{to: [{podSelector: {}}, {namespaceSelector: {}}]}]}]
  answers: {x/a x/host TCP/80: deny allow, x/a x/b TCP/80: allow allow}
host-network pods are no subject of cluster-wide policies:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{networks: [0.0.0.0/0]}]}]}]
  answers: {x/host 192.0.2.1 TCP/80: allow allow, x/a 192.0.2.1 TCP/80: deny allow}
host-network pods are no peer of pod and namespace selectors:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{namespaces: {}}]}]}]
  answers: {x/a x/host TCP/80: allow allow, x/a x/lost TCP/80: allow allow, x/a x/b TCP/80: deny allow}

# ClusterNetworkPolicy spec.tier
Admin Accept overrides isolation:
  policies: [NetworkPolicy: {}, ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{namespaces: {}}]}]}]
  answers: {y/c x/a TCP/80: allow allow, 192.0.2.1 x/a TCP/80: allow deny}
Admin Deny overrides what a NetworkPolicy allows:
  policies:
  - NetworkPolicy: {ingress: [{}]}
  - ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {y/c x/a TCP/80: allow deny, 192.0.2.1 x/a TCP/80: allow allow}
a NetworkPolicy decides for the pods it selects, Baseline for the others:
  policies:
  - NetworkPolicy: {ingress: [{}]}
  - ClusterNetworkPolicy: {tier: Baseline, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {y/c x/a TCP/80: allow allow, x/a y/c TCP/80: allow deny}
isolated means denied though Baseline accepts:
  policies:
  - NetworkPolicy: {}
  - ClusterNetworkPolicy: {tier: Baseline, ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  answers: {y/c x/a TCP/80: allow deny}
Baseline decides the direction in which nothing isolates:
  policies:
  - NetworkPolicy: {ingress: [{}]}
  - ClusterNetworkPolicy: {tier: Baseline, egress: [{action: Deny, to: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: deny allow}

# ClusterNetworkPolicyRuleAction
Pass skips the rest of the tier, rules and policies:
  policies:
  - ClusterNetworkPolicy:
      priority: 1
      ingress: [{action: Pass, from: [{namespaces: {}}]}, {action: Deny, from: [{namespaces: {}}]}]
  - ClusterNetworkPolicy: {priority: 2, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow allow}
after Pass a NetworkPolicy decides:
  policies: [NetworkPolicy: {}, ClusterNetworkPolicy: {ingress: [{action: Pass, from: [{namespaces: {}}]}]}]
  answers: {y/c x/a TCP/80: allow deny, x/a y/c TCP/80: allow allow}
after Pass of both tiers pods communicate:
  policies:
  - ClusterNetworkPolicy: {ingress: [{action: Pass, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {tier: Baseline, priority: 1, ingress: [{action: Pass, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {tier: Baseline, priority: 2, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow allow}
the first matching rule counts:
  policies:
  - ClusterNetworkPolicy:
      egress:
      - {action: Deny, to: [{namespaces: {matchLabels: {team: blue}}}]}
      - {action: Accept, to: [{namespaces: {}}]}
      - {action: Deny, to: [{networks: ["::/0"]}]}
  answers: {x/a x/b TCP/80: deny allow, x/a y/c TCP/80: allow allow, "x/a 2001:db8::1 TCP/80": deny allow}

# ClusterNetworkPolicy spec.priority
the lower number comes first:
  policies:
  - ClusterNetworkPolicy: {priority: 2, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {priority: 1, ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow allow}
of equal priorities any may be applied:
  policies:
  - ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow either, 192.0.2.1 x/b TCP/80: allow allow}
of equal priorities only those that match:
  policies:
  - ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{namespaces: {matchLabels: {team: blue}}}]}]}
  - ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow either, y/c x/b TCP/80: allow deny}
of equal priorities only those with the pod as subject:
  policies:
  - ClusterNetworkPolicy:
      subject: {namespaces: {matchLabels: {team: blue}}}
      ingress: [{action: Accept, from: [{namespaces: {}}]}]
  - ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow either, x/a y/c TCP/80: allow deny}
equal priorities that agree leave nothing open:
  policies:
  - ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {ingress: [{action: Pass, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow allow}
equal priorities of Accept and Pass differ where a NetworkPolicy isolates:
  policies:
  - NetworkPolicy: {}
  - ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {ingress: [{action: Pass, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow either, x/a y/c TCP/80: allow allow}
priorities are equal within a tier:
  policies:
  - ClusterNetworkPolicy: {tier: Baseline, ingress: [{action: Accept, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow deny}
the choice is free for egress and ingress:
  policies:
  - ClusterNetworkPolicy:
      ingress: [{action: Accept, from: [{namespaces: {}}]}]
      egress: [{action: Accept, to: [{namespaces: {}}]}]
  - ClusterNetworkPolicy:
      ingress: [{action: Deny, from: [{namespaces: {}}]}]
      egress: [{action: Deny, to: [{namespaces: {}}]}]
  answers: {x/a x/b TCP/80: either either}

# ClusterNetworkPolicyProtocol
ports are of their protocol, and ranges inclusive:
  policies:
  - ClusterNetworkPolicy:
      ingress:
      - action: Deny
        from: [{namespaces: {}}]
        protocols: [{tcp: {destinationPort: {range: {start: 80, end: 90}}}}, {udp: {destinationPort: {number: 53}}}]
  answers:
    x/a x/b TCP/79: allow allow
    x/a x/b TCP/80: allow deny
    x/a x/b TCP/90: allow deny
    x/a x/b TCP/91: allow allow
    x/a x/b UDP/80: allow allow
    x/a x/b UDP/53: allow deny
    x/a x/b SCTP/53: allow allow
a named port is looked up at the destination and may be of any protocol:
  policies:
  - ClusterNetworkPolicy:
      egress:
      - {action: Deny, to: [{namespaces: {}}], protocols: [{destinationNamedPort: dns}, {destinationNamedPort: web}]}
  answers:
    x/a x/b UDP/53: deny allow
    x/a x/b TCP/53: allow allow
    x/a x/b TCP/8080: deny allow
    x/a y/c TCP/9090: deny allow
    x/a y/c TCP/8080: allow allow

# ClusterNetworkPolicyEgressPeer
pods are selected by namespace and by labels:
  policies:
  - ClusterNetworkPolicy:
      subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}}
      egress: [{action: Deny, to: [{pods: {namespaceSelector: {matchLabels: {team: blue}}, podSelector: {}}}]}]
  answers: {x/a x/b TCP/80: deny allow, x/a y/c TCP/80: allow allow, x/b x/a TCP/80: allow allow}
networks take in pods by any of their addresses:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{networks: ["fd00::/64"]}]}]}]
  answers: {x/b x/a TCP/80: deny allow, x/a x/b TCP/80: allow allow, x/a y/c TCP/80: deny allow}
networks take in nodes and the host-network pods on them:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{networks: [10.9.0.0/24]}]}]}]
  answers: {x/a 10.9.0.1 TCP/80: deny allow, x/a x/host TCP/80: deny allow, x/a x/lost TCP/80: deny allow}
nodes are selected by their labels:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{nodes: {matchLabels: {role: worker}}}]}]}]
  answers:
    x/b 10.9.0.1 TCP/80: deny allow
    x/b x/host TCP/80: deny allow
    x/b x/lost TCP/80: allow allow
    x/b x/a TCP/80: allow allow
    x/b 10.9.0.2 TCP/80: allow allow
nodes with other labels are not:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{nodes: {matchLabels: {role: master}}}]}]}]
  answers: {x/b 10.9.0.1 TCP/80: allow allow, x/b x/host TCP/80: allow allow}
an empty selector takes in all nodes and nothing else:
  policies: [ClusterNetworkPolicy: {egress: [{action: Deny, to: [{nodes: {}}]}]}]
  answers: {x/b x/host TCP/80: deny allow, x/b x/lost TCP/80: allow allow, x/b 192.0.2.1 TCP/80: allow allow}
domain names may stand for any address outside:
  policies:
  - ClusterNetworkPolicy:
      egress: [{action: Accept, to: [{domainNames: [example.com]}]}, {action: Deny, to: [{networks: [0.0.0.0/0]}]}]
  answers:
    x/a 192.0.2.1 TCP/80: either allow
    x/a 10.9.0.1 TCP/80: deny allow
    x/a x/b TCP/80: deny allow
    x/a x/lost TCP/80: deny allow
beside a peer that matches domain names leave nothing open:
  policies:
  - NetworkPolicy: {policyTypes: [Egress]}
  - ClusterNetworkPolicy: {egress: [{action: Accept, to: [{domainNames: [example.com]}, {networks: [192.0.2.0/24]}]}]}
  answers: {x/a 192.0.2.1 TCP/80: allow allow, x/a 198.51.100.1 TCP/80: either allow}
domain names are of the ports of their rule:
  policies:
  - NetworkPolicy: {policyTypes: [Egress]}
  - ClusterNetworkPolicy:
      egress:
      - {action: Accept, to: [{domainNames: [example.com]}], protocols: [{tcp: {destinationPort: {number: 443}}}]}
  answers:
    x/a 192.0.2.1 TCP/443: either allow
    x/a 192.0.2.1 TCP/80: deny allow
    x/a x/host TCP/443: deny allow
    x/a x/lost TCP/443: deny allow

# ClusterNetworkPolicyIngressPeer and EgressPeer: "fail closed"
an Accept rule with an unknown peer matches nothing:
  policies:
  - NetworkPolicy: {}
  - ClusterNetworkPolicy: {ingress: [{action: Accept, from: [{serviceAccounts: {}}, {namespaces: {}}]}]}
  answers: {y/c x/a TCP/80: allow deny}
a Deny rule with an unknown peer denies all:
  policies:
  - ClusterNetworkPolicy:
      ingress: [{action: Deny, from: [{serviceAccounts: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}]}]
  answers: {x/a x/b TCP/80: allow deny, 192.0.2.1 x/b UDP/9: allow deny}
a Pass rule with an unknown peer denies all:
  policies: [ClusterNetworkPolicy: {ingress: [{action: Pass, from: [{}]}]}]
  answers: {x/a x/b TCP/80: allow deny, 192.0.2.1 x/b UDP/9: allow deny}
a rule before the one with an unknown peer still counts:
  policies:
  - ClusterNetworkPolicy:
      ingress: [{action: Accept, from: [{namespaces: {}}]}, {action: Pass, from: [{serviceAccounts: {}}]}]
  answers: {x/a x/b TCP/80: allow allow, 192.0.2.1 x/b TCP/80: allow deny}
ingress knows no networks:
  policies: [ClusterNetworkPolicy: {ingress: [{action: Deny, from: [{networks: [192.0.2.0/24]}]}]}]
  answers: {x/a x/b TCP/80: allow deny}

# AdminNetworkPolicy and BaselineAdminNetworkPolicy
an AdminNetworkPolicy goes before NetworkPolicies:
  policies: [NetworkPolicy: {}, AdminNetworkPolicy: {ingress: [{action: Allow, from: [{namespaces: {}}]}]}]
  answers: {y/c x/a TCP/80: allow allow, 192.0.2.1 x/a TCP/80: allow deny}
AdminNetworkPolicies share their priorities with the Admin tier:
  policies:
  - AdminNetworkPolicy: {priority: 4, ingress: [{action: Allow, from: [{namespaces: {matchLabels: {team: blue}}}]}]}
  - ClusterNetworkPolicy: {priority: 5, ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  - AdminNetworkPolicy: {priority: 5, ingress: [{action: Pass, from: [{namespaces: {}}]}]}
  answers: {x/a x/b TCP/80: allow allow, y/c x/b TCP/80: allow either}
ports of an AdminNetworkPolicy default to TCP:
  policies:
  - AdminNetworkPolicy:
      ingress:
      - action: Deny
        from: [{namespaces: {}}]
        ports: [{portNumber: {port: 53}}, {portRange: {start: 80, end: 90}}, {portNumber: {protocol: SCTP, port: 7}}]
  answers:
    x/a x/b TCP/53: allow deny
    x/a x/b UDP/53: allow allow
    x/a x/b TCP/90: allow deny
    x/a x/b TCP/91: allow allow
    x/a x/b UDP/80: allow allow
    x/a x/b SCTP/7: allow deny
    x/a x/b TCP/7: allow allow
namedPort may be of any protocol:
  policies: [AdminNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{namedPort: dns}]}]}]
  answers: {x/a x/b UDP/53: allow deny, x/a x/b TCP/53: allow allow, x/a y/c UDP/53: allow allow}
the BaselineAdminNetworkPolicy goes last:
  policies:
  - BaselineAdminNetworkPolicy: {ingress: [{action: Deny, from: [{namespaces: {}}]}]}
  - ClusterNetworkPolicy:
      tier: Baseline
      priority: 1000
      ingress: [{action: Accept, from: [{namespaces: {matchLabels: {team: blue}}}]}]
  answers: {x/a x/b TCP/80: allow allow, y/c x/b TCP/80: allow deny, 192.0.2.1 x/b TCP/80: allow allow}
isolation goes before the BaselineAdminNetworkPolicy:
  policies: [NetworkPolicy: {}, BaselineAdminNetworkPolicy: {ingress: [{action: Allow, from: [{namespaces: {}}]}]}]
  answers: {y/c x/a TCP/80: allow deny}
"""

VERDICTS = {"allow": {True}, "deny": {False}, "either": {True, False}}
DEFAULTS: dict[str, Manifest] = {
    "ClusterNetworkPolicy": {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}},
    "AdminNetworkPolicy": {"priority": 5, "subject": {"namespaces": {}}},
    "BaselineAdminNetworkPolicy": {"subject": {"namespaces": {}}},
}


@pytest.mark.parametrize(
    ("policies", "answers"), [pytest.param(*it.values(), id=title) for title, it in yaml.safe_load(CASES).items()]
)
def test_what_the_specifications_say(policies: list[Manifest], answers: dict[str, str]) -> None:
    manifests = [_policy(kind, spec) for policy in policies for kind, spec in policy.items()]
    # Only ipBlock depends on whether it matches pods, and no case here has one that would.
    for ip_blocks_match_pods in (True, False):
        cluster = Cluster(yaml.safe_load(PLATFORM) + manifests, ip_blocks_match_pods)
        assert {question: _outcomes(cluster, question) for question in answers} == {
            question: set(product(*(VERDICTS[word] for word in answer.split()))) for question, answer in answers.items()
        }


def _policy(kind: str, spec: Manifest) -> Manifest:
    namespace = spec.get("namespace", "x")
    return {
        "kind": kind,
        "metadata": {"name": "default", "namespace": namespace},
        "spec": DEFAULTS.get(kind, {}) | spec,
    }


def _outcomes(cluster: Cluster, question: str) -> frozenset[tuple[bool, bool]]:
    source, destination, port = question.split()
    protocol, number = port.split("/")
    return cluster.outcomes(source, destination, protocol, int(number))


@pytest.mark.parametrize(
    ("cidr", "holes", "let_in"),
    [
        ("10.0.0.0/30", [], True),
        ("10.0.0.1/32", [], True),
        ("10.0.0.0/30", ["10.0.0.1/32"], False),
        ("10.0.0.0/32", [], False),
        ("fd00::/126", [], True),
        ("fd00::/126", ["fd00::1/128"], False),
    ],
)
def test_an_ip_block_matches_pods_by_any_address_if_at_all(cidr: str, holes: list[str], let_in: bool) -> None:
    block = {"ipBlock": {"cidr": cidr, "except": holes}}
    manifests = [
        *yaml.safe_load(PLATFORM),
        _policy("NetworkPolicy", {"namespace": "y", "ingress": [{"from": [block]}]}),
    ]
    assert Cluster(manifests, ip_blocks_match_pods=True).outcomes("x/a", "y/c", "TCP", 80) == {(True, let_in)}
    assert Cluster(manifests, ip_blocks_match_pods=False).outcomes("x/a", "y/c", "TCP", 80) == {(True, False)}


def test_the_local_node_is_like_any_other_if_so_asked() -> None:
    manifests = [*yaml.safe_load(PLATFORM), _policy("NetworkPolicy", {})]
    cluster = Cluster(manifests, ip_blocks_match_pods=True, local_node_reaches_pods=False)
    assert cluster.outcomes("10.9.0.1", "x/a", "TCP", 80) == {(True, False)}


@given(st.data())
@settings(max_examples=100)
def test_the_order_of_manifests_means_nothing(data: st.DataObject) -> None:
    manifests = data.draw(clusters())
    probe = data.draw(probes(manifests))
    forwards, backwards = (Cluster(ordered, ip_blocks_match_pods=True) for ordered in (manifests, manifests[::-1]))
    assert forwards.outcomes(*probe) == backwards.outcomes(*probe) != frozenset()
