"""Envelope encryption: values are sealed by data keys, which the store keeps wrapped by a key-encryption key.

AES-256-GCM (NIST SP 800-38D), with a random 96-bit nonce in front of each ciphertext. What a ciphertext
belongs to is its associated data, so one that was moved to another row does not open.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gitpod.server.errors import ServiceError
from gitpod.server.kek import KeyEncryptionKey, UnwrapError
from gitpod.server.log import logger
from gitpod.server.rows import Sealed, StoredSecret, WrappedKey, now

NONCE_BYTES = 12
KEY_BYTES = 32
REFRESH = 5.0
"""Seconds until a process seals with a data key that another process has added."""


class SealError(Exception):
    """A ciphertext was altered, or sealed by another key or for something else."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The data keys of an organization. Seals with the newest of them."""

    keys: dict[str, AESGCM]
    newest: str
    loaded_at: float


class Keyring:
    """The data keys of every organization, opened when they are first needed. Its repr shows no key.

    Args:
        kek: what the data keys are wrapped by.
        load: gives an organization's data keys, oldest first.
    """

    def __init__(self, kek: KeyEncryptionKey, load: Callable[[str], list[WrappedKey]]) -> None:
        self._kek = kek
        self._load = load
        self._lock = threading.Lock()
        self._opened: dict[str, _Opened] = {}

    def seal(self, value: str, secret: StoredSecret) -> Sealed:
        """Seal a value for a secret, whose own value does not matter."""
        opened = self._of(secret.organization_id)
        ciphertext = _seal(opened.keys[opened.newest], value.encode(), _associated_data(secret))
        return Sealed(key_id=opened.newest, ciphertext=ciphertext)

    def open(self, secret: StoredSecret) -> str:
        """Open the value of a secret. Raises `SealError` when it was sealed for another one, or altered."""
        opened = self._opened.get(secret.organization_id)
        if opened is None or secret.key_id not in opened.keys:
            opened = self._reload(secret.organization_id)
        if secret.key_id not in opened.keys:
            raise SealError
        return _open(opened.keys[secret.key_id], secret.ciphertext, _associated_data(secret)).decode()

    def is_usable(self, organization_id: str) -> bool:
        """Whether there is a key to seal with."""
        return bool(self._of(organization_id).keys)

    def _of(self, organization_id: str) -> _Opened:
        opened = self._opened.get(organization_id)
        if opened is None or time.monotonic() - opened.loaded_at > REFRESH:
            return self._reload(organization_id)
        return opened

    def _reload(self, organization_id: str) -> _Opened:
        loaded_at = time.monotonic()
        wrapped = self._load(organization_id)
        if not wrapped:
            raise ServiceError("the organization has no data key")
        # Never while a connection is awaited: whoever has the only one may be waiting here.
        with self._lock:
            known = self._opened.get(organization_id)
            keys = dict(known.keys) if known else {}
            for key in (key for key in wrapped if key.id not in keys):
                try:
                    keys[key.id] = AESGCM(unwrap(self._kek, key))
                except ServiceError as error:
                    if not keys:
                        raise
                    # As after `keys rewrap`, until this process is started with the new key: the old ones do.
                    logger.error("a data key does not open", extra={"fields": {"error": str(error)}})
            newest = next(key.id for key in reversed(wrapped) if key.id in keys)
            opened = self._opened[organization_id] = _Opened(keys, newest, loaded_at)
        return opened


def new_data_key(kek: KeyEncryptionKey, organization_id: str) -> WrappedKey:
    """Make a data key for an organization."""
    key = WrappedKey(organization_id=organization_id, id=str(uuid.uuid4()), wrapped=b"", created_at=now())
    return wrap(kek, key, AESGCM.generate_key(256))


def wrap(kek: KeyEncryptionKey, key: WrappedKey, data_key: bytes) -> WrappedKey:
    """Wrap a data key, bound to its organization and id whatever the key-encryption key makes of them."""
    associated_data = _key_associated_data(key)
    wrapped = kek.wrap(data_key + sha256(associated_data).digest(), associated_data)
    return replace(key, wrapped=wrapped)


def unwrap(kek: KeyEncryptionKey, key: WrappedKey) -> bytes:
    """Open a data key. Raises `ServiceError` when another key wrapped it, or for something else."""
    associated_data = _key_associated_data(key)
    try:
        plain = kek.unwrap(key.wrapped, associated_data)
    except UnwrapError:
        plain = b""
    data_key, bound = plain[:KEY_BYTES], plain[KEY_BYTES:]
    if bound != sha256(associated_data).digest():
        raise ServiceError(f"{kek} is not the one that this store was made with")
    return data_key


def _associated_data(secret: StoredSecret) -> bytes:
    """What a value belongs to: its row, and all that the row says of it.

    No part holds a NUL, so no two rows give the same.
    """
    parts = ("gitpod-secret-1", secret.organization_id, secret.scope_kind, secret.scope_id, secret.id)
    return "\0".join((*parts, sha256(secret.record).hexdigest())).encode()


def _key_associated_data(key: WrappedKey) -> bytes:
    return "\0".join(("gitpod-data-key-1", key.organization_id, key.id)).encode()


def _seal(key: AESGCM, plain: bytes, associated_data: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, associated_data)


def _open(key: AESGCM, sealed: bytes, associated_data: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated_data)
    except (InvalidTag, ValueError):
        raise SealError from None
