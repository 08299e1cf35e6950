"""Parameters to messages, and messages to results."""
