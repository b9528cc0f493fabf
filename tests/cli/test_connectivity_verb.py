"""`breakglass connectivity` from files to what is printed, and how it ends."""

from __future__ import annotations

import io
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from syrupy.assertion import SnapshotAssertion

from breakglass.cli import breakglass, failure
from model.bad_streams import BAD_STREAMS

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("breakglass")
SECONDS = 10
"""That bad input may take, on a machine with other work."""
MEGABYTES = 400
"""Resident memory that the largest bad input, of 22 MB, may take."""

SHOP = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          ports:
            - {name: http, containerPort: 8080}
---
apiVersion: v1
kind: Pod
metadata:
  name: db
  namespace: shop
  labels: {app: db}
status:
  podIP: 10.0.0.7
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports:
    - {port: 80, targetPort: http}
"""
DENY = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: deny
  namespace: shop
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
"""
OPEN = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: open
  namespace: shop
spec:
  podSelector:
    matchLabels: {app: web}
  ingress:
    - from:
        - ipBlock:
            cidr: 10.0.0.0/8
            except: [10.1.0.0/16]
        - podSelector:
            matchLabels: {app: db}
      ports:
        - protocol: TCP
          port: 8080
          endPort: 8090
"""
ADMIN = """\
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata:
  name: admin
spec:
  tier: Admin
  priority: 10
  subject:
    namespaces: {}
  egress:
    - action: Deny
      to:
        - networks: [169.254.0.0/16]
      protocols:
        - tcp: {destinationPort: {range: {start: 1, end: 100}}}
"""
EVERYTHING = SHOP + DENY + OPEN + ADMIN
PROBES: list[dict[str, Any]] = [
    {"id": "first", "from": "10.2.0.1", "to": "shop/web[Service]", "port": 80, "protocol": "TCP"},
    {"id": 2, "from": "10.1.0.1", "to": "shop/web", "port": "http", "protocol": "TCP"},
    {"id": 3, "from": "10.0.0.7", "to": "shop/web", "port": 8081},
]


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a directory with `before.yaml`, `after.yaml` and `probes.json`, as a process would."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("before.yaml", SHOP + DENY), ("after.yaml", EVERYTHING), ("probes.json", json.dumps(PROBES)),
    ):  # fmt: skip
        Path(name).write_text(text, encoding="utf-8")

    def run(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["breakglass", "connectivity", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        code = failure.run(breakglass)
        return Done(code, *capfd.readouterr())

    return run


SCHEMAS = {
    name: Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / f"connectivity-{name}.json").read_text()))
    for name in ("map", "diff", "query")
}

MAP = ("map", "after.yaml")
DIFF = ("diff", "before.yaml", "after.yaml")
QUERY = ("query", "after.yaml", "--probes", "probes.json")
VERBS = [
    pytest.param(MAP, id="map"),
    pytest.param((*MAP, "--summary"), id="map --summary"),
    pytest.param(DIFF, id="diff"),
    pytest.param((*DIFF, "--summary"), id="diff --summary"),
    pytest.param((*DIFF, "--why"), id="diff --why"),
    pytest.param(QUERY, id="query"),
]


@pytest.mark.parametrize("arguments", VERBS)
def test_json_is_as_its_schema_says(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--output", "json")
    assert (done.code, done.stderr) == (0, "")
    SCHEMAS[arguments[0]].validate(done.json)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_refuses_what_is_wrong(name: str) -> None:
    schema = SCHEMAS[name].schema
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/connectivity-{name}.json")
    wrong: list[Any] = [{}, None, [{"id": 1}], {"schema": f"breakglass.dev/connectivity-{name}/v1alpha1"}]
    if name == "map":
        row = {"source": "x/a[Pod]", "destination": "10.0.0.0-10.0.0.1", "ports": []}
        head = {"schema": "breakglass.dev/connectivity-map/v1alpha1"}
        assert SCHEMAS[name].is_valid({**head, "connections": [row]})
        wrong += [{**head, "connections": [row | {"source": end}]} for end in ("x/a", "10.0.0.0/8", "a", "")]
        wrong += [{**head, "connections": [row | {"ports": [{"protocol": "TCP", "from": 0, "to": 1}]}]}]
        wrong += [{**head, "connections": [row], "rectangles": []}, {**head, "connections": [row | {"depends": []}]}]
    assert not any(SCHEMAS[name].is_valid(each) for each in wrong)


def test_the_map_in_json(run: Run) -> None:
    rows = {(row["source"], row["destination"]): row for row in run(*MAP, "-o", "json").json["connections"]}
    ports = [{"protocol": "TCP", "from": 8080, "to": 8090}]
    assert rows == {
        (source, "shop/web[Deployment]"): {"source": source, "destination": "shop/web[Deployment]", "ports": ports}
        for source in ("10.0.0.0-10.0.255.255", "10.2.0.0-10.255.255.255")
    }


def test_the_difference_in_json(run: Run) -> None:
    done = run("diff", "before.yaml", "-", "-o", "json", "--why", stdin=SHOP)
    changes = {(row["source"], row["destination"]): row for row in done.json["changes"]}
    row = changes["shop/db[Pod]", "shop/web[Deployment]"]
    assert (row["type"], row["before"], len(row["after"])) == ("added", [], 3)
    assert row["because"] == [
        "before: egress: isolated by NetworkPolicy shop/deny, and no rule of it accepts",
        "before: ingress: isolated by NetworkPolicy shop/deny, and no rule of it accepts",
        "after: egress: no policy decides, so it is allowed",
        "after: ingress: no policy decides, so it is allowed",
    ]
    assert done.json["isolationFlips"][0] == {
        "workload": "shop/db[Pod]",
        "direction": "egress",
        "before": "isolated",
        "after": "open",
        "because": ["NetworkPolicy shop/deny"],
    }
    assert "because" not in run("diff", "before.yaml", "-", "-o", "json", stdin=SHOP).json["changes"][0]


def test_the_summary_holds_the_pairs(run: Run) -> None:
    pairs = run("map", "-", "-o", "json", stdin=SHOP).json["connections"]
    rectangles = run("map", "-", "-o", "json", "--summary", stdin=SHOP).json["rectangles"]
    assert len(rectangles) < len(pairs)
    assert sorted((row["source"], row["destination"]) for row in pairs) == sorted(
        (source, destination)
        for rectangle in rectangles
        for source in rectangle["sources"]
        for destination in rectangle["destinations"]
        if source != destination
    )


def test_answers_come_in_the_order_asked(run: Run) -> None:
    done = run(*QUERY, "-o", "json")
    assert done.code == 0
    assert [(row["id"], row["verdict"], row["egress"], row["ingress"]) for row in done.json] == [
        ("first", "allow", "allow", "allow"),
        (2, "deny", "allow", "deny"),
        (3, "deny", "deny", "allow"),
    ]
    assert done.json[0]["why"] == [
        "egress: no policy decides, so it is allowed",
        "ingress: NetworkPolicy shop/open ingress[0] accepts",
    ]


@pytest.mark.parametrize("output", ["text", "markdown", "svg", "dot"])
@pytest.mark.parametrize("arguments", VERBS)
def test_every_output(run: Run, arguments: tuple[str, ...], output: str) -> None:
    done = run(*arguments, "--output", output)
    assert (done.code, done.stderr) == (0, "")
    assert "10.2.0.1" in done.stdout or "10.2.0.0" in done.stdout
    assert "TCP 8080-8090" in done.stdout or arguments == QUERY
    assert run(*arguments, "--output", output).stdout == done.stdout


@pytest.mark.parametrize("more", [(), ("--summary",)])
@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize(
    ("before", "after", "code"),
    [("before", "after", 1), ("after", "before", 1), ("after", "after", 0)],
)
def test_the_exit_code_tells_a_difference_where_it_is_asked_to(
    run: Run, before: str, after: str, code: int, output: str, more: tuple[str, ...]
) -> None:
    compared = ("diff", f"{before}.yaml", f"{after}.yaml", "-o", output, *more)
    told = run(*compared, "--exit-code")
    assert (told.code, told.stderr) == (code, "")
    assert run(*compared) == Done(0, told.stdout, "")


def test_an_isolation_flip_alone_is_a_difference(run: Run) -> None:
    free = SHOP + DENY.replace("policyTypes: [Ingress, Egress]", "ingress: [{}]")
    Path("free.yaml").write_text(free)
    done = run("diff", "-", "free.yaml", "-o", "json", "--exit-code", stdin=SHOP)
    assert (done.code, done.json["changes"], len(done.json["isolationFlips"])) == (1, [], 2)


def test_standard_input_is_read_once(run: Run) -> None:
    assert "shop/web[Deployment]" in run("map", "-", stdin=EVERYTHING).stdout
    done = run("diff", "-", "-", stdin=SHOP)
    assert (done.code, done.stdout) == (1, "")
    assert "standard input can be read once" in done.stderr


def test_a_directory_is_all_of_its_manifests(run: Run, tmp_path: Path) -> None:
    (tmp_path / "all" / "deep").mkdir(parents=True)
    (tmp_path / "all" / "shop.yml").write_text(SHOP)
    policies = [each for each in yaml.safe_load_all(DENY + OPEN) if each]
    (tmp_path / "all" / "deep" / "policies.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": policies})
    )
    (tmp_path / "all" / "notes.txt").write_text("kind: [")
    assert run("map", "all", "-o", "json").json == run("map", "-", "-o", "json", stdin=SHOP + DENY + OPEN).json


def test_items_of_a_pod_list_carry_no_kind(run: Run) -> None:
    items = [{"metadata": {"name": name, "namespace": "x"}} for name in "ab"]
    done = run("map", "-", "-o", "json", stdin=json.dumps({"apiVersion": "v1", "kind": "PodList", "items": items}))
    assert ("x/a[Pod]", "x/b[Pod]") in [(row["source"], row["destination"]) for row in done.json["connections"]]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ((), ("depends", ["10.0.0.7"])),
        (("--ip-blocks-match-pods", "both"), ("depends", ["10.0.0.7"])),
        (("--ip-blocks-match-pods", "yes"), ("allow", ["10.0.0.7"])),
        (("--ip-blocks-match-pods", "no"), ("deny", ["10.0.0.7"])),
        (("--cni", "cilium"), ("deny", ["10.0.0.7"])),
        (("--cni", "calico"), ("allow", ["10.0.0.7"])),
        (("--cni", "cilium", "--ip-blocks-match-pods", "yes"), ("allow", ["10.0.0.7"])),
    ],
)
def test_whose_reading_of_policies(run: Run, options: tuple[str, ...], rows: tuple[str, list[str]]) -> None:
    blocks = OPEN.replace("        - podSelector:\n            matchLabels: {app: db}\n", "")
    Path("blocks.yaml").write_text(SHOP + blocks)
    Path("one.json").write_text(json.dumps([{"id": 1, "from": "shop/db", "to": "shop/web", "port": 8080}]))
    verdict, _ = rows
    assert run("query", "blocks.yaml", "--probes", "one.json", "-o", "json", *options).json[0]["verdict"] == verdict
    found = {
        row["source"]: "depends" if "depends" in row else "allow"
        for row in run("map", "blocks.yaml", "-o", "json", *options).json["connections"]
        if row["destination"] == "shop/web[Deployment]"
    }
    assert found.get("shop/db[Pod]", "deny") == verdict
    changed = run("diff", "before.yaml", "blocks.yaml", "-o", "json", *options).json["changes"]
    row = next((row for row in changed if row["source"] == "shop/db[Pod]" and "web" in row["destination"]), {})
    assert ("deny" if not row else "depends" if "depends" in row else "allow") == verdict


INGRESS = """\
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  rules:
    - host: shop.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
"""


def test_whatever_serves_ingresses_is_a_source(run: Run) -> None:
    rows = [
        row
        for row in run("map", "-", "-o", "json", stdin=SHOP + INGRESS).json["connections"]
        if "{" in str(row["source"])
    ]
    assert rows == [
        {
            "source": "{ingress-controller}",
            "destination": "shop/web[Deployment]",
            "ports": [{"protocol": "TCP", "from": 8080, "to": 8080}],
        }
    ]
    assert "{ingress-controller}" not in run("map", "-", "-o", "json", stdin=SHOP + DENY + INGRESS).stdout
    Path("routed.yaml").write_text(SHOP + INGRESS)
    done = run("diff", "-", "routed.yaml", "-o", "json", "--summary", stdin=SHOP)
    assert [row["because"] for row in done.json["rectangles"]] == [["after: a route leads there"]]


def refused(done: Done, file: str, *, code: int = 1) -> str:
    """A clean error: nothing on stdout, the file named, something to do, no trace."""
    assert done.code in (code, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "please report" not in done.stderr
    assert file in done.stderr
    assert len(done.stderr) < 2_000
    return done.stderr


POLICY_TAIL = OPEN.partition("spec:\n")[0] + "spec:\n"


def with_spec(**spec: Any) -> str:
    return POLICY_TAIL + "".join(
        f"  {line}\n" for line in yaml.safe_dump({"podSelector": {}, **spec}, sort_keys=False).splitlines()
    )


def with_admin(**spec: Any) -> str:
    (policy,) = (each for each in yaml.safe_load_all(ADMIN) if each)
    policy["spec"] |= spec
    return f"---\n{yaml.safe_dump(policy, sort_keys=False)}"


def into(*rules: Any) -> str:
    return with_spec(ingress=list(rules))


def block(cidr: Any, *holes: Any) -> str:
    return into({"from": [{"ipBlock": {"cidr": cidr, "except": list(holes)}}]})


def to_admin(peer: Any, **rule: Any) -> str:
    return with_admin(egress=[{"action": "Deny", "to": [peer], **rule}])


BAD_OBJECTS = {
    "the same object twice": (DENY, DENY, "stands at bad.yaml"),
    "no apiVersion": ("", "---\nkind: Pod\nmetadata: {name: a}\n", "without apiVersion"),
    "no kind": ("", "---\napiVersion: v1\nmetadata: {name: a}\n", "without kind"),
    "no name": ("", "---\napiVersion: v1\nkind: Pod\n", "without metadata.name"),
    "text": ("", "---\njust words\n", "no object"),
    "a list": ("", "---\n- apiVersion: v1\n", "no object"),
    "a key twice": ("", OPEN.replace("  podSelector:\n", "  ingress: []\n  podSelector:\n"), "ingress"),
    "a circle of anchors": ("", "---\n&a {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: *a}\n", ""),
    "a namespace of a number": ("", "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: 1}\n", "not text"),
    "ports: {}": ("", into({"ports": {}}), "ports is not"),
    "podSelector: []": ("", with_spec(podSelector=[]), "podSelector is not an object"),
    "matchLabels of a number": ("", with_spec(podSelector={"matchLabels": {"app": 1}}), "not text"),
    "a selector that contains itself": (
        "", OPEN.replace("podSelector:\n    matchLabels: {app: web}", "podSelector: &s\n    matchLabels: *s"), "",
    ),
    "a label of a megabyte": ("", SHOP.replace("app: web", f"app: {'w' * 1_000_000}"), "Deployment"),
    "a label's name of a megabyte": ("", with_spec(podSelector={"matchLabels": {"w" * 1_000_000: "a"}}), "no label's"),
    "an operator that is none": (
        "", with_spec(podSelector={"matchExpressions": [{"key": "a", "operator": "Equals"}]}), "no operator",
    ),
    "a CIDR without length": ("", block("10.0.0.0"), "no CIDR"),
    "a CIDR of five bytes": ("", block("10.0.0.0.0/8"), "no CIDR"),
    "a CIDR of 33 bits": ("", block("10.0.0.0/33"), "no CIDR"),
    "a CIDR with a leading zero": ("", block("10.0.0.010/32"), "no CIDR"),
    "a CIDR of a number": ("", block(10), "cidr is not text"),
    "an exception outside": ("", block("10.0.0.0/8", "11.0.0.0/9"), "11.0.0.0/9"),
    "an exception that is all": ("", block("10.0.0.0/8", "10.0.0.0/8"), "10.0.0.0/8"),
    "an exception of the other family": ("", block("10.0.0.0/8", "fd00::/8"), "fd00::/8"),
    "an IPv6 address with two gaps": ("", block("fd00::1::/64"), "no CIDR"),
    "port 0": ("", into({"ports": [{"port": 0}]}), "port"),
    "port 70000": ("", into({"ports": [{"port": 70000}]}), "port"),
    "port 2^64": ("", into({"ports": [{"port": 2**64}]}), "port"),
    "port true": ("", into({"ports": [{"port": True}]}), "port"),
    "a reversed range": ("", into({"ports": [{"port": 90, "endPort": 80}]}), "range"),
    "endPort without port": ("", into({"ports": [{"endPort": 80}]}), "endPort"),
    "endPort of a name": ("", into({"ports": [{"port": "http", "endPort": 80}]}), "endPort"),
    "a protocol that is none": ("", into({"ports": [{"port": 80, "protocol": "ICMP"}]}), "protocol"),
    "an empty peer": ("", into({"from": [{}]}), "peer"),
    "an unknown peer": ("", into({"from": [{"serviceAccounts": {}}]}), "serviceAccounts"),
    "a peer of two kinds": ("", into({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}), "ipBlock"),
    "a misspelt rule": ("", into({"form": []}), "form"),
    "a direction that is none": ("", with_spec(policyTypes=["ingress"]), "policyTypes"),
    "an unknown peer of a ClusterNetworkPolicy": ("", to_admin({"serviceAccounts": {}}), "serviceAccounts"),
    "nonsense of networks": ("", to_admin({"networks": ["10.0.0.0/99"]}), "networks"),
    "no priority": ("", with_admin(priority=None), "priority"),
    "a priority beyond 1000": ("", with_admin(priority=1001), "priority"),
    "a tier that is none": ("", with_admin(tier="Network"), "tier"),
    "a reversed range of a ClusterNetworkPolicy": (
        "",
        to_admin({"nodes": {}}, protocols=[{"tcp": {"destinationPort": {"range": {"start": 2, "end": 1}}}}]),
        "start is greater than end",
    ),
    "26 rules": ("", with_admin(egress=[{"action": "Deny", "to": [{"nodes": {}}]}] * 26), "egress has 26 items"),
    "domain names that are denied": ("", to_admin({"domainNames": ["example.com"]}), "domainNames"),
    "a version that is not read": ("", ADMIN.replace("v1alpha2", "v1beta9"), "v1beta9"),
    "a pod's address that is none": ("", SHOP.replace("10.0.0.7", "10.0.0.777"), "podIP"),
    "containers that are none": ("", SHOP.replace("- {name: http, containerPort: 8080}", "name: http"), "ports is not"),
    "an unpaired surrogate": ("", '---\n{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\\ud800"}}\n', ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OBJECTS)
@pytest.mark.parametrize("verb", ["map", "diff", "query"])
def test_bad_objects_end_in_a_clean_error(run: Run, name: str, verb: str) -> None:
    first, bad, words = BAD_OBJECTS[name]
    base = "" if "kind: Deployment" in bad else SHOP
    Path("bad.yaml").write_text(base + first + bad)
    arguments = {
        "map": ("map", "bad.yaml"),
        "diff": ("diff", "before.yaml", "bad.yaml"),
        "query": ("query", "bad.yaml"),
    }
    probes = ("--probes", "probes.json") * (verb == "query")
    told = refused(run(*arguments[verb], *probes, "-o", "json"), "bad.yaml:")
    assert words in told


def test_the_line_is_the_fields_own(run: Run) -> None:
    Path("bad.yaml").write_text(SHOP + OPEN.replace("port: 8080\n", "port: 0\n"))
    line = (SHOP + OPEN).splitlines().index("          port: 8080") + 1
    assert f"bad.yaml:{line}:" in run("map", "bad.yaml").stderr


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_bad_streams_end_in_a_clean_error_in_bounded_time_and_memory(tmp_path: Path, name: str) -> None:
    make, line, words = BAD_STREAMS[name]
    (tmp_path / "bad.yaml").write_text(make())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(
        [PROGRAM, "connectivity", "map", "bad.yaml", "-o", "json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEGABYTES << 20, MEGABYTES << 20)),
    )  # fmt: skip
    told = refused(Done(done.returncode, done.stdout, done.stderr), f"bad.yaml:{line}:")
    assert words in told
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        pytest.param(("map", "absent.yaml"), "absent.yaml", id="no such file"),
        pytest.param(("diff", "before.yaml", "absent"), "absent", id="no such directory"),
        pytest.param(("query", "after.yaml", "--probes", "absent.json"), "absent.json", id="no such probes"),
        pytest.param(("query", "after.yaml"), "--probes", id="no probes"),
        pytest.param(("map",), "PATH", id="no path"),
        pytest.param(("map", "after.yaml", "--output", "yaml"), "yaml", id="an output that is none"),
        pytest.param(("map", "after.yaml", "--cni", "weave"), "weave", id="a CNI that nobody knows"),
        pytest.param(("map", "after.yaml", "--ip-blocks-match-pods", "maybe"), "maybe", id="a setting that is none"),
    ],
)
def test_a_wrong_call(run: Run, arguments: tuple[str, ...], file: str) -> None:
    refused(run(*arguments), file)


@pytest.mark.parametrize(
    ("probes", "words"),
    [
        ("{", "probes.json:1"),
        ('[{"id": 1}]', "probes.json: probe 1"),
        (json.dumps([PROBES[0] | {"port": 0}]), "probes.json: probe 1"),
        (json.dumps([PROBES[0] | {"to": "shop/absent"}]), "shop/absent"),
        (json.dumps([PROBES[0], PROBES[0]]), "first"),
    ],
)
def test_bad_probes(run: Run, probes: str, words: str) -> None:
    Path("probes.json").write_text(probes)
    assert words in refused(run(*QUERY, "-o", "json"), "probe")


MORE = """\
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: worker}}
status: {addresses: [{type: InternalIP, address: 10.9.0.1}, {type: Hostname, address: n1}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: clean, namespace: shop}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: clean}}, spec: {hostNetwork: true, nodeName: n1}}}}}
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: {name: default}
spec:
  subject: {pods: {podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}]}}}
  ingress: [{name: rest, action: Deny, from: [{namespaces: {}}], ports: [{portNumber: {port: 81, protocol: UDP}}]}]
"""
GOOD = [each for each in yaml.safe_load_all(EVERYTHING + INGRESS + MORE) if each]
NONSENSE: list[Any] = [
    *(None, "", "x", 0, -1, 70_000, 2**64, 1.5, True, [], {}, [{}], [None], ["x"], {"x": "y"}, {"": None}),
    *("10.0.0.0/8", "::/0", "\x00", "ü", "a" * 300, "{ingress-controller}", "x/y[Pod]", "1.1.1.1-2.2.2.2"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, from the outside in."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mangled(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = deepcopy(document)
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    change(inner, path[-1])
    return copy


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_mangled_is_read_or_refused(run: Run, data: st.DataObject) -> None:
    documents: list[Any] = list(GOOD)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in places(documents) if len(path) > 1]))
        value = data.draw(st.sampled_from(NONSENSE))
        if data.draw(st.booleans()):
            documents = mangled(
                documents, path, lambda inner, key, value=value: inner.__setitem__(key, deepcopy(value))
            )
        else:
            documents = mangled(documents, path, lambda inner, key: inner.__delitem__(key))
    Path("mangled.json").write_text("".join(f"{json.dumps(each)}\n" for each in documents))
    output = data.draw(st.sampled_from(["json", "text", "markdown", "svg", "dot"]))
    verb = data.draw(st.sampled_from(["map", "diff"]))
    done = run(*("map", "mangled.json") if verb == "map" else ("diff", "after.yaml", "mangled.json"), "-o", output)
    if done.code:
        refused(done, "mangled.json:")
    else:
        assert done.stderr == ""
        if output == "json":
            SCHEMAS[verb].validate(done.json)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_cut_or_spliced_is_read_or_refused(run: Run, data: st.DataObject) -> None:
    text = EVERYTHING
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    splice = data.draw(
        st.sampled_from(["", "\t", "*a", "&a ", "- ", ": ", "{", "]", "---\n", "\x07", "!!python/none ", "<<: "])
    )
    Path("cut.yaml").write_text(text[:begin] + splice + text[end:])
    done = run("map", "cut.yaml", "-o", "json")
    if done.code:
        refused(done, "cut.yaml:")
    else:
        SCHEMAS["map"].validate(done.json)


@pytest.mark.parametrize("step", [1, 2], ids=["that adjoin", "apart"])
def test_thousands_of_ports_of_a_policy_cost_no_more_than_so_many(run: Run, step: int) -> None:
    ports = [{"port": 1 + number * step} for number in range(30_000)]
    Path("many.yaml").write_text(SHOP + into({"ports": ports}))
    begin = time.process_time()
    done = run("map", "many.yaml", "-o", "json", "--summary")
    assert time.process_time() - begin < SECONDS
    rectangle = next(row for row in done.json["rectangles"] if "shop/db[Pod]" in row["destinations"])
    assert len(rectangle["ports"]) == (1 if step == 1 else 30_000)


def test_the_whole_command_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "after.yaml").write_text(EVERYTHING)
    done = subprocess.run(
        [PROGRAM, "connectivity", "diff", "-", "after.yaml", "--exit-code", "-o", "json"],
        input=SHOP + DENY, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    SCHEMAS["diff"].validate(json.loads(done.stdout))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example platform and, in `after`, one with two overlays open."""
    place = tmp_path_factory.mktemp("platform")
    shutil.copytree(ROOT / "base", place / "base")
    for overlay in ("db-from-bastion", "lift-isolation"):
        shutil.copytree(ROOT / "overlays" / "emergency" / overlay, place / overlay)
    (place / "after").mkdir()
    opened = {"resources": ["../base"], "components": ["../db-from-bastion", "../lift-isolation"]}
    (place / "after" / "kustomization.yaml").write_text(yaml.safe_dump(opened))
    (place / ".git").mkdir()
    return place


@pytest.mark.parametrize("more", [(), ("--summary",)], ids=["pairs", "summary"])
@pytest.mark.parametrize("output", ["text", "markdown"])
@pytest.mark.parametrize(
    "arguments", [("map", "base"), ("diff", "base", "after"), ("diff", "after", "base")], ids=["map", "opens", "closes"]
)
def test_the_example_platform_is_told_as_before(
    run: Run, platform: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion,
    arguments: tuple[str, ...], output: str, more: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(platform)
    done = run(*arguments, *more, "--output", output)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == snapshot
