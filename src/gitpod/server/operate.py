"""Operators' work on a store: tokens, keys and the schema. The command line calls it."""

import time
from collections.abc import Callable

from gitpod.server.caller import Role
from gitpod.server.keys.kek import SealError
from gitpod.server.keys.keyring import (
    REFRESH,
    Keyring,
    check_organization,
    new_data_key,
    unwrap,
    wrap,
)
from gitpod.server.keys.unlock import add_organization, open_key, unlock
from gitpod.server.storage.rows import Sealed, StoredSecret, StoredToken, WrappedKey, audit_record, now
from gitpod.server.storage.store import Store
from gitpod.server.tokens import new_token
from gitpod_proto.gitpod.v1.identity_pb import Subject

BATCH = 100
"""Values that are sealed again in one transaction. On SQLite the service waits for that long."""
PAUSE = 0.02
"""Seconds between two batches, in which the service can write."""


def migrate(store: Store) -> None:
    """Bring the schema to the newest revision."""
    with store.maintenance() as maintenance:
        maintenance.migrate()


def create_token(
    store: Store,
    key: str | None,
    subject: Subject,
    role: Role,
    projects: frozenset[str],
    organization_id: str | None,
    *,
    expires_at: int | None = None,
    note: str = "",
) -> tuple[str, StoredToken]:
    """Make a token and return it with its row. The store keeps only the SHA-256, so the token cannot be shown again.

    Args:
        store: the store.
        key: which key-encryption key, as `keys.unlock.open_key` takes it.
        subject: whom the token is for.
        role: what the token may do; not the owner's role.
        projects: the ids of the projects that the token reaches.
        organization_id: the organization. A new one is added with a data key. Default: the store's own.
        expires_at: when services refuse it by their clocks, in microseconds since 1970. Default: it does not expire.
        note: a text for people, which every list of tokens shows.
    """
    own, kek = unlock(store, key)
    token, bare = new_token(organization_id or own.id, subject, role, projects, expires_at=expires_at, note=note)
    if bare.organization_id not in store.organizations():
        with store.maintenance() as maintenance:
            # Another command may have rewrapped the keys or added the organization since `unlock`.
            check_organization(kek, maintenance.data_keys(own.id), own)
            if not maintenance.data_keys(bare.organization_id):
                add_organization(maintenance, kek, bare.organization_id, is_own=False)
                maintenance.record(audit_record(bare.organization_id, None, "CreateOrganization"))
    keyring = Keyring(kek, store.data_keys)
    keyring.prepare(bare.organization_id)
    stored = keyring.sign(bare)
    with store.maintenance() as maintenance:
        maintenance.add_token(stored)
        record = audit_record(stored.organization_id, None, "CreateToken", scope_kind="token", scope_id=stored.id)
        maintenance.record(record)
    return token, stored


def revoke_token(store: Store, token_id: str) -> bool:
    """Revoke a token. Every service refuses it within seconds. False when there is no such token."""
    with store.maintenance() as maintenance:
        token = maintenance.revoke_token(token_id)
        if token is None:
            return False
        maintenance.record(
            audit_record(token.organization_id, None, "RevokeToken", scope_kind="token", scope_id=token.id)
        )
        return True


def rotate(store: Store, key: str | None) -> int:
    """Add a data key to every organization, which seals new values. Returns the number of organizations."""
    own, kek = unlock(store, key)
    with store.maintenance() as maintenance:
        keys = maintenance.data_keys()
        # Another command may have rewrapped the keys since `unlock`.
        check_organization(kek, keys, own)
        organizations = {each.organization_id for each in keys}
        for organization_id in organizations:
            maintenance.add_data_key(new_data_key(kek, organization_id))
            maintenance.record(audit_record(organization_id, None, "RotateKeys"))
    return len(organizations)


def rewrap(store: Store, key: str | None, new: str) -> int:
    """Wrap every data key by another key-encryption key, all or none. Returns the number of data keys."""
    _, old = unlock(store, key)
    kek = open_key(store, new, create=True)
    with store.maintenance() as maintenance:
        keys = maintenance.data_keys()
        for each in keys:
            maintenance.rewrap(wrap(kek, each, unwrap(old, each)))
        for organization_id in {each.organization_id for each in keys}:
            maintenance.record(audit_record(organization_id, None, "RewrapKeys"))
    return len(keys)


class Reencryption:
    """Seals the values again by the newest data key of their organization, while the service goes on.

    It can be stopped at any time. Run again, it continues with the values that are left.
    """

    def __init__(self, store: Store, key: str | None) -> None:
        _, kek = unlock(store, key)
        self._store = store
        self._keyring = Keyring(kek, store.data_keys)
        self._organizations = [each for each in store.organizations() if store.data_keys(each)]
        self.unreadable: set[str] = set()
        """The ids of secrets whose values do not open. They were left unchanged."""

    def remaining(self) -> int:
        """Return the number of values that an older data key seals."""
        return sum(self._store.count_not_sealed_by(self._newest(each)) for each in self._organizations)

    def pause(self) -> float:
        """Return for how many seconds `run` waits at first, as services may still seal by an older data key."""
        return max(map(self._pause, map(self._newest, self._organizations)), default=0.0)

    def run(self, progress: Callable[[int], object]) -> None:
        """Seal all values again. `progress` is called with the number of values after each batch."""
        for organization_id in self._organizations:
            self._run(organization_id, progress)

    def _run(self, organization_id: str, progress: Callable[[int], object]) -> None:
        newest = self._newest(organization_id)
        while True:
            time.sleep(self._pause(newest))
            moved = self._walk(newest, progress)
            latest = self._newest(organization_id)
            if not moved and latest.id == newest.id:
                with self._store.maintenance() as maintenance:
                    maintenance.record(audit_record(organization_id, None, "ReencryptValues"))
                return
            newest = latest

    @staticmethod
    def _pause(newest: WrappedKey) -> float:
        """Return for how long a service may not know the newest key, and seal by the one before."""
        return min(2 * REFRESH, max(0.0, newest.created_at / 1e6 + 2 * REFRESH - now() / 1e6))

    def _newest(self, organization_id: str) -> WrappedKey:
        return self._store.data_keys(organization_id)[-1]

    def _walk(self, newest: WrappedKey, progress: Callable[[int], object]) -> int:
        """Seal again what an older key seals, in one pass. Returns the number of values."""
        moved, last = 0, ""
        while batch := self._store.not_sealed_by(newest, last, BATCH):
            last = batch[-1].id
            resealed = [(old, sealed) for old in batch if (sealed := self._reseal(old))]
            with self._store.maintenance() as maintenance:
                done = sum(maintenance.reseal(old, sealed) for old, sealed in resealed)
            progress(done)
            moved += done
            time.sleep(PAUSE)
        return moved

    def _reseal(self, old: StoredSecret) -> Sealed | None:
        self._keyring.prepare(old.organization_id)
        try:
            value = self._keyring.fetching(lambda: self._keyring.open(old))
        except SealError:
            self.unreadable.add(old.id)
            return None
        return self._keyring.seal(value, old)
