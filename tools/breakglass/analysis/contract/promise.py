"""Promises of a contract, judged; and the names that an overlay's own objects have in it."""

from __future__ import annotations

from dataclasses import dataclass

from breakglass.model.finding import Finding, refuses

NARROW = "narrow the overlay, or add it to the contract"
REMOVE = "remove it from the contract"
UNTRUE = "remove it from the contract, or shut it in the baseline"


@dataclass(frozen=True, slots=True)
class Judged:
    """One promise.

    Attributes:
        field: the contract's field that it stands in, such as `keepsShut`.
        promise: for people.
        findings: what is wrong about it; warnings leave it kept.
    """

    field: str
    promise: str
    findings: tuple[Finding, ...]

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return not refuses(list(self.findings))


def plain(name: str, activation: str) -> str:
    """A name without the suffix `-<activation>` that the overlay's own objects carry."""
    return name.removesuffix(f"-{activation}") if activation else name


def names_in_cluster(name: str, activation: str) -> tuple[str, ...]:
    """What an object of the contract may be called in the cluster."""
    return (name, f"{name}-{activation}") if activation else (name,)
