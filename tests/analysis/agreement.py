"""Laws of the engine on whole clusters: it says what the naive evaluator says, and a difference is one of two maps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import fields
from ipaddress import ip_address
from itertools import permutations, product
from random import Random
from typing import Any

from clusters import KEYS, NAMED, NUMBERS, RANGES, VALUES, clusters, ip_blocks, many_probes, object_of, with_protocols
from clusters import Probe as Question
from hypothesis import strategies as st
from naive import Cluster

from breakglass.analysis.exposure.service import read_services
from breakglass.analysis.network.compiled import CompiledPolicies
from breakglass.analysis.network.connections import Allowed, Answer, Connections, changed, connections
from breakglass.analysis.network.objects import read_network
from breakglass.analysis.network.portline import interval
from breakglass.analysis.network.ports import Ports
from breakglass.analysis.network.profile import Profile
from breakglass.analysis.network.reach import Column, columns, part_at
from breakglass.analysis.network.space import Objects, Space, on_line
from breakglass.analysis.network.state import State
from breakglass.analysis.probe import Probe, Prober

Manifest = dict[str, Any]
Pairs = dict[tuple[str, str], Answer]
PROFILES = st.builds(Profile, *[st.sampled_from([True, False, None])] * len(fields(Profile)))

IP_BLOCKS = list(ip_blocks())
PORTS = with_protocols([{"port": port} for port in (*NUMBERS, *NAMED)])
PORTS += with_protocols([{}, *({"port": start, "endPort": end} for start, end in RANGES)])
QUESTIONS = 40
"""About each cluster."""
SETTINGS = (True, False, None)
"""Of `ip_blocks_match_pods`."""


@st.composite
def busy_clusters(draw: st.DrawFn) -> list[Manifest]:
    """Clusters where NetworkPolicies have a say: of those that are drawn, half have none, or something above them.

    An unknown kind of peer is refused by its reader, so there is none.
    """
    manifests = draw(clusters(unknown_peers=False))
    random = Random(draw(st.integers(0, 2**32)))
    if random.random() < 0.6:
        manifests = [each for each in manifests if not each["apiVersion"].startswith("policy.")]
    spaces = sorted({each["metadata"]["namespace"] for each in manifests if each["kind"] == "Pod"})
    return [
        *manifests,
        *(_policy(f"{random.choice(spaces)}/more{turn}", random) for turn in range(random.randint(1, 4))),
    ]


@st.composite
def clusters_and_questions(draw: st.DrawFn) -> tuple[list[Manifest], list[Question]]:
    """A cluster, and questions about it."""
    manifests = draw(busy_clusters())
    return manifests, draw(many_probes(manifests, QUESTIONS))


@st.composite
def befores_and_afters(draw: st.DrawFn) -> tuple[list[Manifest], list[Manifest]]:
    """Two states of a cluster: objects are removed, and others added or put in their place."""
    before, other = draw(busy_clusters()), draw(busy_clusters())
    random = Random(draw(st.integers(0, 2**32)))
    kept = {_key(each): each for each in before if random.random() < 0.8}
    changes = {_key(each): each for each in other if random.random() < 0.3}
    return before, list((kept | changes).values())


def _policy(name: str, random: Random) -> Manifest:
    """A NetworkPolicy that is likely to select something, with rules that are likely to."""

    def selector() -> Manifest:
        key, operator = random.choice(KEYS), random.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        values = {"values": [random.choice(VALUES)]} if operator.endswith("In") else {}
        return random.choice([{}, {"matchExpressions": [{"key": key, "operator": operator, **values}]}])

    def peer() -> Manifest:
        pods, spaces = {"podSelector": selector()}, {"namespaceSelector": selector()}
        return random.choice(
            [{"ipBlock": random.choice(IP_BLOCKS)}, {"ipBlock": random.choice(IP_BLOCKS)}, pods, pods | spaces]
        )

    def rule(side: str) -> Manifest:
        peers, ports = ([make() for _ in range(random.randint(0, 2))] for make in (peer, lambda: random.choice(PORTS)))
        return {side: peers, "ports": ports}

    return object_of(
        "NetworkPolicy",
        "networking.k8s.io/v1",
        name,
        spec={
            "podSelector": selector(),
            "policyTypes": random.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
            "ingress": [rule("from") for _ in range(random.randint(0, 2))],
            "egress": [rule("to") for _ in range(random.randint(0, 2))],
        },
    )


def owned(manifests: list[Manifest]) -> list[Manifest]:
    """The same cluster, where all pods of a namespace but the first are replicas of one StatefulSet."""
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": True}
    return [
        each | {"metadata": each["metadata"] | {"ownerReferences": [reference]}}
        if each["kind"] == "Pod" and each["metadata"]["name"] != "p0"
        else each
        for each in manifests
    ]


def check_questions(manifests: list[Manifest], questions: Iterable[Question]) -> None:
    """Ask the columns, the prober and the naive evaluator, however an ipBlock is read."""
    objects = read_network(manifests)
    state = State(Space([objects]), objects)
    naive = {setting: Cluster(manifests, setting) for setting in (True, False)}
    engines = {setting: CompiledPolicies(state, Profile(ip_blocks_match_pods=setting)) for setting in SETTINGS}
    probers = {setting: Prober(engine, read_services(manifests)) for setting, engine in engines.items()}
    by_bit = {setting: list(columns(engine)) for setting, engine in engines.items()}
    for question in questions:
        source, destination, protocol, port = question
        outcomes = {setting: cluster.outcomes(*question) for setting, cluster in naive.items()}
        for setting in SETTINGS:
            expected = outcomes[True] | outcomes[False] if setting is None else outcomes[setting]
            verdicts = [
                _verdict(allowed)
                for allowed in ({e and i for e, i in expected}, {e for e, _ in expected}, {i for _, i in expected})
            ]
            told = probers[setting].answer(Probe(1, source, destination, port, protocol)).explanation
            assert [told.verdict, told.egress, told.ingress] == verdicts, (question, setting, told)
            assert told.why
            if source != destination:
                assert _told(state, by_bit[setting], question) == verdicts[0], (question, setting)


def check_profile(manifests: list[Manifest], questions: Iterable[Question], profile: Profile) -> None:
    """Ask the columns and the prober as an implementation may read policies: each goes its own way."""
    objects = read_network(manifests)
    policies = CompiledPolicies(State(Space([objects]), objects), profile)
    prober, by_bit = Prober(policies, read_services(manifests)), list(columns(policies))
    for question in questions:
        source, destination, protocol, port = question
        if source != destination:
            explained = prober.answer(Probe(1, source, destination, port, protocol)).explanation.verdict
            assert _told(policies.state, by_bit, question) == explained, (question, profile)


def check_replicas(manifests: list[Manifest], questions: Iterable[Question]) -> None:
    """A workload reaches, and is reached, where any of its pods is; ask the map, and the prober about each of them."""
    objects = read_network(owned(manifests))
    space = Space([objects])
    policies = CompiledPolicies(State(space, objects), Profile())
    prober, pairs = Prober(policies, read_services(manifests)), pairs_of(connections(policies, {}), space)
    names = [(name, [f"{name.partition('/')[0]}/{pod.name}" for pod in pods]) for name, pods in space.pods_of(objects)]
    for (source, sources), (destination, destinations) in permutations(names, 2):
        (allowed,) = pairs.get((source, destination), (Allowed(),))
        for protocol, port in {(protocol, port) for _, _, protocol, port in questions}:
            every = [Probe(1, one, other, port, protocol) for one, other in product(sources, destinations)]
            verdicts = {prober.answer(probe).explanation.verdict for probe in every}
            expected = next(verdict for verdict in ("allow", "depends", "deny") if verdict in verdicts)
            told = ("allow", allowed.ports), ("depends", allowed.depends)
            holding = [verdict for verdict, ports in told if _holds(ports, protocol, port)]
            assert holding == [expected] * (expected != "deny"), (source, destination, protocol, port)


def check_difference(before: list[Manifest], after: list[Manifest]) -> None:
    """Compare what changes with the maps of both states, each made on its own; as pairs and as rectangles."""
    states = [read_network(manifests) for manifests in (before, after)]
    space = Space(states)
    was, will = (pairs_of(_map(Space([objects]), objects), space) for objects in states)
    _check_difference(space, states, was, will)
    # What tells replicas apart in one state does so in both: their maps are made in the space of both.
    states = [read_network(owned(manifests)) for manifests in (before, after)]
    space = Space(states)
    was, will = (pairs_of(_map(space, objects), space) for objects in states)
    _check_difference(space, states, was, will)


def _check_difference(space: Space, states: list[Objects], was: Pairs, will: Pairs) -> None:
    changes = changed(*(CompiledPolicies(State(space, objects), Profile()) for objects in states), ({}, {}))
    nothing = (Allowed(),)
    expected = {
        pair: was.get(pair, nothing) + will.get(pair, nothing)
        for pair in was.keys() | will.keys()
        if was.get(pair) != will.get(pair)
    }
    assert pairs_of(changes, space) == expected
    assert expanded(changes, space) == expected


def pairs_of(found: Connections, space: Space) -> Pairs:
    """Every connection, by source and destination; those of ranges of addresses by the ranges of a space."""
    pairs: Pairs = {}
    for source, entries in found.by_source(lambda destination, answer: (destination, answer)):
        for destination, answer in entries:
            _add(pairs, [(one, other) for one in parts(source, space) for other in parts(destination, space)], answer)
    return pairs


def expanded(found: Connections, space: Space) -> Pairs:
    """Every connection of the rectangles: from every source to every destination, less each to itself."""
    pairs: Pairs = {}
    for rectangle in found.rectangles():
        sources, destinations = (
            [part for name in names for part in parts(name, space)]
            for names in (rectangle.sources, rectangle.destinations)
        )
        every = [(source, destination) for source in sources for destination in destinations if source != destination]
        _add(pairs, every, rectangle.answer)
    return pairs


def parts(name: str, space: Space) -> Iterator[str]:
    """The name, or those of the ranges that a range of addresses is made of."""
    if name in space.index:
        yield name
        return
    first, last = (on_line(ip_address(end)) for end in name.split("-"))
    below, beyond = bisect_left(space.starts, first), bisect_right(space.starts, last)
    assert space.ranges[below][0] == first
    assert space.ranges[beyond - 1][1] == last
    yield from space.names[space.first_range + below : space.first_range + beyond]


def _add(pairs: Pairs, every: list[tuple[str, str]], answer: Answer) -> None:
    assert not pairs.keys() & every, "a pair stands twice"
    pairs.update(dict.fromkeys(every, answer))


def _map(space: Space, objects: Objects) -> Connections:
    return connections(CompiledPolicies(State(space, objects), Profile()), {})


def _holds(ports: Ports, protocol: str, port: int) -> bool:
    return any(each.protocol == protocol and each.first <= port <= each.last for each in ports)


def _told(state: State, by_bit: list[Column], question: Question) -> str:
    """What the columns say."""
    source, destination, protocol, port = question
    part = part_at(by_bit[_bit(state, destination)], interval(protocol, port, port)[0])
    sure, maybe = (bool(ends >> _bit(state, source) & 1) for ends in part[1:])
    assert maybe >= sure
    return "allow" if sure else "depends" if maybe else "deny"


def _bit(state: State, end: str) -> int:
    return state.bit_of_pod[end] if "/" in end else state.space.first_range + state.space.range_of(ip_address(end))


def _verdict(allowed: set[bool]) -> str:
    return "depends" if len(allowed) > 1 else "allow" if True in allowed else "deny"


def _key(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]
