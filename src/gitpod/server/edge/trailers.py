"""Cuts an error so that it fits into the trailers of gRPC. Many clients refuse more than 8 KiB, and say only that."""

from urllib.parse import quote

from connectrpc.errors import ConnectError, ErrorDetail
from protovalidate import ViolationPb, ViolationsPb

MAX_MESSAGE_BYTES = 2 * 1024
"""The most bytes of an error's message, percent-encoded. Beside the text there is room for what is left out."""
MAX_DETAILS_BYTES = 5 * 1024
"""The most bytes of an error's details, in base64. The message is in them once more."""
OVERHEAD = 128
"""Bytes of the details' frame, and of what `_left_out` says."""


def fitting(error: ConnectError) -> ConnectError:
    """Return the error itself if it fits, otherwise one with as much of it as does, which says what is left out."""
    message = _cut(error.message)
    room = MAX_DETAILS_BYTES * 3 // 4 - len(message.encode()) - OVERHEAD
    kept: list[ErrorDetail] = []
    left_out: list[str] = []
    for detail in error.details:
        fits = detail if _size(detail) <= room else _first_violations(detail, room)
        if fits is not detail:
            left_out.append(_left_out(detail, fits))
        if fits:
            room -= _size(fits)
            kept.append(fits)
    if message == error.message and not left_out:
        return error
    cut = ConnectError(error.code, "; ".join([message, *left_out]), kept)
    # Who raised it says more than its text.
    cut.__cause__ = error.__cause__
    return cut


def _cut(text: str) -> str:
    if len(quote(text, safe="")) <= MAX_MESSAGE_BYTES:
        return text
    size = 0
    for end, letter in enumerate(text):
        size += len(quote(letter, safe=""))
        if size > MAX_MESSAGE_BYTES:
            return f"{text[:end]}..."
    return text


def _size(detail: ErrorDetail) -> int:
    """Return the bytes of a detail in a google.rpc.Status."""
    return len(detail.message_bytes) + len(detail.type_name) + 32


def _violations(detail: ErrorDetail) -> list[ViolationPb]:
    found = detail.value(ViolationsPb) if detail.type_name == ViolationsPb.desc().type_name else None
    return [*found.violations] if isinstance(found, ViolationsPb) else []


def _first_violations(detail: ErrorDetail, room: int) -> ErrorDetail | None:
    """Return a detail with as many violations as fit, None if not even one does."""
    violations = _violations(detail)
    while violations:
        violations.pop()
        shorter = ErrorDetail(ViolationsPb(violations=violations))
        if _size(shorter) <= room:
            return shorter if violations else None
    return None


def _left_out(whole: ErrorDetail, kept: ErrorDetail | None) -> str:
    most = len(_violations(whole))
    if not most:
        return "a detail is left out, as it is too long for gRPC"
    return f"the details have {len(_violations(kept)) if kept else 0} of {most} violations"
