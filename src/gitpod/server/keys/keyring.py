"""Envelope encryption: data keys seal the values, and the store keeps the data keys wrapped by a key-encryption key.

AES-256-GCM (NIST SP 800-38D), with a random 96-bit nonce in front of each ciphertext. The associated data of
a ciphertext names its row, so a ciphertext that was moved to another row does not open.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gitpod.server.errors import ServiceError
from gitpod.server.keys.kek import KeyEncryptionKey, SealError, seal, unseal
from gitpod.server.log import logger
from gitpod.server.storage.rows import Organization, Sealed, StoredSecret, StoredToken, WrappedKey, now

T = TypeVar("T")

KEY_BYTES = 32
REFRESH = 5.0
"""Seconds after which a process looks for a data key that another process has added."""


class KeyNotLoadedError(Exception):
    """The data key of a value or token is not loaded yet. `Keyring.fetching` loads it, outside of any transaction."""

    def __init__(self, of: StoredSecret | StoredToken) -> None:
        super().__init__(of.key_id)
        self.organization_id, self.key_id = of.organization_id, of.key_id


@dataclass(slots=True)
class _Keys:
    """The data keys of an organization, oldest first.

    `opened` holds those that were unwrapped, and `absent` ids that no data key has.
    """

    wrapped: dict[str, WrappedKey] = field(default_factory=dict)
    opened: dict[str, AESGCM] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    newest: str = ""
    is_newest_open: bool = False
    refreshing: threading.Lock = field(default_factory=threading.Lock)
    loaded_at: float = float("-inf")


class Keyring:
    """The data keys of every organization, unwrapped when they are first needed. Its repr shows no key.

    `seal`, `open`, `sign` and `check` never wait, so they can be used within a transaction. `prepare` and
    `fetch` may ask the store and the key-encryption key.

    Args:
        kek: the key-encryption key that wraps the data keys.
        load: returns the data keys of an organization, oldest first.
    """

    def __init__(self, kek: KeyEncryptionKey, load: Callable[[str], list[WrappedKey]]) -> None:
        self._kek = kek
        self._load = load
        self._lock = threading.Lock()
        self._organizations: dict[str, _Keys] = {}

    def prepare(self, organization_id: str) -> None:
        """Load a data key to seal with: the newest one, as of at most `REFRESH` seconds ago.

        Raises:
            ServiceError: the organization has no data key, or none that opens.
        """
        keys = self._of(organization_id)
        if keys.newest and time.monotonic() - keys.loaded_at < REFRESH:
            return
        # While one thread looks for a newer key, the others use the one that they have.
        if keys.refreshing.acquire(blocking=not keys.newest):
            try:
                if not keys.newest or time.monotonic() - keys.loaded_at >= REFRESH:
                    self._refresh(organization_id, keys)
            finally:
                keys.refreshing.release()

    def is_prepared(self, organization_id: str) -> bool:
        """Tell whether `prepare` would return at once. Never waits."""
        keys = self._organizations.get(organization_id)
        if keys is None or not keys.newest:
            return False
        return time.monotonic() - keys.loaded_at < REFRESH or keys.refreshing.locked()

    def can_seal(self, organization_id: str) -> bool:
        """Tell whether there is a data key to seal with, which may not be the newest one. Never waits."""
        keys = self._organizations.get(organization_id)
        return keys is not None and bool(keys.newest)

    def load(self, organization_id: str, key_id: str) -> None:
        """`fetch` a data key, or `prepare` when `key_id` is empty."""
        if key_id:
            self.fetch(organization_id, key_id)
        else:
            self.prepare(organization_id)

    def opens_all_new(self, organization_id: str) -> bool:
        """Tell whether the newest data key opens. Call `prepare` first."""
        return self._organizations[organization_id].is_newest_open

    def fetch(self, organization_id: str, key_id: str) -> None:
        """Load the data key with this id, or note that there is none. Raises `ServiceError` when it does not open."""
        keys = self._of(organization_id)
        with keys.refreshing:
            if key_id not in keys.wrapped:
                self._refresh(organization_id, keys)
            if key_id in keys.wrapped:
                self._open(keys, key_id)
            else:
                keys.absent.add(key_id)

    def fetching(self, work: Callable[[], T]) -> T:
        """Run `work`, and run it again after each data key that it found missing was fetched. Returns its result."""
        while True:
            try:
                return work()
            except KeyNotLoadedError as missing:
                self.fetch(missing.organization_id, missing.key_id)

    def seal(self, value: str, secret: StoredSecret) -> Sealed:
        """Seal a value for a secret, whose present ciphertext is not used. Call `prepare` first."""
        keys = self._organizations[secret.organization_id]
        newest = keys.newest
        ciphertext = seal(keys.opened[newest], value.encode(), _associated_data(secret))
        return Sealed(key_id=newest, ciphertext=ciphertext)

    def open(self, secret: StoredSecret) -> str:
        """Return the value of a secret. Call `prepare` first.

        Raises:
            SealError: the value was altered, or sealed for another secret.
            KeyNotLoadedError: its data key has to be fetched.
        """
        key = self._opened(self._organizations[secret.organization_id], secret)
        return unseal(key, secret.ciphertext, _associated_data(secret)).decode()

    def sign(self, token: StoredToken) -> StoredToken:
        """Sign a token, so that write access to the store is not enough to make one. Call `prepare` first."""
        keys = self._organizations[token.organization_id]
        tag = seal(keys.opened[keys.newest], b"", _token_associated_data(token))
        return replace(token, key_id=keys.newest, tag=tag)

    def check(self, token: StoredToken) -> None:
        """Check that a token is as it was signed. Raises the errors of `open`."""
        keys = self._of(token.organization_id)
        unseal(self._opened(keys, token), token.tag, _token_associated_data(token))

    def _of(self, organization_id: str) -> _Keys:
        with self._lock:
            return self._organizations.setdefault(organization_id, _Keys())

    def _opened(self, keys: _Keys, of: StoredSecret | StoredToken) -> AESGCM:
        key = keys.opened.get(of.key_id)
        if key is None:
            raise SealError if of.key_id in keys.absent else KeyNotLoadedError(of)
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
                # After `keys rewrap` only older keys open, until this process is restarted with the new key.
                logger.error("a data key does not open: %s", error)
                keys.is_newest_open, failure = False, error
            else:
                return key_id
        raise failure or ServiceError("the organization has no data key")

    def _open(self, keys: _Keys, key_id: str) -> None:
        if key_id not in keys.opened:
            keys.opened[key_id] = AESGCM(unwrap(self._kek, keys.wrapped[key_id]))


def new_data_key(kek: KeyEncryptionKey, organization_id: str) -> WrappedKey:
    """Return a new data key for an organization, wrapped."""
    key = WrappedKey(organization_id=organization_id, id=str(uuid.uuid4()), wrapped=b"", created_at=now())
    return wrap(kek, key, AESGCM.generate_key(256))


def wrap(kek: KeyEncryptionKey, key: WrappedKey, data_key: bytes) -> WrappedKey:
    """Wrap a data key.

    The hash within binds the data key to its organization and id, even if a KMS ignores the associated data.
    """
    associated_data = _key_associated_data(key)
    wrapped = kek.wrap(data_key + sha256(associated_data).digest(), associated_data)
    wrapped_key = replace(key, wrapped=wrapped)
    if unwrap(kek, wrapped_key) != data_key:
        # Storing it would lose every value that it seals.
        raise ServiceError(f"{kek} does not unwrap what it wrapped")
    return wrapped_key


def unwrap(kek: KeyEncryptionKey, key: WrappedKey) -> bytes:
    """Unwrap a data key. Raises `ServiceError` when another key wrapped it, or it was wrapped for another id."""
    associated_data = _key_associated_data(key)
    try:
        plain = kek.unwrap(key.wrapped, associated_data)
    except SealError:
        plain = b""
    data_key, bound = plain[:KEY_BYTES], plain[KEY_BYTES:]
    if bound != sha256(associated_data).digest():
        raise ServiceError(f"{kek} is not the one that this store was made with, or last rewrapped to")
    return data_key


def _associated_data(secret: StoredSecret) -> bytes:
    """Return the associated data of a value: its row, with all metadata.

    No part contains a NUL, so no two rows have the same associated data.
    """
    parts = ("gitpod-secret-1", secret.organization_id, secret.scope_kind, secret.scope_id, secret.id)
    return "\0".join((*parts, sha256(secret.record).hexdigest())).encode()


def sign_organization(kek: KeyEncryptionKey, key: WrappedKey, organization: Organization) -> Organization:
    """Sign an organization by one of its data keys."""
    tag = seal(AESGCM(unwrap(kek, key)), b"", _organization_associated_data(organization))
    return replace(organization, key_id=key.id, tag=tag)


def check_organization(kek: KeyEncryptionKey, keys: list[WrappedKey], organization: Organization) -> None:
    """Check that an organization is as it was signed. Raises `ServiceError`, also when the key is another one."""
    for key in keys:
        if key.id == organization.key_id:
            try:
                unseal(AESGCM(unwrap(kek, key)), organization.tag, _organization_associated_data(organization))
            except SealError:
                break
            return
    raise ServiceError(f"the store's organization {organization.id} was altered")


def _organization_associated_data(organization: Organization) -> bytes:
    own = "own" if organization.is_own else "another"
    return "\0".join(("gitpod-organization-1", organization.id, organization.owner_id, own)).encode()


def _token_associated_data(token: StoredToken) -> bytes:
    who = (token.subject_id, str(token.principal), token.role, token.projects, str(token.created_at))
    parts = (token.organization_id, token.id, token.digest.hex(), *who)
    if token.expires_at is None and token.note == "":
        # As services before revision 0003 sign and check it.
        return "\0".join(("gitpod-token-1", *parts)).encode()
    return "\0".join(("gitpod-token-2", *parts, str(token.expires_at), str(token.note))).encode()


def _key_associated_data(key: WrappedKey) -> bytes:
    return "\0".join(("gitpod-data-key-1", key.organization_id, key.id)).encode()
