"""What keeps the service from working, apart from what is wrong with a request."""


class ServiceError(Exception):
    """The service cannot start: its store or its key cannot be used. The message says why, and names no value."""


class StoreUnavailableError(Exception):
    """The store cannot be reached, or others keep it locked. Nothing was written. The message says which.

    `reason` is what the database said, for those who operate it: it may name hosts and users.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class StoreUncertainError(Exception):
    """The connection broke during a commit, and the store could not be asked since whether it took place."""
