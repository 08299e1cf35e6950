"""The messages of the contract as google protobuf has them, for peers that run on grpcio."""

import importlib
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).parents[2] / "gen/gitpod_proto/contract.binpb"


def message(name: str) -> Any:  # noqa: ANN401 # made while the program runs
    """The class of a message of `gitpod.v1`."""
    descriptor_pb2: Any = importlib.import_module("google.protobuf.descriptor_pb2")
    pools: Any = importlib.import_module("google.protobuf.descriptor_pool")
    factory: Any = importlib.import_module("google.protobuf.message_factory")
    pool = pools.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(CONTRACT.read_bytes()).file:
        pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName(f"gitpod.v1.{name}"))
