"""Exchange an App's key for an installation token of the job's repository, as actions/create-github-app-token does.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
"""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def part(data: bytes) -> str:
    """Encode one part of a JWT: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(claims: dict[str, Any], private_key: str) -> str:
    """Return a JWT over the claims, signed with RS256; by hand, because the jwt package takes 0.1 s to import."""
    key = load_pem_private_key(private_key.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("an App's key is an RSA key")
    signed = f"{part(json.dumps({'alg': 'RS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def ask(method: str, path: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one request to the REST API and return the JSON object it answers; HTTPError on a refusal."""
    request = Request(
        os.environ["GITHUB_API_URL"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def main() -> None:
    """Read the action's inputs from INPUTS (JSON) and write its outputs."""
    inputs: dict[str, str] = json.loads(os.environ["INPUTS"])
    prefix = "permission-"
    permissions = {
        name.removeprefix(prefix).replace("-", "_"): level
        for name, level in inputs.items()
        if name.startswith(prefix) and level
    }
    repository = os.environ["GITHUB_REPOSITORY"]
    now = int(time.time())
    application = sign({"iat": now - 60, "exp": now + 540, "iss": inputs["client-id"]}, inputs["private-key"])
    installation = ask("GET", f"/repos/{repository}/installation", application)
    path = f"/app/installations/{installation['id']}/access_tokens"
    body = {"repositories": [repository.split("/")[1]], **({"permissions": permissions} if permissions else {})}
    token = ask("POST", path, application, body)["token"]
    print(f"::add-mask::{token}", flush=True)  # noqa: T201 - a workflow command
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"token={token}\ninstallation-id={installation['id']}\napp-slug={installation['app_slug']}\n")


if __name__ == "__main__":
    main()
