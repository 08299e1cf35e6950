"""The compiled contract against a table written by hand, so that a slip in either is seen."""

import protovalidate
import pytest
from protobuf import DescMessage, Registry
from protobuf.txtpb import message_to_text
from protobuf.wkt.google.protobuf.descriptor_pb import FieldOptions, MethodOptions, OneofOptions
from protovalidate._gen.buf.validate import validate_pb  # the private path that the generated code imports too

from gitpod_proto.gitpod.v1 import identity_pb, pagination_pb, secret_pb

UUID = "string { uuid: true }"
UUID_UNLESS_EMPTY = f"ignore: IGNORE_IF_ZERO_VALUE {UUID}"
PATH = (
    'cel { id: "absolute_path" message: "value must be an absolute path (e.g. /path/to/file)" '
    "expression: \"this.matches('^/[^/].*$')\" }"
)
TRUE = 'cel { id: "true" message: "must be true, or left out" expression: "this" }'
HOST = (
    (
        'cel { id: "host_or_host_port" message: "host must be a hostname or IP address '
        'with optional port" expression: "this.isHostname() || this.isIp() || '
        "(this.isHostAndPort(true) && !this.matches(':0+$'))\" } string {{ min_len: 1 }}"
    )
    .replace("{{", "{")
    .replace("}}", "}")
)

# message | number | field | type | oneof | options | rule
FIELDS = f"""
CreateSecretRequest | 1 | name | string | | | string {{ min_len: 3 max_len: 127 pattern: "^[0-9a-zA-Z_]{{3,}}$" }}
CreateSecretRequest | 2 | project_id | string | | deprecated | {UUID_UNLESS_EMPTY}
CreateSecretRequest | 3 | value | string | | debug_redact | string {{ max_len: 10240 }}
CreateSecretRequest | 7 | file_path | string | mount | | {PATH}
CreateSecretRequest | 8 | environment_variable | bool | mount | | {TRUE}
CreateSecretRequest | 9 | container_registry_basic_auth_host | string | mount | | string {{ uri: true }}
CreateSecretRequest | 10 | scope | SecretScope | | |
CreateSecretRequest | 11 | api_only | bool | mount | | {TRUE}
CreateSecretRequest | 12 | credential_proxy | Secret.CredentialProxy | | |
CreateSecretRequest | 13 | source | Secret.Source | | |
CreateSecretResponse | 1 | secret | Secret | | |
Secret | 1 | id | string | | | {UUID}
Secret | 2 | name | string | | |
Secret | 3 | project_id | string | | deprecated | {UUID_UNLESS_EMPTY}
Secret | 4 | created_at | google.protobuf.Timestamp | | |
Secret | 5 | updated_at | google.protobuf.Timestamp | | |
Secret | 6 | creator | Subject | | |
Secret | 7 | file_path | string | mount | |
Secret | 8 | environment_variable | bool | mount | |
Secret | 9 | container_registry_basic_auth_host | string | mount | | string {{ uri: true }}
Secret | 10 | scope | SecretScope | | |
Secret | 11 | api_only | bool | mount | |
Secret | 12 | credential_proxy | Secret.CredentialProxy | | |
Secret | 13 | source | Secret.Source | | |
Secret.CredentialProxy | 1 | target_hosts | repeated string | | |
Secret.CredentialProxy | 2 | header | string | | |
Secret.Source.OidcJFrog | 1 | host | string | | | {HOST}
Secret.Source.OidcJFrog | 2 | provider_name | string | | | string {{ min_len: 1 }}
Secret.Source | 1 | verbatim | bool | value | |
Secret.Source | 2 | oidc_jfrog | Secret.Source.OidcJFrog | value | |
SecretScope | 1 | project_id | string | scope | | {UUID}
SecretScope | 2 | user_id | string | scope | | {UUID}
SecretScope | 3 | organization_id | string | scope | | {UUID}
SecretScope | 4 | service_account_id | string | scope | | {UUID}
UpdateSecretValueRequest | 1 | secret_id | string | | | {UUID}
UpdateSecretValueRequest | 2 | value | string | | debug_redact | string {{ min_len: 1 max_len: 10240 }}
ListSecretsRequest | 1 | pagination | PaginationRequest | | |
ListSecretsRequest | 2 | filter | ListSecretsRequest.Filter | | |
ListSecretsRequest.Filter | 1 | project_ids | repeated string | | deprecated | repeated {{ max_items: 25 items {{ {UUID} }} }}
ListSecretsRequest.Filter | 2 | scope | SecretScope | | |
ListSecretsResponse | 1 | pagination | PaginationResponse | | |
ListSecretsResponse | 2 | secrets | repeated Secret | | |
DeleteSecretRequest | 1 | secret_id | string | | | {UUID}
GetSecretValueRequest | 1 | secret_id | string | | | {UUID}
GetSecretValueResponse | 1 | value | string | | debug_redact |
Subject | 1 | id | string | | | {UUID_UNLESS_EMPTY}
Subject | 2 | principal | Principal | | | enum {{ defined_only: true }}
PaginationRequest | 1 | page_size | int32 | | | int32 {{ lte: 100 gte: 0 }}
PaginationRequest | 2 | token | string | | |
PaginationResponse | 1 | next_token | string | | |
"""  # noqa: E501 # a table

EMPTY = {"UpdateSecretValueResponse", "DeleteSecretResponse"}
REQUIRED_ONEOFS = {"CreateSecretRequest.mount", "Secret.mount"}
METHODS = """
CreateSecret | CreateSecretRequest | CreateSecretResponse |
UpdateSecretValue | UpdateSecretValueRequest | UpdateSecretValueResponse |
ListSecrets | ListSecretsRequest | ListSecretsResponse | idempotency_level: NO_SIDE_EFFECTS
DeleteSecret | DeleteSecretRequest | DeleteSecretResponse |
GetSecretValue | GetSecretValueRequest | GetSecretValueResponse | idempotency_level: NO_SIDE_EFFECTS
"""
PRINCIPALS = ["UNSPECIFIED", "ACCOUNT", "USER", "RUNNER", "ENVIRONMENT", "SERVICE_ACCOUNT", "RUNNER_MANAGER"]

FILES = [secret_pb.desc(), identity_pb.desc(), pagination_pb.desc()]
REGISTRY = Registry(validate_pb.desc())


def rows(table: str) -> list[list[str]]:
    """The cells of a table."""
    return sorted([cell.strip() for cell in line.split("|", 6)] for line in table.strip("\n").split("\n"))


def text(options: FieldOptions | MethodOptions | OneofOptions | None) -> str:
    """Options in text format, on one line."""
    return " ".join(message_to_text(options, registry=REGISTRY).split()) if options else ""


def short(name: str) -> str:
    """A type's name without our package."""
    return name.removeprefix(".").removeprefix("gitpod.v1.")


def messages() -> list[DescMessage]:
    """Every message of the contract, nested ones too."""
    found = [message for file in FILES for message in file.messages]
    for message in found:
        # The list grows while it is walked, so that every level is reached.
        found.extend(message.nested_messages)
    return found


def field_rows(message: DescMessage) -> list[list[str]]:
    """The rows of one message, as compiled."""
    found: list[list[str]] = []
    for field in message.fields:
        proto = field.proto
        kind = short(proto.type_name) or proto.type.name.lower()
        repeated = "repeated " if proto.label.name == "REPEATED" else ""
        oneof = message.proto.oneof_decl[proto.oneof_index].name if proto.has_field("oneof_index") else ""
        plain, _, rule = text(proto.options).partition("[buf.validate.field] { ")
        options = " ".join(word.removesuffix(":") for word in plain.split() if word != "true")
        rule = rule.removesuffix("}").strip()
        found.append([short(message.type_name), str(proto.number), proto.name, repeated + kind, oneof, options, rule])
    return found


def test_every_field_is_as_the_table_says() -> None:
    """Numbers, types, oneofs, options and rules, no field more and none less."""
    assert sorted(row for message in messages() for row in field_rows(message)) == rows(FIELDS)


def test_no_message_is_missing_or_new() -> None:
    """Those of the table, and the two without fields."""
    assert {short(message.type_name) for message in messages()} == {row[0] for row in rows(FIELDS)} | EMPTY


def test_oneofs_are_required_where_the_table_says() -> None:
    """A mount must be chosen; a scope and a source need not be."""
    required = {
        f"{short(message.type_name)}.{oneof.name}"
        for message in messages()
        for oneof in message.oneofs
        if "required: true" in text(oneof.proto.options)
    }
    assert required == REQUIRED_ONEOFS


def test_methods_and_their_idempotency() -> None:
    """The five RPCs; those without side effects may use HTTP GET."""
    [service] = secret_pb.desc().services
    assert service.type_name == "gitpod.v1.SecretService"
    found = [
        [m.name, short(m.input.type_name), short(m.output.type_name), text(m.proto.options)] for m in service.methods
    ]
    assert sorted(found) == rows(METHODS)


def test_principals() -> None:
    """Numbered from 0 in this order."""
    [principal] = identity_pb.desc().enums
    found = {value.proto.number: value.proto.name for value in principal.values}
    assert found == dict(enumerate(f"PRINCIPAL_{name}" for name in PRINCIPALS))


@pytest.mark.parametrize(
    ("host", "is_good"),
    [
        ("example.jfrog.io", True),
        ("example.jfrog.io:443", True),
        ("10.0.0.1:8081", True),
        ("::1", True),
        ("[::1]:65535", True),
        ("example.jfrog.io:0", False),
        ("example.jfrog.io:65536", False),
        ("https://example.jfrog.io", False),
        ("example.jfrog.io/path", False),
        ("", False),
    ],
)
def test_jfrog_hosts(host: str, *, is_good: bool) -> None:
    """A host name or IP address, with an optional port from 1 to 65535."""
    found = protovalidate.collect_violations(secret_pb.Secret.Source.OidcJFrog(host=host, provider_name="p"))
    assert (not found) == is_good
