"""What surrounds the stub: calls, retries, failures."""
