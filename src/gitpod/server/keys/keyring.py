"""Envelope encryption: values are sealed by data keys, which the store keeps wrapped by a key-encryption key.

AES-256-GCM (NIST SP 800-38D), with a random 96-bit nonce in front of each ciphertext. What a ciphertext
belongs to is its associated data, so one that was moved to another row does not open.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gitpod.server.errors import ServiceError
from gitpod.server.keys.kek import KeyEncryptionKey, UnwrapError
from gitpod.server.log import logger
from gitpod.server.storage.rows import Organization, Sealed, StoredSecret, StoredToken, WrappedKey, now

T = TypeVar("T")

NONCE_BYTES = 12
KEY_BYTES = 32
REFRESH = 5.0
"""Seconds until a process seals with a data key that another process has added."""


class SealError(Exception):
    """A ciphertext was altered, or sealed by another key or for something else."""


class KeyNotOpenError(Exception):
    """A value's data key was not opened yet; see `Keyring.fetching`, which is for outside of any transaction."""

    def __init__(self, of: StoredSecret | StoredToken) -> None:
        super().__init__(of.key_id)
        self.organization_id, self.key_id = of.organization_id, of.key_id


@dataclass(slots=True)
class _Keys:
    """The data keys of an organization, oldest first; those that were opened, and ids that are of none."""

    wrapped: dict[str, WrappedKey] = field(default_factory=dict)
    opened: dict[str, AESGCM] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    newest: str = ""
    is_newest_open: bool = False
    refreshing: threading.Lock = field(default_factory=threading.Lock)
    loaded_at: float = float("-inf")


class Keyring:
    """The data keys of every organization, opened when they are first needed. Its repr shows no key.

    Sealing and opening wait for nothing, so that they can be part of a transaction; `prepare` and `fetch`
    may ask the store, and whatever has the key-encryption key.

    Args:
        kek: what the data keys are wrapped by.
        load: gives an organization's data keys, oldest first.
    """

    def __init__(self, kek: KeyEncryptionKey, load: Callable[[str], list[WrappedKey]]) -> None:
        self._kek = kek
        self._load = load
        self._lock = threading.Lock()
        self._organizations: dict[str, _Keys] = {}

    def prepare(self, organization_id: str) -> None:
        """See that there is a key to seal with, the newest there was a few seconds ago.

        Raises:
            ServiceError: there is none, or none that opens.
        """
        with self._lock:
            keys = self._organizations.setdefault(organization_id, _Keys())
        if keys.newest and time.monotonic() - keys.loaded_at < REFRESH:
            return
        # While one thread looks for a newer key, the others use the one that they have.
        if keys.refreshing.acquire(blocking=not keys.newest):
            try:
                if not keys.newest or time.monotonic() - keys.loaded_at >= REFRESH:
                    self._refresh(organization_id, keys)
            finally:
                keys.refreshing.release()

    def opens_all_new(self, organization_id: str) -> bool:
        """Whether the newest data key opens, after `prepare`."""
        return self._organizations[organization_id].is_newest_open

    def fetch(self, organization_id: str, key_id: str) -> None:
        """Open a data key, if there is one of this id. Raises `ServiceError` when it does not open."""
        keys = self._organizations[organization_id]
        with keys.refreshing:
            if key_id not in keys.wrapped:
                self._refresh(organization_id, keys)
            if key_id in keys.wrapped:
                self._open(keys, key_id)
            else:
                keys.absent.add(key_id)

    def fetching(self, work: Callable[[], T]) -> T:
        """Do work that opens or checks something, as often as a data key for it has still to be fetched."""
        while True:
            try:
                return work()
            except KeyNotOpenError as missing:
                # From now on it is open, or known to be none.
                self.fetch(missing.organization_id, missing.key_id)

    def seal(self, value: str, secret: StoredSecret) -> Sealed:
        """Seal a value for a secret, whose own value does not matter; after `prepare`."""
        keys = self._organizations[secret.organization_id]
        newest = keys.newest
        ciphertext = _seal(keys.opened[newest], value.encode(), _associated_data(secret))
        return Sealed(key_id=newest, ciphertext=ciphertext)

    def open(self, secret: StoredSecret) -> str:
        """Open the value of a secret; after `prepare`.

        Raises:
            SealError: it was sealed for another secret, or altered.
            KeyNotOpenError: its data key has to be fetched.
        """
        key = self._opened(self._organizations[secret.organization_id], secret)
        return _open(key, secret.ciphertext, _associated_data(secret)).decode()

    def sign(self, token: StoredToken) -> StoredToken:
        """Seal what a token says, so that nobody who merely writes to the store makes one; after `prepare`."""
        keys = self._organizations[token.organization_id]
        tag = _seal(keys.opened[keys.newest], b"", _token_associated_data(token))
        return replace(token, key_id=keys.newest, tag=tag)

    def check(self, token: StoredToken) -> None:
        """See that a token is as it was signed. Raises as `open` does."""
        keys = self._organizations[token.organization_id]
        _open(self._opened(keys, token), token.tag, _token_associated_data(token))

    def _opened(self, keys: _Keys, of: StoredSecret | StoredToken) -> AESGCM:
        key = keys.opened.get(of.key_id)
        if key is None:
            raise SealError if of.key_id in keys.absent else KeyNotOpenError(of)
        return key

    def _refresh(self, organization_id: str, keys: _Keys) -> None:
        loaded_at = time.monotonic()
        keys.wrapped = {key.id: key for key in self._load(organization_id)}
        keys.absent -= keys.wrapped.keys()
        keys.newest = self._newest_that_opens(keys)
        keys.loaded_at = loaded_at

    def _newest_that_opens(self, keys: _Keys) -> str:
        keys.is_newest_open = True
        failure = None
        for key_id in reversed(keys.wrapped):
            try:
                self._open(keys, key_id)
            except ServiceError as error:
                # As after `keys rewrap`, until this process is started with the new key: one before does.
                logger.error("a data key does not open: %s", error)
                keys.is_newest_open, failure = False, error
            else:
                return key_id
        raise failure or ServiceError("the organization has no data key")

    def _open(self, keys: _Keys, key_id: str) -> None:
        if key_id not in keys.opened:
            keys.opened[key_id] = AESGCM(unwrap(self._kek, keys.wrapped[key_id]))


def new_data_key(kek: KeyEncryptionKey, organization_id: str) -> WrappedKey:
    """Make a data key for an organization."""
    key = WrappedKey(organization_id=organization_id, id=str(uuid.uuid4()), wrapped=b"", created_at=now())
    return wrap(kek, key, AESGCM.generate_key(256))


def wrap(kek: KeyEncryptionKey, key: WrappedKey, data_key: bytes) -> WrappedKey:
    """Wrap a data key, bound to its organization and id whatever the key-encryption key makes of them."""
    associated_data = _key_associated_data(key)
    wrapped = kek.wrap(data_key + sha256(associated_data).digest(), associated_data)
    wrapped_key = replace(key, wrapped=wrapped)
    if unwrap(kek, wrapped_key) != data_key:
        # Or whoever relies on it would lose every value.
        raise ServiceError(f"{kek} does not unwrap what it wrapped")
    return wrapped_key


def unwrap(kek: KeyEncryptionKey, key: WrappedKey) -> bytes:
    """Open a data key. Raises `ServiceError` when another key wrapped it, or for something else."""
    associated_data = _key_associated_data(key)
    try:
        plain = kek.unwrap(key.wrapped, associated_data)
    except UnwrapError:
        plain = b""
    data_key, bound = plain[:KEY_BYTES], plain[KEY_BYTES:]
    if bound != sha256(associated_data).digest():
        raise ServiceError(f"{kek} is not the one that this store was made with, or last rewrapped to")
    return data_key


def _associated_data(secret: StoredSecret) -> bytes:
    """What a value belongs to: its row, and all that the row says of it.

    No part holds a NUL, so no two rows give the same.
    """
    parts = ("gitpod-secret-1", secret.organization_id, secret.scope_kind, secret.scope_id, secret.id)
    return "\0".join((*parts, sha256(secret.record).hexdigest())).encode()


def sign_organization(kek: KeyEncryptionKey, key: WrappedKey, organization: Organization) -> Organization:
    """Seal what an organization is, by one of its data keys."""
    tag = _seal(AESGCM(unwrap(kek, key)), b"", _organization_associated_data(organization))
    return replace(organization, key_id=key.id, tag=tag)


def check_organization(kek: KeyEncryptionKey, keys: list[WrappedKey], organization: Organization) -> None:
    """See that an organization is as it was signed. Raises `ServiceError`, also when the key is another one."""
    for key in keys:
        if key.id == organization.key_id:
            try:
                _open(AESGCM(unwrap(kek, key)), organization.tag, _organization_associated_data(organization))
            except SealError:
                break
            return
    raise ServiceError(f"the store's organization {organization.id} is not as it was made")


def _organization_associated_data(organization: Organization) -> bytes:
    own = "own" if organization.is_own else "another"
    return "\0".join(("gitpod-organization-1", organization.id, organization.owner_id, own)).encode()


def _token_associated_data(token: StoredToken) -> bytes:
    who = (token.subject_id, str(token.principal), token.role, token.projects, str(token.created_at))
    return "\0".join(("gitpod-token-1", token.organization_id, token.id, token.digest.hex(), *who)).encode()


def _key_associated_data(key: WrappedKey) -> bytes:
    return "\0".join(("gitpod-data-key-1", key.organization_id, key.id)).encode()


def _seal(key: AESGCM, plain: bytes, associated_data: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, associated_data)


def _open(key: AESGCM, sealed: bytes, associated_data: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated_data)
    except (InvalidTag, ValueError, TypeError):
        raise SealError from None
