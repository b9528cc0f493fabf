"""A world for every test; a file is parsed once, for Hypothesis reads the same few again and again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from breakglass.model import document
from laws.world import World


@pytest.fixture(autouse=True, scope="session")
def files_are_parsed_once() -> Iterator[None]:
    parse = cache(document.load)

    def load(content: bytes, file: str) -> tuple[Any, document.Lines]:
        data, lines = parse(content, file)
        return copy.deepcopy(data), lines

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "load", load)
        yield


@pytest.fixture
def world() -> World:
    return World()
