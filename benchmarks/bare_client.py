"""The least that can open and close: each object one request, over eight kept connections, and nothing else.

Usage: python benchmarks/bare_client.py (open | close) KUBECONFIG REQUESTS SECONDS

REQUESTS holds a JSON list of [path, body] with the body as text, ready to be sent: opening is server-side apply of each
body, closing a DELETE of each path. No plan, no inventory, no answer is read but its status, and nothing is verified.
The seconds that it took, without the start of the process, are written to the file SECONDS.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import yaml

CONNECTIONS = 8
MANAGER = "breakglass"
HEADERS = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}

Request = tuple[str, str, bytes | None]
"""Method, target and body."""


class Shared:
    """Requests that several connections take one after another."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._left, self._lock = iter(requests), Lock()

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        with self._lock:
            return next(self._left)


def send(kubeconfig: Path, requests: Iterable[Request]) -> None:
    """Send all requests, eight at once.

    Raises:
        RuntimeError: one was not answered with success.
    """
    host, context = connection_of(kubeconfig)
    shared = Shared(requests)

    def drain() -> None:
        connection = http.client.HTTPSConnection(host, context=context)
        for method, target, body in shared:
            connection.request(method, target, body, HEADERS)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {target}: {answer.status} {content[:500]!r}")
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for future in [threads.submit(drain) for _ in range(CONNECTIONS)]:
            future.result()


def connection_of(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Host and TLS settings of a kubeconfig of the lab, which holds a client certificate."""
    configuration: dict[str, Any] = yaml.safe_load(kubeconfig.read_bytes())
    cluster, user = configuration["clusters"][0]["cluster"], configuration["users"][0]["user"]
    authority, certificate, key = (
        base64.b64decode(encoded).decode()
        for encoded in (
            cluster["certificate-authority-data"],
            user["client-certificate-data"],
            user["client-key-data"],
        )
    )
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as pair:
        pair.write(f"{certificate}\n{key}")
        pair.flush()
        context.load_cert_chain(pair.name)
    return urlsplit(cluster["server"]).netloc, context


def main() -> None:
    """Send what the command line says."""
    _, action, kubeconfig, file, seconds = sys.argv
    prepared: list[tuple[str, str]] = json.loads(Path(file).read_bytes())
    requests: list[Request] = (
        [("PATCH", f"{path}?fieldManager={MANAGER}&force=true", body.encode()) for path, body in prepared]
        if action == "open"
        else [("DELETE", path, None) for path, _ in prepared]
    )
    begin = time.perf_counter()
    send(Path(kubeconfig), requests)
    Path(seconds).write_text(str(time.perf_counter() - begin), encoding="ascii")


if __name__ == "__main__":
    main()
