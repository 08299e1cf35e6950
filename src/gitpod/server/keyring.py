"""Envelope encryption: values are sealed by a data key, which the store keeps wrapped by the key file.

AES-256-GCM throughout (NIST SP 800-38D), with a random 96-bit nonce in front of each ciphertext. What a
ciphertext belongs to is its associated data, so one that was moved to another row does not open.
"""

import os
import stat
import uuid
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gitpod.server.errors import ServiceError

NONCE_BYTES = 12
KEY_FILE_HEADER = "gitpod-secrets-key-1:"
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SealError(Exception):
    """A ciphertext was altered, or sealed by another key or for something else."""


class KeyEncryptionKey:
    """Wraps and unwraps data keys. Its repr shows nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Seal a data key of 32 bytes."""
        return _seal(self._key, data_key, associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Open a data key. Raises `ServiceError` when another key sealed it, or for something else."""
        try:
            return _open(self._key, wrapped, associated_data)
        except SealError:
            raise ServiceError("the key file is not the one that this store was made with") from None


def random_key() -> KeyEncryptionKey:
    """A key that is gone with the process, for a store in memory."""
    return KeyEncryptionKey(AESGCM.generate_key(256))


def key_file(path: Path, *, create: bool) -> KeyEncryptionKey:
    """The key in a file that only its owner can read; made when it is missing and `create` says so."""
    try:
        if create and not os.path.lexists(path):
            _write_key(path)
        # Neither through a link, which may point anywhere, nor waiting for whoever fills a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="ascii") as file:
            status, text = os.fstat(file.fileno()), file.read(1000).strip()
    except FileNotFoundError:
        raise ServiceError(
            f"the key file {path} is missing, and without it the values of this store are lost"
        ) from None
    except OSError as error:
        raise ServiceError(f"cannot use {path} as a key file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServiceError(f"{path} is not a key file") from None
    if status.st_mode & OPEN_TO_OTHERS:
        raise ServiceError(f"the key file {path} is open to other users; chmod 600 it")
    try:
        key = b64decode(text.removeprefix(KEY_FILE_HEADER), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(KEY_FILE_HEADER) or len(key) != 32:  # noqa: PLR2004 # 256 bits
        raise ServiceError(f"{path} is not a key file")
    return KeyEncryptionKey(key)


def _write_key(path: Path) -> None:
    """Make the file whole and durable before it has its name; whoever comes second keeps the first one's."""
    text = KEY_FILE_HEADER + b64encode(AESGCM.generate_key(256)).decode() + "\n"
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the store keeps it."""

    organization_id: str
    id: str
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed value, and the id of the data key that opens it."""

    key_id: str
    ciphertext: bytes


class Keyring:
    """The data keys of one organization, opened once. Seals with the newest of them."""

    def __init__(self, kek: KeyEncryptionKey, keys: list[WrappedKey]) -> None:
        """Take at least one key, oldest first."""
        opened = {key.id: kek.unwrap(key.wrapped, _key_associated_data(key.organization_id, key.id)) for key in keys}
        self._keys = {key_id: AESGCM(key) for key_id, key in opened.items()}
        self._newest = keys[-1].id

    @staticmethod
    def new_key(kek: KeyEncryptionKey, organization_id: str) -> WrappedKey:
        """Make a data key for an organization."""
        key_id = str(uuid.uuid4())
        wrapped = kek.wrap(AESGCM.generate_key(256), _key_associated_data(organization_id, key_id))
        return WrappedKey(organization_id=organization_id, id=key_id, wrapped=wrapped)

    def seal(self, value: str, associated_data: bytes) -> Sealed:
        """Seal a value for the row that `associated_data` names."""
        return Sealed(key_id=self._newest, ciphertext=_seal(self._keys[self._newest], value.encode(), associated_data))

    def open(self, sealed: Sealed, associated_data: bytes) -> str:
        """Open a value. Raises `SealError` when it was sealed for another row, or altered."""
        if sealed.key_id not in self._keys:
            raise SealError
        return _open(self._keys[sealed.key_id], sealed.ciphertext, associated_data).decode()


def secret_associated_data(organization_id: str, scope_kind: str, scope_id: str, secret_id: str) -> bytes:
    """The associated data of a secret's value. No part holds a NUL, so no two rows give the same."""
    return "\0".join(("gitpod-secret-1", organization_id, scope_kind, scope_id, secret_id)).encode()


def _key_associated_data(organization_id: str, key_id: str) -> bytes:
    return "\0".join(("gitpod-data-key-1", organization_id, key_id)).encode()


def _seal(key: AESGCM, plain: bytes, associated_data: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, associated_data)


def _open(key: AESGCM, sealed: bytes, associated_data: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated_data)
    except (InvalidTag, ValueError):
        raise SealError from None
