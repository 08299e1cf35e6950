"""A new field of the contract needs `make gen` and its line in the types, and no other code."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.service import ROOT

ADDED = """
  string note = 21;
  repeated string labels = 22;
  int32 uses = 23;
  bool sealed = 24;
  SecretScope owner = 25;
  string pin = 27 [debug_redact = true];
"""
PARAMS = """
    note: str
    labels: Sequence[str]
    uses: int
    sealed: bool
    owner: SecretScopeParam | SecretScope
    pin: str | SupportsSecretValue
    volume: str
"""
RESULTS = """
    note: str | None = None
    labels: tuple[str, ...] = ()
    uses: int | None = None
    sealed: bool | None = None
    owner: SecretScope | None = None
    volume: str | None = None
"""
PROGRAM = """
import json
from gitpod import Gitpod, InvalidRequestError, SecretValue
from gitpod.types import SecretScope
from tests.support.peer import Peer, answer

PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
MINE = SecretScope(project_id=PROJECT)

def echo(connection, request):
    sent = json.loads(request.partition(b"\\r\\n\\r\\n")[2])
    assert (sent.pop("value"), sent.pop("pin")) == ("v", "1234-5678")
    answer(200, json.dumps({"secret": {"id": PROJECT, **sent}}).encode())(connection, request)

def refuse(connection, request):
    answer(400, b'{"code": "invalid_argument", "message": "the pin 1234-5678 is bad"}')(connection, request)

def client(script):
    return Gitpod(bearer_token="t", base_url=Peer(script).url, codec="json").secrets

new = dict(
    note="n", labels=["a", "b"], uses=-7, sealed=True, owner=MINE, pin=SecretValue("1234-5678"), volume="/v"
)
secret = client(echo).create(name="NAME", value="v", project_id=PROJECT, **new).secret
for name in ("note", "labels", "uses", "sealed", "owner", "volume"):
    print(name, getattr(secret, name), sep="=")
bad = dict(note=1, labels="a", uses=2**31, sealed=1, owner={"x": 1}, pin=None, file_path="/k")
for call, params in ((client(echo).put, {**new, **bad}), (client(refuse).create, new)):
    try:
        call(name="NAME", value="v", project_id=PROJECT, **params)
    except Exception as error:
        print(error)
"""
EXPECTED = """
note=n
labels=('a', 'b')
uses=-7
sealed=True
owner=SecretScope(project_id='b0e12f6c-4c67-429d-a4a6-d9838b5da047')
volume=/v
invalid request: 7 problems
  note: must be a string
  labels: must be a list of strings
  uses: must be a whole number of 32 bits
  sealed: must be True or False
  owner.x: is not a parameter; there are project_id, user_id, organization_id, service_account_id
  pin: must be a string, and is None
  mount: takes only one of environment_variable, file_path, container_registry_basic_auth_host, api_only, volume; \
file_path and volume were given
invalid_argument: the pin ********** is bad
"""


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the contract and the package, with the new fields in the proto and in the types."""
    for name in ("proto", "proto-imports", "src/gitpod", "tests/support"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    proto, types = tmp_path / "proto/gitpod/v1/secret.proto", tmp_path / "src/gitpod/types.py"
    insert(proto, "message CreateSecretRequest {", ADDED)
    insert(proto, "message Secret {", ADDED)
    insert(proto, "    option (buf.validate.oneof).required = true;", "    string volume = 28;\n", times=2)
    insert(types, "    source: SourceParam | Source\n", PARAMS)
    insert(types, "    source: Source | None = None\n", RESULTS)
    return tmp_path


def insert(path: Path, after: str, text: str, times: int = 1) -> None:
    whole = path.read_text()
    assert whole.count(after) == times
    path.write_text(whole.replace(after, after + text))


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; where it fails, what it said."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_field_goes_through_create_and_back(changed: Path) -> None:
    """Of each type that the contract uses, hidden and in a oneof, with its errors; generated as `make gen` does."""
    build = changed / "build/google-rpc"
    details = find_spec("google.rpc.error_details_pb2")
    assert details
    assert details.origin
    (build / "google/rpc").mkdir(parents=True)
    shutil.copy(details.origin.replace("_pb2.py", ".proto"), build / "google/rpc")
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(ROOT / name, changed)
    run("buf", "generate", cwd=changed)
    path = os.pathsep.join(map(str, (changed / "gen", changed / "src", changed)))
    assert run(sys.executable, "-c", PROGRAM, cwd=changed, PYTHONPATH=path) == EXPECTED.lstrip("\n")
