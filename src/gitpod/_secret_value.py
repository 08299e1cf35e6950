"""`SecretValue`: a text that does not show itself."""

from hmac import compare_digest
from typing import NoReturn

MASK = "**********"


class SecretValue:
    """A secret's value; `reveal()` gives the text, and nothing else does by accident.

    `repr`, `str` and `format` show asterisks, pickling and JSON refuse, and a copy is the same object.
    Compares equal to another `SecretValue` of the same text, in constant time. What `secrets.get_value`
    returns (`gitpod.v1.GetSecretValueResponse`); `create`, `put` and `update_value` take it as `value`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        is_text = isinstance(text, str)
        self._text = text if is_text else ""
        # A traceback shows the locals of this frame.
        del text
        if not is_text:
            raise TypeError("a SecretValue is made from a string")

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    @property
    def value(self) -> str:
        """`reveal()`, by the name that gitpod-sdk 0.11 gave it."""
        return self._text

    def get_secret_value(self) -> str:
        """`reveal()`, by the name that pydantic's SecretStr has for it."""
        return self._text

    def __repr__(self) -> str:
        return f"SecretValue('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        # Any string has these bytes, also one with lone surrogates.
        return compare_digest(self._text.encode(errors="surrogatepass"), other._text.encode(errors="surrogatepass"))

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> "SecretValue":
        return self

    def __deepcopy__(self, memo: object) -> "SecretValue":
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a SecretValue is not pickled; reveal() gives its text")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__getstate__()
