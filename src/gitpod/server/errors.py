"""What keeps the service from working, apart from what is wrong with a request."""


class ServiceError(Exception):
    """The service cannot start: its store or its key cannot be used. The message says why, and names no value."""


class StoreBusyError(Exception):
    """Another process kept the store locked for longer than `store.BUSY_TIMEOUT`; nothing was written."""
