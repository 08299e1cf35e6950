"""Opens the key of a store and checks it, before anything uses the store. Makes both for a new store."""

import uuid
from typing import TYPE_CHECKING

from gitpod.server.errors import ServiceError
from gitpod.server.keys.kek import KeyEncryptionKey, key_encryption_key, random_key
from gitpod.server.keys.keyring import check_organization, new_data_key, sign_organization
from gitpod.server.storage.rows import Organization, WrappedKey
from gitpod.server.storage.store import Store

if TYPE_CHECKING:
    from gitpod.server.storage.maintenance import Maintenance


def open_key(store: Store, spec: str | None, *, create: bool) -> KeyEncryptionKey:
    """Return the key-encryption key of a store.

    Args:
        store: the store. One in memory always gets a random key of its own.
        spec: `file:PATH`, `env:NAME` or `command:COMMAND`. Default: the file `file.db.key` beside a
            SQLite database `file.db`; a store on PostgreSQL has no default.
        create: whether to make a key file that is missing.

    Raises:
        ServiceError: no key was given, there is no such key, or it may not be used.
    """
    if store.in_memory:
        return random_key()
    if not spec and store.path:
        spec = f"file:{store.path.with_name(f'{store.path.name}.key')}"
    if not spec:
        raise ServiceError("a store on PostgreSQL needs a key: file:PATH, env:NAME or command:COMMAND (--key)")
    return key_encryption_key(spec, create=create)


def unlock(store: Store, spec: str | None) -> tuple[Organization, KeyEncryptionKey]:
    """Return the store's own organization, and the key-encryption key after it was tried on that organization.

    A store whose schema is missing or old is migrated first. A new store gets a key and an organization.

    Args:
        store: the store.
        spec: which key, as `open_key` takes it.

    Raises:
        ServiceError: the key is missing or is not the store's, or the schema is newer than this version.
            Nothing was written.
        StoreUnavailableError: the store cannot be reached, or is locked. Nothing was written.
    """
    if store.is_current and (own := store.own()):
        kek = open_key(store, spec, create=False)
        return _checked(own, store.data_keys(own[0].id), kek), kek
    with store.maintenance() as maintenance:
        maintenance.migrate()
        own = maintenance.own()
        if own:
            kek = open_key(store, spec, create=False)
            return _checked(own, maintenance.data_keys(own[0].id), kek), kek
        if maintenance.holds_secrets() or maintenance.data_keys():
            # A new key would not open what is there, so a missing key is reported first.
            open_key(store, spec, create=False)
            raise ServiceError("the store has lost its organization or the data keys that open its secrets")
        kek = open_key(store, spec, create=True)
        made = add_organization(maintenance, kek, str(uuid.uuid4()), is_own=True)
    return made, kek


def _checked(own: list[Organization], keys: list[WrappedKey], kek: KeyEncryptionKey) -> Organization:
    if not keys:
        raise ServiceError("the store has secrets, but has lost the data keys that open them")
    check_organization(kek, keys, own[0])
    if len(own) > 1:
        raise ServiceError("the store has more than one organization of its own")
    return own[0]


def add_organization(
    maintenance: "Maintenance", kek: KeyEncryptionKey, organization_id: str, *, is_own: bool
) -> Organization:
    """Add an organization with its first data key, and return it."""
    key = new_data_key(kek, organization_id)
    bare = Organization(id=organization_id, owner_id=str(uuid.uuid4()), is_own=is_own, key_id="", tag=b"")
    made = sign_organization(kek, key, bare)
    maintenance.add_organization(made)
    maintenance.add_data_key(key)
    return made
