"""Helpers for methods that spell out the parameters of a request, so that every editor and `help()` show them."""

from collections.abc import Mapping
from typing import Any, TypedDict

OMITTED: Any = ...
"""The default of a parameter that may be left out but must not be None. It is typed `Any` to suit every parameter."""

OF_THE_CALL = {"self", "replace", "timeout", "extra_headers", "unknown"}
"""The parameters that are not fields of the request."""


class Nothing(TypedDict):
    """No parameter. `**unknown: Unpack[Nothing]` accepts any name at run time, so that an error can name it."""


def keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request, given the `locals()` at the start of a method.

    A mapping written by hand could miss a parameter, which would then be dropped in silence.
    """
    named = {name: value for name, value in given.items() if name not in OF_THE_CALL and value is not OMITTED}
    named.update(given["unknown"])
    return named
