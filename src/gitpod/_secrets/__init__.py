"""The calls of `gitpod.v1.SecretService`."""
