"""GitHub's own API description, as a judge: of the requests somebody sent, and of the answers somebody gave.

The description is read from the clients `githubkit` generates from it: for every operation the method, the URL, the
names of the query parameters, and the pydantic models of the body and of the answer. Validation is strict and knows no
unknown field.
"""

import importlib
import json
import pkgutil
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from breakglass_lab.forge import Route

VERSIONS = {"2022-11-28": "v2022_11_28", "2026-03-10": "v2026_03_10"}
DEFAULT_VERSION = "2022-11-28"
"""What GitHub assumes when a request names no version."""

OPERATION = re.compile(
    r'        url = (?:\(\s*)?f?"(?P<url>/[^"]*)"\n'
    r'(?P<text>.*?self\._github\.a?request\(\s*"(?P<method>[A-Z]+)".*?)\n        \)\n',
    re.DOTALL,
)
BODY = re.compile(r"type_validate_python\(\s*(.*?),\s*json,?\s*\)", re.DOTALL)
ANSWER = re.compile(r"response_model=(.*?),(?=\n {12}\w|\Z)", re.DOTALL)
PARAMETERS = re.compile(r"        params = \{(.*?)\n        \}", re.DOTALL)
PAGING = frozenset({"page", "per_page"})
TEAM_BY_ID = re.compile(r"^/organizations/[0-9]+/team/[0-9]+")
"""How the URLs in GitHub's answers name a team, where the description has its slug."""


class NotGitHub(Exception):
    """A request or an answer that GitHub's description does not know."""


@dataclass(frozen=True)
class Operation:
    """One operation of the description; `body` and `answer` are expressions over the names of the models."""

    version: str
    method: str
    url: str
    parameters: frozenset[str]
    body: str | None
    answer: str | None

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is this operation."""
        return method == self.method and _expression(self.url).fullmatch(path) is not None


@lru_cache(maxsize=4096)
def _expression(url: str) -> re.Pattern[str]:
    # `basehead` and the like may hold slashes: git's names do.
    parts = re.split(r"(\{\w+\})", url)
    deep = {"{ref}": ".+", "{path}": ".*", "{branch}": ".+", "{basehead}": ".+"}
    return re.compile("".join(deep.get(part, "[^/]+") if part[:1] == "{" else re.escape(part) for part in parts))


@lru_cache(maxsize=2)
def operations(version: str) -> tuple[Operation, ...]:
    """Return every operation of an API version, those with the fewest variables first."""
    package = importlib.import_module(f"githubkit_schemas.{VERSIONS[version]}.rest")
    found = []
    for module in pkgutil.iter_modules(package.__path__):
        text = (Path(package.__path__[0]) / f"{module.name}.py").read_text(encoding="utf-8")
        found += [_operation(version, match) for match in OPERATION.finditer(text)]
    return tuple(dict.fromkeys(sorted(found, key=lambda operation: (operation.url.count("{"), -len(operation.url)))))


def _operation(version: str, match: re.Match[str]) -> Operation:
    text = match["text"]
    body, answer, parameters = BODY.search(text), ANSWER.search(text), PARAMETERS.search(text)
    return Operation(
        version=version,
        method=match["method"],
        url=match["url"],
        parameters=frozenset(re.findall(r'"([^"]+)":', parameters[1])) if parameters is not None else frozenset(),
        body=body[1] if body is not None else None,
        answer=answer[1] if answer is not None else None,
    )


def operation(version: str, method: str, path: str) -> Operation:
    """Return the operation a request is; NotGitHub when there is none."""
    named = TEAM_BY_ID.sub("/orgs/o/teams/t", path)
    found = next((one for one in operations(version) if one.matches(method, named)), None)
    if found is None:
        raise NotGitHub(f"GitHub has no {method} {path} (API version {version})")
    return found


@lru_cache(maxsize=1024)
def _adapter(version: str, expression: str) -> TypeAdapter[Any]:
    models = importlib.import_module(f"githubkit_schemas.{VERSIONS[version]}.models")
    names: dict[str, Any] = {
        "list": list,
        "str": str,
        "int": int,
        "None": None,
        "datetime": datetime,
        "date": date,
        **vars(typing),
    }
    for name in re.findall(r"[A-Za-z_]\w*", expression):
        if name not in names:
            names[name] = getattr(models, name)
    return TypeAdapter(eval(expression, names))  # an expression out of generated code


def _validate(version: str, expression: str, raw: bytes, about: str) -> Any:
    try:
        parsed = _adapter(version, expression).validate_json(raw, strict=True)
    except ValidationError as error:
        raise NotGitHub(f"{about}\n{error}") from error
    unknown = list(_unknown(parsed, json.loads(raw), ""))
    if unknown:
        raise NotGitHub(f"{about}\nGitHub has no {', '.join(unknown)}")
    return parsed


def _unknown(parsed: Any, raw: Any, at: str) -> Iterator[str]:
    """Yield the fields that the models left out, save where the description allows any."""
    if isinstance(parsed, BaseModel) and isinstance(raw, dict):
        names = {field.alias or name: name for name, field in type(parsed).model_fields.items()}
        for key, value in raw.items():
            if key in names:
                yield from _unknown(getattr(parsed, names[key]), value, f"{at}.{key}")
            elif parsed.model_config.get("extra") != "allow":
                yield f"{at}.{key}"
    elif isinstance(parsed, list) and isinstance(raw, list):
        for index, (one, value) in enumerate(zip(parsed, raw, strict=True)):
            yield from _unknown(one, value, f"{at}[{index}]")


def check_request(route: Route) -> None:
    """Check a request as it was sent: GitHub has the operation, its query and its body; NotGitHub otherwise."""
    version = route.headers.get("x-github-api-version", DEFAULT_VERSION)
    if version not in VERSIONS:
        raise NotGitHub(f"{route.method} {route.path}: there is no API version {version}")
    known = operation(version, route.method, route.path)
    unknown = set(route.query) - known.parameters - PAGING
    if unknown:
        raise NotGitHub(f"{route.method} {route.path}: GitHub has no query parameter {sorted(unknown)}")
    about = f"{route.method} {route.path} {route.body[:2000]!r}"
    if known.body is not None:
        _validate(version, known.body, route.body or b"{}", about)
    elif route.body.strip() not in (b"", b"null"):
        raise NotGitHub(f"{about}: GitHub takes no body here")


def assert_requests_are_githubs(routes: Iterable[Route]) -> None:
    """Check every REST request of a route log; AssertionError with all that GitHub would not know."""
    mistakes = []
    for route in routes:
        if not route.api:
            continue
        try:
            check_request(route)
        except NotGitHub as mistake:
            mistakes.append(str(mistake))
    assert not mistakes, "\n\n".join(mistakes)


def check_answer(version: str, method: str, path: str, raw: bytes) -> Any:
    """Check an answer against the operation it belongs to and return it parsed; NotGitHub for a missing, wrong or
    unknown field.
    """
    known = operation(version, method, path)
    if known.answer is None:
        if raw:
            raise NotGitHub(f"{method} {path}: GitHub answers nothing here")
        return None
    return _validate(version, known.answer, raw, f"answer to {method} {path}")
