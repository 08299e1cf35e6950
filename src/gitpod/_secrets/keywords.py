"""What it takes to spell out the parameters of `create` and `put`, so that every editor and `help()` show them."""

from collections.abc import Mapping
from typing import Any, TypedDict

OMITTED: Any = ...
"""The default of a parameter that may be left out but must not be None. `Any`, so that it fits every type."""

OF_THE_CALL = {"self", "replace", "timeout", "extra_headers", "unknown"}
"""The parameters that are no fields of the request."""


class Nothing(TypedDict):
    """No parameter. `**unknown: Unpack[Nothing]` takes any when it runs, so that an error can name it."""


def keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request out of the `locals()` with which a method begins.

    It takes all of them, as a mapping written out by hand may miss one, which would then be dropped in silence.
    """
    named = {name: value for name, value in given.items() if name not in OF_THE_CALL and value is not OMITTED}
    return {**named, **given["unknown"]}
