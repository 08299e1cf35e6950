"""What keeps the service from starting, in words for whoever starts it."""


class ServiceError(Exception):
    """The store or the key cannot be used. The message says why, and names no value."""
