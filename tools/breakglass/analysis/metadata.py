"""What the API server asks of the metadata of every object.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ and `ValidateObjectMeta` of
k8s.io/apimachinery. What only concerns storage (owners, finalizers, managed fields) is not looked into.
"""

from __future__ import annotations

from breakglass.analysis.field import is_subdomain, known, label_complaint, labels, mapping, strings, text
from breakglass.model.manifest import Manifest, key_of
from breakglass.model.source import Place

_FIELDS = {
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
}
_MOST_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values together."""


def check_metadata(manifest: Manifest, where: Place, *, namespaced: bool) -> None:
    """See that the API server takes an object's metadata. The namespace of a cluster-wide object means nothing.

    Raises:
        Refused: an unknown field; a name, namespace, label or annotation that is none.
    """
    metadata, name = mapping(manifest, "metadata", where), key_of(manifest).name
    known(metadata, _FIELDS, "metadata", where)
    if not is_subdomain(name):
        raise where.refusal(f"{name[:80]!r} is no object's name", metadata, "name")
    namespace = text(metadata, "namespace", where)
    if namespaced and namespace and not is_namespace(namespace):
        raise where.refusal(f"{namespace[:80]!r} is no namespace's name", metadata, "namespace")
    labels(metadata, "labels", where)
    annotations = strings(metadata, "annotations", where)
    for key in annotations:
        # Unlike a label's, the prefix of an annotation's key may have capitals.
        if label_complaint(key.lower()):
            raise where.refusal(f"{key[:80]!r} is no annotation's name", annotations, key)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _MOST_ANNOTATIONS:
        raise where.refusal(f"annotations have more than {_MOST_ANNOTATIONS} bytes", metadata, "annotations")


def is_namespace(name: str) -> bool:
    """Whether a namespace may be called this: a DNS label (RFC 1123)."""
    return len(name) <= 63 and "." not in name and is_subdomain(name)
