"""The failures of the service itself, as opposed to those of a request. Each class is one kind of failure."""


class ServiceError(Exception):
    """The store, its key or a setting cannot be used, so the service cannot start. The message names no value.

    During a call only the key raises it.
    """


class StoreUnavailableError(Exception):
    """The store cannot be written to now: it is unreachable, locked or full. Nothing was written.

    Args:
        message: which of these it is, for the caller.
        reason: what the database said, for operators only: it may name hosts and users.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class OutcomeUnknownError(Exception):
    """The connection broke during a commit, and the store could not tell afterwards whether it took place."""
