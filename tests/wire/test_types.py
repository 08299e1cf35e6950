"""`gitpod.types` and the signatures of the calls against the descriptors, as all of them are written by hand."""

import dataclasses
import inspect
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from typing import Any, cast, get_args, get_type_hints

import protovalidate
import pytest
from protobuf import DescEnum, DescField, DescFieldValueList, DescMessage, Message, ScalarType
from protobuf.wkt import Timestamp

from gitpod import types
from gitpod._messages import requests
from gitpod._messages.descriptors import is_redacted, kind_of, oneof_of
from gitpod._secrets.aio import AsyncSecrets
from gitpod._secrets.keywords import OF_THE_CALL
from gitpod._secrets.sync import Secrets
from gitpod.errors import InvalidRequestError, violation
from gitpod_proto.gitpod.v1 import identity_pb, pagination_pb, secret_pb


def test_principals_have_the_same_names_in_python() -> None:
    """`gitpod.types` says them by hand."""
    assert list(get_args(types.Principal)) == [value.name for value in identity_pb.Principal.desc().values]


PARAMS: list[tuple[type[Message], type]] = [
    (secret_pb.CreateSecretRequest, types.SecretCreateParams),
    (secret_pb.UpdateSecretValueRequest, types.SecretUpdateValueParams),
    (secret_pb.DeleteSecretRequest, types.SecretDeleteParams),
    (secret_pb.GetSecretValueRequest, types.SecretGetValueParams),
    (secret_pb.ListSecretsRequest.Filter, types.SecretListFilter),
    (pagination_pb.PaginationRequest, types.SecretListPagination),
    (secret_pb.SecretScope, types.SecretScopeParam),
    (secret_pb.Secret.CredentialProxy, types.CredentialProxyParam),
    (secret_pb.Secret.Source.OidcJFrog, types.OidcJFrogParam),
    (secret_pb.Secret.Source, types.SourceParam),
]
RESULTS: list[tuple[type[Message], type]] = [
    (secret_pb.SecretScope, types.SecretScope),
    (secret_pb.Secret, types.Secret),
    (secret_pb.Secret.CredentialProxy, types.CredentialProxy),
    (secret_pb.Secret.Source.OidcJFrog, types.OidcJFrog),
    (secret_pb.Secret.Source, types.Source),
    (identity_pb.Subject, types.Subject),
    (secret_pb.CreateSecretResponse, types.SecretCreateResponse),
]
SCALARS: dict[object, Any] = {ScalarType.STRING: str, ScalarType.BOOL: bool, ScalarType.INT32: int}


def not_empty(message: type[Message]) -> set[str]:
    """The fields that the rules do not allow to be empty."""
    return {violation(broken.proto).field for broken in protovalidate.collect_violations(message())}


def param_type(field: DescField) -> Any:
    """The type of the parameter that becomes this field."""
    kind = kind_of(field)
    if isinstance(kind, DescMessage):
        params = dict(PARAMS).get(kind.type) or getattr(types, f"{kind.name}Param")
        return params | getattr(types, kind.name) if hasattr(types, kind.name) else params
    if isinstance(field.value, DescFieldValueList):
        return {ScalarType.STRING: Sequence[str]}[cast("ScalarType", kind)]
    scalar = SCALARS[kind]
    return scalar | types.SupportsSecretValue if is_redacted(field) else scalar


def result_type(field: DescField) -> Any:
    """The type of what this field becomes, when it is set."""
    kind = kind_of(field)
    if isinstance(kind, DescEnum):
        return types.Principal | str
    if isinstance(kind, DescMessage):
        return datetime if kind.type is Timestamp else getattr(types, kind.name)
    if isinstance(field.value, DescFieldValueList):
        return {ScalarType.STRING: tuple[str, ...]}[cast("ScalarType", kind)]
    return SCALARS[kind]


@pytest.mark.parametrize(("message", "python"), PARAMS)
def test_parameters_are_the_fields_of_their_message(message: type[Message], python: Any) -> None:
    """By name and type; required are those that may not be empty, and of a oneof none."""
    assert get_type_hints(python) == {field.name: param_type(field) for field in message.desc().fields}
    assert python.__required_keys__ == not_empty(message) - {oneof.name for oneof in message.desc().oneofs}
    assert not {field.name for field in message.desc().fields if oneof_of(field)} & python.__required_keys__


def test_a_list_takes_its_filter_and_page() -> None:
    """And both fields of the page by themselves."""
    fields = {"filter": types.SecretListFilter, "pagination": types.SecretListPagination}
    assert fields.keys() == {field.name for field in secret_pb.ListSecretsRequest.desc().fields}
    assert get_type_hints(types.SecretListParams) == {**fields, **get_type_hints(types.SecretListPagination)}
    assert not types.SecretListParams.__required_keys__


@pytest.mark.parametrize(("message", "python"), RESULTS)
def test_results_are_the_fields_of_their_message(message: type[Message], python: type) -> None:
    """By name and type; what may be empty has a default, which for a member of a oneof is None."""
    hints, required = get_type_hints(python), not_empty(message) | {"name", "secret"}
    assert sorted(hints) == sorted(field.name for field in message.desc().fields)
    for field in message.desc().fields:
        default = next(found.default for found in dataclasses.fields(python) if found.name == field.name)
        assert (default is dataclasses.MISSING) == (field.name in required)
        assert default is None or not oneof_of(field)
        assert hints[field.name] == (result_type(field) | None if default is None else result_type(field))


@pytest.mark.parametrize("secrets", [Secrets, AsyncSecrets])
@pytest.mark.parametrize("call", ["create", "put"])
def test_create_and_put_spell_out_their_parameters(secrets: Any, call: str) -> None:
    """In the order of the TypedDict; None stands for those that may be left out, but not for a value."""
    params = inspect.signature(getattr(secrets, call)).parameters
    given = {name: param for name, param in params.items() if name not in OF_THE_CALL}
    hints = get_type_hints(types.SecretCreateParams)
    optional = {name: hint if name in ("name", "value") else hint | None for name, hint in hints.items()}
    assert [*given] == [*types.SecretCreateParams.__annotations__]
    assert {name: param.annotation for name, param in given.items()} == optional
    assert {param.default for name, param in given.items() if name not in ("name", "value")} == {None}
    assert {param.kind for name, param in params.items() if name not in ("self", "unknown")} == {
        inspect.Parameter.KEYWORD_ONLY
    }


@pytest.mark.parametrize("call", [Secrets.create, Secrets.put])
def test_create_and_put_explain_their_parameters(call: Any) -> None:
    """Each has a line below `Args:`, in the order of the signature."""
    [arguments] = re.findall(r"Args:\n(.*?)\n\n", inspect.cleandoc(call.__doc__), flags=re.DOTALL)
    explained = re.findall(r"^ {4}\**(\w+): ", arguments, flags=re.MULTILINE)
    assert explained == [name for name in inspect.signature(call).parameters if name != "self"]


@pytest.mark.parametrize(("message", "python"), PARAMS)
def test_two_members_of_a_oneof_are_refused(message: type[Message], python: type) -> None:
    """Every pair, with both named."""
    samples: dict[object, Any] = {str: "x", bool: True}
    for oneof in message.desc().oneofs:
        for pair in combinations(oneof.fields, 2):
            given = {field.name: samples.get(get_type_hints(python)[field.name], {}) for field in pair}
            with pytest.raises(InvalidRequestError) as caught:
                requests.request(message, given)
            [found] = [found for found in caught.value.violations if found.rule_id == "oneof"]
            assert all(name in found.message.partition(";")[2] for name in given)
