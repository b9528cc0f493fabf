"""What stands in front of a backend: source ranges and identity checks, as annotations, filters and Middlewares say.

Known are Traefik (https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/ingress/) and ingress-nginx
(https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/). Annotations of one count for
nothing where the IngressClass names the other. Each `Front` is one way past: with nginx's `satisfy: any` there are two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from breakglass.analysis.exposure.entry import Front
from breakglass.analysis.exposure.network_field import address_ranges, is_kind, needed_text
from breakglass.analysis.exposure.ranges import merged
from breakglass.analysis.field import mapping, mappings, namespace_of, place, strings, text, texts
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

TRAEFIK_GROUPS = ("traefik.io", "traefik.containo.us")

_TRAEFIK = "traefik.ingress.kubernetes.io/router."
_NGINX = "nginx.ingress.kubernetes.io/"
_CONTROLLERS = {"traefik.io/ingress-controller": _TRAEFIK, "k8s.io/ingress-nginx": _NGINX}
_OWN_CLASS = "kubernetes.io/ingress.class"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_PROVIDER = "@kubernetescrd"
_UNVERIFIED = ("off", "optional", "optional_no_ca")
"""Values of `auth-tls-verify-client` with which a request without certificate passes."""

_OPEN = Front()


@dataclass(frozen=True, slots=True)
class Fronts:
    """What the objects of a state put in front of backends.

    Attributes:
        middlewares: Traefik's, by namespace and name.
        classes: controller by name of the IngressClass; by the empty name that of the default class.
        encrypted: names of Traefik's entry points that end TLS.
    """

    middlewares: Mapping[tuple[str, str], Manifest]
    classes: Mapping[str, str]
    encrypted: frozenset[str]

    def of_ingress(self, manifest: Manifest) -> tuple[Front, ...]:
        """Every way past what the annotations of an Ingress put in front; none where nobody passes.

        Raises:
            Refused: an annotation or a Middleware is no text, or names a range of addresses that is none.
        """
        where, annotations = place(manifest), _annotations(manifest)
        fronts: tuple[Front, ...] = (_OPEN,)
        if self._listens(manifest, _TRAEFIK):
            fronts = _after(fronts, self._traefik(annotations))
        if self._listens(manifest, _NGINX):
            fronts = _after(fronts, _nginx(annotations, namespace_of(manifest), where))
        return fronts

    def of_middleware(self, namespace: str, name: str) -> Front | None:
        """What a Middleware asks of a request; None where nobody passes.

        A Middleware that is not among the objects asks nothing: Traefik serves no route that names one it does not
        know, but it may know this one from elsewhere.

        Raises:
            Refused: it is not what the API server takes.
        """
        front: Front | None = _OPEN
        for manifest in self._chain(namespace, name, frozenset()):
            front = front and front.then(_middleware(manifest))
        return front

    def ends_tls(self, manifest: Manifest) -> bool:
        """Whether the annotations of an Ingress say that Traefik ends TLS for it, whatever its `spec.tls` says."""
        annotations = _annotations(manifest)
        names = _listed(annotations.get(f"{_TRAEFIK}entrypoints", ""))
        encrypted = bool(names) and all(name.lower() in self.encrypted for name in names)
        asked = annotations.get(f"{_TRAEFIK}tls", "") == "true" or encrypted
        return asked and self._listens(manifest, _TRAEFIK)

    def passes_tls(self, manifest: Manifest) -> bool:
        """Whether the annotations of an Ingress have nginx pass TLS through to the pods."""
        passed = _annotations(manifest).get(f"{_NGINX}ssl-passthrough", "") == "true"
        return passed and self._listens(manifest, _NGINX)

    def _listens(self, manifest: Manifest, annotations: str) -> bool:
        """Whether the controller of an Ingress may be the one that reads these annotations."""
        where = place(manifest)
        own = _annotations(manifest).get(_OWN_CLASS, "")
        name = text(mapping(manifest, "spec", where), "ingressClassName", where) or own
        controller = self.classes.get(name)
        return controller is None or _CONTROLLERS.get(controller) == annotations

    def _traefik(self, annotations: Mapping[str, str]) -> tuple[Front, ...]:
        front: Front | None = _OPEN
        # <namespace>-<name>@kubernetescrd: only what exists tells where the one ends and the other begins.
        names = {f"{namespace}-{name}{_PROVIDER}": (namespace, name) for namespace, name in self.middlewares}
        for written in _listed(annotations.get(f"{_TRAEFIK}middlewares", "")):
            found = self.of_middleware(*names[written]) if written in names else _OPEN
            front = front and found and front.then(found)
        return (front,) if front else ()

    def _chain(self, namespace: str, name: str, above: frozenset[tuple[str, str]]) -> Iterator[Manifest]:
        """A Middleware and all that it chains, each once on its way."""
        manifest = self.middlewares.get((namespace, name))
        if manifest is None or (namespace, name) in above:
            return
        yield manifest
        where = place(manifest)
        chain = mapping(mapping(manifest, "spec", where), "chain", where)
        for item in mappings(chain, "middlewares", where):
            inner = text(item, "namespace", where, namespace), needed_text(item, "name", where)
            yield from self._chain(*inner, above | {(namespace, name)})


def read_fronts(manifests: Iterable[Manifest]) -> Fronts:
    """Middlewares, IngressClasses and the entry points of Traefik among the objects.

    Raises:
        Refused: one of them is not what the API server takes.
    """
    middlewares: dict[tuple[str, str], Manifest] = {}
    classes: dict[str, str] = {}
    encrypted: set[str] = set()
    for manifest in manifests:
        if any(is_kind(manifest, group, "Middleware", "v1alpha1") for group in TRAEFIK_GROUPS):
            middlewares[namespace_of(manifest), key_of(manifest).name] = manifest
        elif is_kind(manifest, "networking.k8s.io", "IngressClass", "v1"):
            where = place(manifest)
            controller = text(mapping(manifest, "spec", where), "controller", where)
            classes[key_of(manifest).name] = controller
            if _annotations(manifest).get(_DEFAULT_CLASS) == "true":
                classes[""] = controller
        elif manifest.get("kind") in ("Deployment", "DaemonSet"):
            encrypted.update(_encrypted_entry_points(manifest))
    return Fronts(middlewares, classes, frozenset(encrypted))


def _middleware(manifest: Manifest) -> Front:
    where = place(manifest)
    spec = mapping(manifest, "spec", where)
    checks = [
        f"{kind} {text(mapping(spec, kind, where), 'secret', where)}".rstrip()
        for kind in ("basicAuth", "digestAuth")
        if spec.get(kind) is not None
    ]
    if spec.get("forwardAuth") is not None:
        checks.append(f"forwardAuth {needed_text(mapping(spec, 'forwardAuth', where), 'address', where)}")
    ranges: list[str] = []
    for kind in ("ipAllowList", "ipWhiteList"):
        listed = mapping(spec, kind, where)
        ranges += address_ranges(texts(listed, "sourceRange", where), listed, "sourceRange", where)
    return Front(merged(ranges), tuple(sorted(checks)))


def _nginx(annotations: Mapping[str, str], namespace: str, where: Place) -> tuple[Front, ...]:
    ranges: list[str] = []
    for key in (f"{_NGINX}whitelist-source-range", f"{_NGINX}allowlist-source-range"):
        ranges += address_ranges(_listed(annotations.get(key, "")), annotations, key, where)
    checks = tuple(sorted(_nginx_checks(annotations, namespace)))
    if annotations.get(f"{_NGINX}satisfy", "all") == "any" and ranges and checks:
        return Front(merged(ranges)), Front(identity_checks=checks)
    return (Front(merged(ranges), checks),)


def _nginx_checks(annotations: Mapping[str, str], namespace: str) -> Iterator[str]:
    if url := annotations.get(f"{_NGINX}auth-url"):
        yield f"auth-url {url}"
    if kind := annotations.get(f"{_NGINX}auth-type"):
        yield f"auth-type {kind} {_secret(annotations.get(f'{_NGINX}auth-secret', ''), namespace)}"
    verified = annotations.get(f"{_NGINX}auth-tls-verify-client", "on") not in _UNVERIFIED
    if verified and (secret := annotations.get(f"{_NGINX}auth-tls-secret")):
        yield f"auth-tls {_secret(secret, namespace)}"


def _secret(name: str, namespace: str) -> str:
    return name if "/" in name else f"{namespace}/{name}"


def _encrypted_entry_points(manifest: Manifest) -> Iterator[str]:
    """Entry points that the arguments of a Traefik among the workloads give TLS to: `--entrypoints.NAME.http.tls`."""
    where = place(manifest)
    template = mapping(mapping(manifest, "spec", where), "template", where)
    for container in mappings(mapping(template, "spec", where), "containers", where):
        for argument in texts(container, "args", where):
            option, _, value = argument.removeprefix("--").lower().partition("=")
            steps = option.split(".")
            if (steps[0], *steps[2:4]) == ("entrypoints", "http", "tls") and value != "false":
                yield steps[1]


def _after(fronts: tuple[Front, ...], others: tuple[Front, ...]) -> tuple[Front, ...]:
    pairs = (one.then(other) for one in fronts for other in others)
    return tuple(front for front in pairs if front is not None)


def _annotations(manifest: Manifest) -> Mapping[str, str]:
    where = place(manifest)
    return strings(mapping(manifest, "metadata", where), "annotations", where)


def _listed(written: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in written.split(","))))
