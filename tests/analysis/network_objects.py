"""Small manifests for tests."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def namespace(name: str, **labels: str) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name: str, *ports: tuple[str, int], ip: str = "", **labels: str) -> Manifest:
    """A Pod `namespace/name`, labelled `app: name` and what else is asked for, with named TCP ports."""
    space, _, short = name.partition("/")
    found: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": space, "name": short, "labels": {"app": short, **labels}},
        "spec": {"containers": [{"ports": [{"name": word, "containerPort": number} for word, number in ports]}]},
    }
    return found | ({"status": {"podIP": ip}} if ip else {})


def workload(kind: str, name: str, **spec: Any) -> Manifest:
    """A workload with a template, `namespace/name`, labelled `app: name`."""
    space, _, short = name.partition("/")
    group = {"ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    template: Manifest = {"template": {"metadata": {"labels": {"app": short}}, "spec": {"containers": []}}}
    if kind == "CronJob":
        template = {"jobTemplate": {"spec": template}}
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"namespace": space, "name": short},
        "spec": {**template, **spec},
    }


def policy(name: str, **spec: Any) -> Manifest:
    """A NetworkPolicy `namespace/name`; it selects every pod unless `podSelector` says otherwise."""
    space, _, short = name.partition("/")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": space, "name": short},
        "spec": {"podSelector": {}, **spec},
    }


def app(name: str) -> Manifest:
    """A selector for the label `app`."""
    return {"matchLabels": {"app": name}}


def rbac(kind: str, name: str, **fields: Any) -> Manifest:
    """An RBAC object, `namespace/name` or `name`."""
    space, _, short = name.rpartition("/")
    metadata = {"name": short, **({"namespace": space} if space else {}), **fields.pop("metadata", {})}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **fields}


def rule(verbs: str, resources: str, group: str = "", names: tuple[str, ...] = ()) -> Manifest:
    """A rule, its verbs and resources separated by spaces."""
    found: Manifest = {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}
    return found | ({"resourceNames": list(names)} if names else {})


def bind(name: str, role: str, *subjects: str) -> Manifest:
    """A RoleBinding `namespace/name` or ClusterRoleBinding `name`; role is `Kind/name`, subjects as in a contract."""
    kind, _, short = role.partition("/")
    return rbac(
        "RoleBinding" if "/" in name else "ClusterRoleBinding",
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": short},
        subjects=[_subject(subject) for subject in subjects],
    )


def _subject(subject: str) -> Manifest:
    kind, _, name = subject.partition(":")
    if kind == "ServiceAccount":
        space, _, name = name.rpartition("/")
        return {"kind": kind, "name": name} | ({"namespace": space} if space else {})
    return {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def ingress(name: str, host: str | None, path: str, service: str, port: int | str, kind: str = "Prefix") -> Manifest:
    """An Ingress `namespace/name` of one host and path."""
    space, _, short = name.partition("/")
    number = {"number": port} if isinstance(port, int) else {"name": port}
    backend = {"service": {"name": service, "port": number}}
    found: Manifest = {"http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"namespace": space, "name": short},
        "spec": {"rules": [found | ({"host": host} if host else {})]},
    }


def service(name: str, selects: str, number: int, port_name: str = "") -> Manifest:
    """A Service `namespace/name` for the pods labelled `app: selects`."""
    space, _, short = name.partition("/")
    port: Manifest = {"port": number} | ({"name": port_name} if port_name else {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": space, "name": short},
        "spec": {"selector": {"app": selects}, "ports": [port]},
    }


def route(name: str, hosts: list[str], *rules: Manifest, parents: list[Manifest] | None = None) -> Manifest:
    """An HTTPRoute `namespace/name`."""
    space, _, short = name.partition("/")
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"namespace": space, "name": short},
        "spec": {"hostnames": hosts, "rules": list(rules), "parentRefs": parents or []},
    }
