"""The faults that a plan can have, but for the delay."""

from gitpod.testing import FaultKind

KINDS: list[FaultKind] = [
    "refuse",
    "drop_before_reading",
    "drop_after_commit",
    "status",
    "truncated_body",
    "wrong_content_type",
    "garbage",
]
