"""Conditions behind `Conditions`: the Common Expression Language, by the bindings of its Rust implementation.

The package is imported when the first condition is asked, for most policies have none: it costs a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breakglass.model.errors import Refused


class CelConditions:
    """`Conditions` by the package `common-expression-language`."""

    def holds(self, expression: str, variables: Mapping[str, Any]) -> bool:
        """Whether a condition holds.

        Raises:
            Refused: it is no expression, cannot be evaluated with these variables, or is no boolean.
        """
        import cel

        try:
            result = cel.evaluate(expression, dict(variables))
        except Exception as error:  # noqa: BLE001 - nothing that it raises may let anything open
            what = f"the condition cannot be evaluated: {_line(error)}"
            raise Refused(what, where=expression[:200], remedy="correct spec.rules of breakglass.yaml") from None
        if not isinstance(result, bool):
            what = f"the condition is no boolean but {type(result).__name__}"
            raise Refused(what, where=expression[:200], remedy="correct spec.rules of breakglass.yaml")
        return result


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "".join(character if character.isprintable() else "?" for character in text)[:300]
