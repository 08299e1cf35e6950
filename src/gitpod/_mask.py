"""Asterisks over values and credentials, wherever somebody quotes them."""

import json
from collections.abc import Callable, Mapping
from urllib.parse import quote

from protobuf import Message

from gitpod._secret_value import MASK

SHORTEST_MASKED = 8
"""Characters. A shorter value may be part of any word, and masking that would only spoil the text."""


def mask_of(request: Message, headers: Mapping[str, str]) -> Callable[[str], str]:
    """A function that masks a request's value and its credentials in a text, as they stand or quoted."""
    hidden = [getattr(request, "value", ""), *headers.values(), *(text.rpartition(" ")[2] for text in headers.values())]
    secrets = {text for text in hidden if len(text) >= SHORTEST_MASKED}
    quoted = {form for text in secrets for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text))}

    def mask(text: str) -> str:
        for form in sorted(quoted, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text

    return mask
