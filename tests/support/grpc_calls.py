"""What tests of gRPC send: a secret, and headers that tell grpcio's service what to do (`grpc_program.py`)."""

from base64 import b64encode
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped] # it is not marked as typed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def params(project: str, **more: Any) -> dict[str, Any]:
    """A secret to create."""
    return {"name": "NAME", "value": "v", "project_id": project, "api_only": True, **more}


def told(call: str, *details: Any, **how: str) -> dict[str, str]:
    """Headers that tell the gRPC service what to do; `details` go with its error."""
    headers = {"x-call": call, **{f"x-{name}": value for name, value in how.items()}}
    if details:
        status = status_pb2.Status(code=code_pb2.Code.Value(how["fail"]), message="as told")
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        headers["x-details"] = b64encode(status.SerializeToString()).decode()
    return headers


def shed(seconds: int = 0) -> Any:
    """The word of a service that it did nothing."""
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds))
