"""The inventory: what is packed is unpacked, whatever else is there is refused."""

from __future__ import annotations

import gzip
import json
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.model.errors import InvalidFile
from breakglass.model.inventory import LARGEST_INVENTORY, Inventory, InventoryObject, objects_of, pack, unpack
from breakglass.model.manifest import Change, key_of
from ports.clock import NIGHT

MEBIBYTE = 1024 * 1024
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc/.", max_size=5), inner, max_size=3),
    max_leaves=8,
)


def manifest(name: str = "a", spec: Any = None) -> dict[str, Any]:
    identity = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**identity, "metadata": {"name": name, "namespace": "data"}, "spec": spec}


def inventory(objects: list[InventoryObject], **fields: Any) -> Inventory:
    values: dict[str, Any] = {
        "activation": "2026-11-23-db-from-bastion-7f3a",
        "overlay": "db-from-bastion",
        "digest": "sha256:" + "a" * 64,
        "commit": "b" * 40,
        "requestedBy": "on-call",
        "approvedBy": ["ada", "grace"],
        "openedAt": NIGHT,
        "expiry": NIGHT + timedelta(minutes=30),
        "phase": "opening",
        "objects": objects,
    }
    return Inventory(**(values | fields))


@given(json_values, json_values, st.sampled_from(["opening", "open", "closed"]), st.none() | st.floats(0, 1e6))
def test_an_inventory_is_read_as_it_was_written(before: Any, after: Any, phase: str, seconds: float | None) -> None:
    objects = [
        InventoryObject(baseline=manifest(spec=before), emergency=manifest(spec=after)),
        InventoryObject(baseline=None, emergency=manifest("b", after)),
        InventoryObject(baseline=manifest("c", before), emergency=None),
    ]
    written = inventory(objects, phase=phase, appliedAfterSeconds=seconds)
    assert unpack(pack(written), "x") == written


def test_the_same_inventory_packs_to_the_same_bytes() -> None:
    one = inventory([InventoryObject(baseline=None, emergency={**manifest(), "spec": {"a": 1, "b": 2}})])
    other = inventory([InventoryObject(baseline=None, emergency={**manifest(), "spec": {"b": 2, "a": 1}})])
    assert pack(one) == pack(other)


def test_two_thousand_objects_fit_the_limit_of_the_api_server() -> None:
    source = random.Random(7)
    objects = []
    for number in range(2000):
        labels = {f"label-{index}": source.randbytes(6).hex() for index in range(4)}
        spec = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": []}]}
        state = manifest(f"policy-{number}", spec)
        objects.append(InventoryObject(baseline=state, emergency={**state, "spec": {**spec, "ingress": [{}]}}))
    packed = pack(inventory(objects))
    assert len(packed) * 4 / 3 < MEBIBYTE  # binaryData is base64
    assert len(unpack(packed, "x").claims) == 2000


def tampered(**fields: Any) -> bytes:
    """A packed inventory whose JSON was changed by hand."""
    data = json.loads(gzip.decompress(pack(inventory([InventoryObject(baseline=None, emergency=manifest())]))))
    return gzip.compress(json.dumps(data | fields).encode())


def test_what_another_version_keeps_is_kept() -> None:
    later = unpack(tampered(later={"a": 1}), "x")
    assert json.loads(gzip.decompress(pack(later.model_copy(update={"phase": "closed"}))))["later"] == {"a": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b""),
        gzip.compress(b"[]"),
        gzip.compress(b"{"),
        gzip.compress(b"\xff"),
        gzip.compress(b"[" * 100_000),
        gzip.compress(b"9" * 5000),
        gzip.compress(b" " * (LARGEST_INVENTORY + 1)),
        pack(inventory([]))[:-20],
        tampered(kind="Other"),
        tampered(phase="ajar"),
        tampered(activation="../x"),
        tampered(expiry="2026-11-23T02:13:00"),
        tampered(expiry="9999-12-31T23:59:59Z"),
        tampered(expiry=None),
        tampered(objects={}),
        tampered(objects=[{}]),
        tampered(objects=[{"baseline": None, "emergency": None}]),
        tampered(objects=[{"baseline": None, "emergency": {}}]),
        tampered(objects=[{"baseline": None, "emergency": {"kind": "X"}}]),
        tampered(objects=[{"baseline": manifest("a"), "emergency": manifest("b")}]),
    ],
    ids=range(22),
)
def test_what_is_no_inventory_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFile) as caught:
        unpack(content, "ConfigMap x")
    assert caught.value.where == "ConfigMap x"
    assert caught.value.remedy


@given(st.binary(max_size=200) | st.binary(max_size=200).map(gzip.compress))
def test_hostile_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidFile):
        unpack(content, "x")


@given(st.data())
def test_a_byte_that_flips_is_refused_or_is_none_of_the_content(data: st.DataObject) -> None:
    written = inventory([InventoryObject(baseline=None, emergency=manifest())])
    packed = bytearray(pack(written))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert unpack(bytes(packed), "x") == written
    except InvalidFile:
        return


def test_it_expires_at_the_very_second() -> None:
    held = inventory([])
    assert not held.expired(held.expiry - timedelta(seconds=1))
    assert held.expired(held.expiry)


def test_the_objects_of_a_delta_are_kept_with_both_states() -> None:
    one, other = key_of(manifest("a")), key_of(manifest("b"))
    kept = objects_of([Change(one, manifest(spec=1), manifest(spec=2)), Change(other, None, manifest("b"))])
    assert inventory(kept).claims == {one: manifest(spec=2), other: manifest("b")}
    assert [item.baseline for item in kept] == [manifest(spec=1), None]
