"""The service on sockets: HTTP, gRPC, telemetry."""
