"""What a request meets before its handler."""
