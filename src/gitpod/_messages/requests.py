"""Builds and checks the request message of each call. Does no I/O.

`_messages.build` does what the descriptors say. Here is what they do not say. Each function raises
`InvalidRequestError`, which says everything that is wrong, up to 20 violations.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from protobuf import Message, Oneof

from gitpod._messages import build
from gitpod_proto.gitpod.v1 import pagination_pb, secret_pb

M = TypeVar("M", bound=Message)
ProjectId = Oneof[Literal["project_id"], str]

MOUNTS = tuple(build.members(secret_pb.CreateSecretRequest.desc(), "mount"))
"""The parameters of a create that say how environments receive the secret."""


def request(kind: type[M], given: Mapping[str, Any]) -> M:
    """Build the message of a call whose keywords are just the fields of the message."""
    problems = build.Problems()
    return build.checked(build.message(kind, given, "", problems), problems)


def create_request(given: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """Build the message of `secrets.create`."""
    problems = build.Problems()
    message = _create_message(given, problems)
    source = message.source.value if message.source else None
    if "value" not in given and (source is None or source.field == "verbatim"):
        problems.note("value", "required", "must be given, unless source says where it comes from")
    return build.checked(message, problems)


def put_request(given: Mapping[str, Any]) -> secret_pb.CreateSecretRequest:
    """Build the message with which `secrets.put` creates. Its value must suit an update as well."""
    problems = build.Problems()
    message = _create_message(given, problems)
    if not message.value and not problems.has("value"):
        text = "must be at least 1 character, as a value can only be updated to such"
        problems.note("value", "string.min_len", text)
    return build.checked(message, problems)


def _create_message(given: Mapping[str, Any], problems: build.Problems) -> secret_pb.CreateSecretRequest:
    message = build.message(secret_pb.CreateSecretRequest, given, "", problems)
    source, scope = message.source, message.scope
    if source and source.value is None:
        # An empty source means verbatim, as no source does.
        message.source = None
    if scope is not None and scope.scope is None:
        # The service takes an empty scope for none.
        message.scope = scope = None
    if scope is None:
        if not given.get("project_id") and not problems.has("scope"):
            text = "must be given, or project_id, as names are unique within it"
            problems.note("scope", "required", text)
        return message
    project_id = message.project_id.lower()  # pyright: ignore[reportDeprecated] # the public reference documents it
    if project_id and project_id != _project_of(scope):
        problems.note("project_id", "scope_agrees", "contradicts scope; leave it out")
    return message


def _project_of(scope: secret_pb.SecretScope) -> str:
    """Return the id of the project that a scope names, in lower case; empty if it names none."""
    owner = scope.scope
    return owner.value.lower() if owner and owner.field == "project_id" else ""


def list_request(given: Mapping[str, Any]) -> secret_pb.ListSecretsRequest:
    """Build the message of `secrets.list`, where `page_size` and `token` win over those in `pagination`."""
    problems = build.Problems()
    names = build.names(pagination_pb.PaginationRequest.desc())
    rest = {name: value for name, value in given.items() if name not in names}
    page = {name: given[name] for name in names if given.get(name) is not None}
    message = build.message(secret_pb.ListSecretsRequest, rest, "", problems)
    wins = build.message(pagination_pb.PaginationRequest, page, "", problems)
    message.pagination = message.pagination or wins
    for name in page:
        setattr(message.pagination, name, getattr(wins, name))
    chosen = message.filter.scope if message.filter else None
    if chosen and chosen.scope is None and not problems.has("filter.scope"):
        text = f"needs one of {', '.join(build.members(chosen.desc(), 'scope'))}"
        problems.note("filter.scope", "required", text)
    return build.checked(message, problems)


def next_page_request(request: secret_pb.ListSecretsRequest, token: str) -> secret_pb.ListSecretsRequest:
    """Build the message for the page that `token` stands for."""
    size = request.pagination.page_size if request.pagination else 0
    return secret_pb.ListSecretsRequest(
        pagination=pagination_pb.PaginationRequest(page_size=size, token=token), filter=request.filter
    )
