"""Storing secrets, in every flavour."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.caller import Caller
from tests.support.peer import Peer, answer
from tests.support.service import TOKEN

import gitpod
from gitpod.types import CredentialProxy, OidcJFrog, Secret, SecretScope, Source, Subject

DOCUMENTED_ANSWER = b"""{
"secret": {
"id": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"apiOnly": true,
"containerRegistryBasicAuthHost": "https://example.com",
"createdAt": "2019-12-27T18:11:19.117Z",
"creator": {
"id": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"principal": "PRINCIPAL_UNSPECIFIED"
},
"environmentVariable": true,
"filePath": "filePath",
"name": "name",
"projectId": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"scope": {
"organizationId": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"projectId": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"serviceAccountId": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e",
"userId": "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
},
"updatedAt": "2019-12-27T18:11:19.117Z"
}
}"""
MOUNTS: list[dict[str, Any]] = [
    {"environment_variable": True},
    {"file_path": "/home/gitpod/.ssh/id_rsa"},
    {"container_registry_basic_auth_host": "https://registry.example.com"},
    {"api_only": True},
]


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda mount: next(iter(mount)))
def test_each_mount_is_stored_and_echoed(client: Caller, project: str, mount: dict[str, Any]) -> None:
    """The secret that comes back has the mount that was asked for, and no other."""
    secret = client.create(name="DATABASE_URL", value="v", project_id=project, **mount).secret
    every = {name: getattr(secret, name) for each in MOUNTS for name in each}
    assert {name: value for name, value in every.items() if value is not None} == mount
    assert client.list(filter={"scope": {"project_id": project}}) == [secret]


def test_answer_has_the_documented_fields(client: Caller, project: str) -> None:
    """Ids, names, both forms of the project, who created it, and aware times."""
    secret = client.create(name="DATABASE_URL", value="v", project_id=project, environment_variable=True).secret
    assert secret.name == "DATABASE_URL"
    assert secret.project_id == project
    assert secret.scope == SecretScope(project_id=project)
    assert secret.creator
    assert secret.creator.principal == "PRINCIPAL_USER"
    assert secret.created_at
    assert secret.created_at == secret.updated_at
    assert secret.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - secret.created_at) < timedelta(minutes=5)


def test_json_is_the_documented_one(client: Caller, project: str) -> None:
    """`to_json` gives camelCase names and RFC 3339 times, and leaves out what is not set."""
    response = client.create(name="DATABASE_URL", value="v", project_id=project, environment_variable=True)
    document = json.loads(response.to_json())["secret"]
    assert document == response.to_dict()["secret"]
    assert sorted(document) == sorted(
        ["id", "name", "environmentVariable", "projectId", "scope", "creator", "createdAt", "updatedAt"]
    )
    assert document["scope"] == {"projectId": project}
    assert datetime.fromisoformat(document["createdAt"]) == response.secret.created_at


def test_false_is_the_same_as_leaving_it_out(client: Caller, project: str) -> None:
    """A mount that is False does not count as chosen."""
    secret = client.create(
        name="KEY", value="v", project_id=project, environment_variable=False, api_only=False, file_path="/k"
    ).secret
    assert (secret.file_path, secret.environment_variable, secret.api_only) == ("/k", None, None)


@pytest.mark.parametrize("member", ["project_id", "user_id", "organization_id", "service_account_id"])
def test_scope_is_a_mapping_or_a_secret_scope(client: Caller, project: str, member: str) -> None:
    """Both forms mean the same, for each member; only a project is echoed as `project_id`."""
    first = client.create(name="FIRST", value="v", scope={member: project}, api_only=True).secret
    second = client.create(name="SECOND", value="v", scope=SecretScope(**{member: project}), api_only=True).secret
    assert first.scope == second.scope == SecretScope(**{member: project})
    assert first.project_id == (project if member == "project_id" else None)


def test_credential_proxy_and_source_are_kept(client: Caller, project: str) -> None:
    """As mappings or as the types that come back."""
    made = client.create(
        name="TOKEN",
        value="v",
        project_id=project,
        api_only=True,
        credential_proxy={"target_hosts": ["api.example.com"], "header": "Authorization"},
        source={"oidc_jfrog": {"host": "example.jfrog.io:443", "provider_name": "ci"}},
    ).secret
    assert made.credential_proxy == CredentialProxy(target_hosts=("api.example.com",), header="Authorization")
    assert made.source == Source(oidc_jfrog=OidcJFrog(host="example.jfrog.io:443", provider_name="ci"))
    again = client.create(
        name="AGAIN",
        value="v",
        project_id=project,
        api_only=True,
        credential_proxy=made.credential_proxy,
        source=made.source,
    ).secret
    assert (again.credential_proxy, again.source) == (made.credential_proxy, made.source)


def test_the_documented_answer_is_read(kind: Any, runner: asyncio.Runner) -> None:
    """As the public reference prints it: with several members of a oneof, of which the last wins."""
    there = Peer(answer(200, DOCUMENTED_ANSWER))
    caller = Caller(kind(bearer_token=TOKEN, base_url=there.url, codec="json"), runner)
    time, uuid = datetime(2019, 12, 27, 18, 11, 19, 117000, UTC), "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
    assert caller.create(name="NAME", value="v", project_id=uuid, api_only=True).secret == Secret(
        id=uuid,
        name="name",
        file_path="filePath",
        project_id=uuid,
        scope=SecretScope(user_id=uuid),
        creator=Subject(id=uuid, principal="PRINCIPAL_UNSPECIFIED"),
        created_at=time,
        updated_at=time,
    )
    caller.close()
    there.close()


@pytest.mark.parametrize("value", ["", " \n\r\n\t", "päss\x00wörd", "😀" * 10240, "\\\"'$`#="], ids=ascii)
def test_values_come_back_as_they_went_in(client: Caller, project: str, value: str) -> None:
    """Nothing is trimmed, escaped or cut."""
    secret = client.create(name="VALUE", value=value, project_id=project, api_only=True).secret
    assert client.get_value(secret_id=secret.id).value == value


def test_a_name_is_unique_in_its_scope(client: Caller, project: str) -> None:
    """The second of a name is a ConflictError, which did nothing; another scope may have the name."""
    client.create(name="TAKEN", value="first", project_id=project, api_only=True)
    with pytest.raises(gitpod.ConflictError, match="name: is taken in this scope") as caught:
        client.create(name="TAKEN", value="second", scope={"project_id": project}, api_only=True)
    assert (caught.value.code, caught.value.status_code) == ("already_exists", 409)
    assert (caught.value.outcome, caught.value.attempts) == ("rejected", 1)
    assert caught.value.request_id
    [kept] = client.list(filter={"scope": {"project_id": project}})
    assert client.get_value(secret_id=kept.id).value == "first"
    assert client.create(name="TAKEN", value="v", scope={"user_id": project}, api_only=True).secret.id != kept.id


def test_ids_are_compared_as_uuids(client: Caller, project: str) -> None:
    """An id in capitals is the same id."""
    secret = client.create(name="CAPITALS", value="v", project_id=project.upper(), api_only=True).secret
    assert secret.project_id == project
    assert client.get_value(secret_id=secret.id.upper()).value == "v"
