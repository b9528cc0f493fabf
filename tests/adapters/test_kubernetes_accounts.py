"""Tokens, Events and evictions against a real API server, and answers that are not what they should be."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_server import NETWORK_POLICIES, Connect, Object, Time, policy_in

from breakglass.adapters.credentials import access_to
from breakglass.adapters.kubernetes import KubernetesCluster
from breakglass.model.errors import NotApplied, Refused, Unreachable
from breakglass.model.manifest import ObjectKey, key_of
from breakglass_lab.controlplane import Client, ControlPlane, install
from breakglass_lab.interruption import Answer, Fault, Interruption, Reset, Rule, Truncated, status

pytestmark = pytest.mark.lab

SECRET = "eyJhbGciOi.c2VjcmV0.c2lnbmF0dXJl"


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[Client]:
    with control_plane.client() as client:
        yield client


def account_in(namespace: str) -> ObjectKey:
    return ObjectKey("", "ServiceAccount", namespace, "incident")


def events_in(client: Client, namespace: str) -> list[Object]:
    items = client.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")["items"]
    return [item for item in items if item.get("reportingController") == "breakglass.dev/breakglass"]


@pytest.mark.parametrize(("asked", "given"), [(60, 600), (600, 600), (601.9, 601), (3600, 3600)])
def test_a_token_lives_as_long_as_asked_and_no_shorter_than_ten_minutes(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str, asked: float, given: int
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "incident", "namespace": namespace}}
    install(control_plane, [account])
    before = datetime.now(UTC)
    token = cluster.token(account_in(namespace), timedelta(seconds=asked))
    assert timedelta(seconds=-2) < token.expiry - before - timedelta(seconds=given) < timedelta(seconds=5)
    payload = token.value.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] - claims["iat"] == given
    assert claims["sub"] == f"system:serviceaccount:{namespace}:incident"
    with control_plane.client(token.value) as caller:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        user = caller.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    assert user["username"] == claims["sub"]


_ANSWERS: dict[str, dict[str, Any]] = {
    "none": {},
    "no status": {"status": SECRET},
    "no token": {"status": {"expirationTimestamp": "2026-11-23T03:13:00Z"}},
    "a token that is none": {"status": {"token": f"{SECRET}\nx", "expirationTimestamp": "2026-11-23T03:13:00Z"}},
    "an empty token": {"status": {"token": "", "expirationTimestamp": "2026-11-23T03:13:00Z"}},
    "a number": {"status": {"token": 7, "expirationTimestamp": "2026-11-23T03:13:00Z"}},
    "no expiry": {"status": {"token": SECRET}},
    "an expiry without a zone": {"status": {"token": SECRET, "expirationTimestamp": "2026-11-23T03:13:00"}},
}


@pytest.mark.parametrize("answer", _ANSWERS.values(), ids=_ANSWERS)
def test_an_answer_without_a_token_is_refused_and_tells_nothing(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str, answer: dict[str, Any]
) -> None:
    body = Answer(201, json.dumps(answer).encode(), {"Content-Type": "application/json"})
    proxy.rules.append(Rule(lambda request: request.path.endswith("/token"), body))
    with pytest.raises(Unreachable, match="holds no token") as refused:
        interrupted.token(account_in(namespace), timedelta(hours=1))
    assert "c2VjcmV0" not in f"{refused.value!r} {refused.value.where} {refused.value.remedy}"


def test_a_token_in_a_broken_answer_is_not_told(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    body = Answer(201, SECRET.encode(), {"Content-Type": "text/plain"})
    proxy.rules.append(Rule(lambda request: request.path.endswith("/token"), body, times=None))
    with pytest.raises(Unreachable) as refused:
        interrupted.token(account_in(namespace), timedelta(hours=1))
    told = f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
    assert "c2VjcmV0" not in told


def test_a_token_of_nobody_is_refused(cluster: KubernetesCluster, namespace: str) -> None:
    for place, name in ((namespace, "nobody"), ("nowhere", "default"), (namespace, "..")):
        with pytest.raises(Refused):
            cluster.token(ObjectKey("", "ServiceAccount", place, name), timedelta(hours=1))


def test_an_event_names_its_object(cluster: KubernetesCluster, client: Client, namespace: str) -> None:
    policy = policy_in(namespace)
    uid = cluster.apply([policy])[key_of(policy)]["metadata"]["uid"]
    cluster.record_event(key_of(policy), "WindowOpened", "é" * 600)
    (event,) = events_in(client, namespace)
    assert event["regarding"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "namespace": namespace,
        "name": "allow",
        "uid": uid,
    }
    assert (event["reason"], event["type"]) == ("WindowOpened", "Normal")
    assert event["note"].endswith("é…")
    assert len(event["note"].encode()) in (1023, 1024)


def test_an_event_about_what_has_no_namespace_is_in_default(
    cluster: KubernetesCluster, client: Client, namespace: str
) -> None:
    about = {ObjectKey("", "Namespace", "", namespace), ObjectKey("nothing.example.com", "Nothing", "", namespace)}
    for key in about:
        cluster.record_event(key, "WindowClosed", namespace, warning=True)
    events = [event for event in events_in(client, "default") if event["note"] == namespace]
    told = {(event["regarding"]["apiVersion"], event["regarding"]["kind"], event["type"]) for event in events}
    assert told == {("v1", "Namespace", "Warning"), ("nothing.example.com", "Nothing", "Warning")}


@pytest.mark.parametrize("fault", [Reset(forwarded=True), Reset(), Truncated()])
def test_a_lost_answer_records_no_second_event(
    interrupted: KubernetesCluster, proxy: Interruption, client: Client, namespace: str, fault: Fault
) -> None:
    proxy.rules.append(Rule(lambda request: request.method == "POST", fault))
    interrupted.record_event(ObjectKey(*NETWORK_POLICIES, namespace, "gone"), "WindowClosed", "closed")
    assert len(events_in(client, namespace)) == 1


def test_an_event_where_no_namespace_is_any_more_is_refused(cluster: KubernetesCluster) -> None:
    with pytest.raises(Refused, match="nowhere"):
        cluster.record_event(ObjectKey(*NETWORK_POLICIES, "nowhere", "gone"), "WindowClosed", "closed")


def _budget(message: str) -> Answer:
    answer = status(429, "TooManyRequests", message, retry_after=1)
    document = json.loads(answer.body)
    document["details"]["causes"] = [{"reason": "DisruptionBudget", "message": "needs 1 healthy pod"}]
    return Answer(429, json.dumps(document).encode(), answer.headers)


def test_a_budget_is_asked_again_for_a_while(proxy: Interruption, connect: Connect, namespace: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": namespace}}
    pod["spec"] = {"containers": [{"name": "a", "image": "example.com/a"}]}
    clock = Time()
    cluster = connect(access_to("prod-eu", None, proxy.kubeconfig), clock)
    cluster.apply([pod])
    held = Rule(lambda request: request.path.endswith("/eviction"), _budget("it would violate the budget"), times=3)
    proxy.rules.append(held)
    cluster.evict([key_of(pod)])
    assert 3 <= clock.slept < 5
    assert cluster.get([key_of(pod)]) == {key_of(pod): None}
    proxy.rules[:] = []
    cluster.apply([pod])
    proxy.rules += [Rule(held.matches, held.fault, times=0), Rule(held.matches, held.fault, times=None)]
    with pytest.raises(NotApplied, match="it would violate the budget") as kept:
        cluster.evict([key_of(pod)])
    assert not isinstance(kept.value, Unreachable)
    assert clock.slept < 60


def test_an_api_server_that_is_busy_is_no_budget(
    interrupted: KubernetesCluster, proxy: Interruption, namespace: str
) -> None:
    busy = status(429, "TooManyRequests", "too many requests", retry_after=1)
    proxy.rules.append(Rule(lambda request: request.path.endswith("/eviction"), busy, times=None))
    with pytest.raises(Unreachable, match="too many requests"):
        interrupted.evict([ObjectKey("", "Pod", namespace, "a")])
