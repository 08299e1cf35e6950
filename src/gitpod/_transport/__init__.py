"""Below the stub: how requests reach the service, and what a failure on the way proves."""
