"""Sets of small numbers as the bits of one integer: unions, differences and counts of thousands at a time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import TypeVar

Key = TypeVar("Key")

_DENSE = 6
"""Of so many numbers one is in a set that is quicker read whole than searched."""
_SOME = re.compile(rb"[^\0]+")
_BITS_OF = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
_DIGITS = bytes.maketrans(b"01", b"\0\1")


def bits(numbers: Iterable[int]) -> int:
    """The set of some numbers."""
    found = bytearray()
    for number in numbers:
        if number >> 3 >= len(found):
            found.extend(bytes((number >> 3) + 1 - len(found)))
        found[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(found, "little")


def union_of(sets: Iterable[int]) -> int:
    """Everything in any of the sets."""
    found = 0
    for each in sets:
        found |= each
    return found


def members(of: int) -> list[int]:
    """The numbers in a set, in order."""
    if of.bit_count() * _DENSE > of.bit_length():
        return list(compress(range(of.bit_length()), f"{of:b}".encode()[::-1].translate(_DIGITS)))
    written = of.to_bytes((of.bit_length() + 7) // 8, "little")
    return [
        place << 3 | bit
        for found in _SOME.finditer(written)
        for place, byte in enumerate(found[0], found.start())
        for bit in _BITS_OF[byte]
    ]


def index(pairs: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """For each key, the set of the numbers that come with it."""
    found: defaultdict[Key, list[int]] = defaultdict(list)
    for key, number in pairs:
        found[key].append(number)
    return {key: bits(numbers) for key, numbers in found.items()}


def memberships(sets: Sequence[int], first: int, beyond: int) -> Iterator[tuple[int, ...]]:
    """For each number from `first` to before `beyond`, a 1 for each of the sets that holds it and a 0 for the others.

    The matrix is turned over in C: bit by bit this is the slowest step of a comparison.
    """
    width = beyond - first
    if not sets:
        return iter([()] * width)
    mask = (1 << width) - 1
    rows = (f"{each >> first & mask:0{width}b}".encode()[::-1].translate(_DIGITS) for each in sets)
    return zip(*rows, strict=True)
