"""What is below the stub: HTTP connections."""
