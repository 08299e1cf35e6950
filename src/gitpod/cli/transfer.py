"""Copies secrets to another scope, verifies the copies, and deletes what was copied.

The order makes a move safe: nothing is deleted before every secret was stored in the target and read back from there,
and a secret that changed meanwhile stays. After a fault at any step, no value is lost, and the same move finishes what
is left.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gitpod import Gitpod
from gitpod.cli.apply import NOT_DONE, Outcome, apply, compare
from gitpod.cli.bulk import MAX_RETRIES, WORKERS, CircuitBreaker, map_concurrently, read_values
from gitpod.cli.client import listed
from gitpod.cli.failures import CONFLICT, SOME_FAILED, Failure
from gitpod.cli.files.entries import Entry, Mount
from gitpod.cli.options import Scope, one_scope
from gitpod.cli.plan import PROBLEMS, Item, mount_of, plan
from gitpod.errors import NotFoundError
from gitpod.types import Secret, SecretValue

OTHER_PROXY = "exists with another credential proxy; delete it first"
OTHER_VALUE = "exists with another value; --replace overwrites it"
SAME = "is the same secret in the source and in the target, so the service takes both for one scope"
CHANGED = "changed while it was copied, so it is not deleted"


@dataclass(frozen=True, slots=True)
class Source:
    """A secret of the source.

    Attributes:
        secret: the secret as it was listed.
        value: its value.
    """

    secret: Secret
    value: SecretValue = field(repr=False)


def read(client: Gitpod, secrets: Sequence[Secret]) -> list[Source | Failure]:
    """Read the value of each secret, or return why the secret cannot be copied."""
    values = read_values(client.with_options(max_retries=MAX_RETRIES), [secret.id for secret in secrets])
    return [
        value if isinstance(value, Failure) else _refusal(secret) or Source(secret, value)
        for secret, value in zip(secrets, values, strict=True)
    ]


def _refusal(secret: Secret) -> Failure | None:
    if not mount_of(secret):
        return Failure("has a mount that this version does not know", SOME_FAILED)
    if secret.source and secret.source.oidc_jfrog:
        return Failure("its value comes from elsewhere, and cannot be copied", SOME_FAILED)
    return None


def planned(client: Gitpod, sources: Sequence[Source], target: Scope, *, can_replace: bool) -> list[Item]:
    """Plan what happens in the target for each secret. `update` means that it has another value there."""
    stored = {secret.name: secret for secret in listed(client, one_scope([target]))}
    entries = [
        Entry(number, each.secret.name, each.value, mount_of(each.secret)) for number, each in enumerate(sources)
    ]
    items = plan(entries, stored.values(), target, can_replace=can_replace)
    checked = [_checked(item, each.secret, stored.get(item.name)) for item, each in zip(items, sources, strict=True)]
    return compare(client, checked, WORKERS)


def _checked(item: Item, secret: Secret, found: Secret | None) -> Item:
    if found and found.id == secret.id:
        # Its copy would be deleted with it.
        return replace(item, action="conflict", rule=SAME)
    if found and found.credential_proxy != secret.credential_proxy and item.action not in PROBLEMS:
        return replace(item, action="conflict", rule=OTHER_PROXY)
    if not secret.credential_proxy:
        return item
    return replace(item, params={**item.params, "credential_proxy": secret.credential_proxy})


def copy(client: Gitpod, items: Sequence[Item], target: Scope) -> list[Outcome]:
    """Carry out the plan, read every copy back, and return the outcomes. One that is not as planned has failed."""
    outcomes = apply(client, items, WORKERS)
    if any(each.outcome in NOT_DONE for each in outcomes):
        return outcomes
    client, breaker = client.with_options(max_retries=MAX_RETRIES), CircuitBreaker(WORKERS)
    stored = {secret.name: secret for secret in listed(client, one_scope([target]))}

    def verify(outcome: Outcome) -> Outcome:
        failure = _difference(client, breaker, outcome.item, stored.get(outcome.item.name))
        return Outcome(outcome.item, "failed", failure.message, failure.status) if failure else outcome

    return map_concurrently(verify, outcomes, WORKERS)


def _difference(client: Gitpod, breaker: CircuitBreaker, item: Item, found: Secret | None) -> Failure | None:
    """Return why the secret in the target is not the copy."""
    if found is None:
        return Failure("is not there after it was copied", CONFLICT)
    wanted = {name: item.params[name] for name in mount_of(found) if name in item.params}
    if wanted != mount_of(found) or found.credential_proxy != item.params.get("credential_proxy"):
        return Failure("has another mount after it was copied", CONFLICT)
    value = breaker.call(lambda: client.secrets.get_value(secret_id=found.id))
    if isinstance(value, Failure):
        return value._replace(message=f"the copy cannot be read back: {value.message}")
    return None if value == item.value else Failure("has another value after it was copied", CONFLICT)


def delete(client: Gitpod, sources: Sequence[Source], scope: Scope) -> list[Failure | None]:
    """Delete the secrets that were copied and have not changed since. Returns why one is not deleted."""
    client, breaker = client.with_options(max_retries=MAX_RETRIES), CircuitBreaker(WORKERS)
    stored = {secret.id: secret for secret in listed(client, one_scope([scope]))}

    def remove(source: Source) -> Failure | None:
        now = stored.get(source.secret.id)
        if now and _described(now) != _described(source.secret):
            return Failure(CHANGED, CONFLICT)
        # Without `now`, somebody else has deleted it.
        return breaker.call(_deletion(client, source)) if now else None

    return map_concurrently(remove, sources, WORKERS, finish=True)


def _described(secret: Secret) -> tuple[str, Mount, object]:
    return secret.name, mount_of(secret), secret.credential_proxy


def _deletion(client: Gitpod, source: Source) -> Callable[[], Failure | None]:
    def call() -> Failure | None:
        with suppress(NotFoundError):  # somebody else has deleted it
            if client.secrets.get_value(secret_id=source.secret.id) != source.value:
                return Failure(CHANGED, CONFLICT)
            client.secrets.delete(secret_id=source.secret.id)
        return None

    return call


def without_consent(items: Iterable[Item]) -> list[Item]:
    """Return the plan with a conflict in the place of every update of another value."""
    return [replace(item, action="conflict", rule=OTHER_VALUE) if item.action == "update" else item for item in items]
