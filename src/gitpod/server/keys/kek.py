"""Key-encryption keys: in a file, in an environment variable, or behind a command that calls a KMS.

Each wraps and unwraps data keys. Its `str` names where the key is, and its repr shows nothing of the key.
"""

import os
import shlex
import stat
import subprocess
import uuid
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gitpod.server.errors import ServiceError

NONCE_BYTES = 12
KEY_FILE_HEADER = "gitpod-secrets-key-1:"
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WITHHELD = ("GITPOD_API_KEY", "GITPOD_SECRETS_STORE", "PGPASSWORD")
"""Environment variables that a key's command does not get, as it has no use for these secrets."""
COMMAND_TIMEOUT = 30.0
"""Seconds that a command may take."""


class SealError(Exception):
    """A ciphertext does not open: it was altered, or sealed by another key or with other associated data."""


def seal(key: AESGCM, plain: bytes, associated_data: bytes) -> bytes:
    """Encrypt by AES-256-GCM. The result begins with its random nonce."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, associated_data)


def unseal(key: AESGCM, sealed: bytes, associated_data: bytes) -> bytes:
    """Decrypt what `seal` returned. Raises `SealError` when it does not open."""
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated_data)
    except (InvalidTag, ValueError, TypeError):
        # TypeError: somebody who writes to a SQLite database can store any type in a column.
        raise SealError from None


class KeyEncryptionKey(Protocol):
    """A key that wraps data keys. Both methods raise `ServiceError` when the key cannot be used now."""

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Wrap a data key, bound to what `associated_data` names."""
        ...

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Unwrap a data key. Raises `SealError` unless this key wrapped it with the same `associated_data`."""
        ...


class LocalKey:
    """A key in the memory of this process: AES-256-GCM."""

    def __init__(self, key: bytes, name: str) -> None:
        self._key = AESGCM(key)
        self._name = name

    def __str__(self) -> str:
        return self._name

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Wrap a data key (KeyEncryptionKey)."""
        return seal(self._key, data_key, associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Unwrap a data key (KeyEncryptionKey)."""
        return unseal(self._key, wrapped, associated_data)


class CommandKey:
    """A key that only a command can use, for example in a KMS: `COMMAND wrap` and `COMMAND unwrap`.

    `wrap` reads the data key in base64 from standard input, and what it prints is stored. `unwrap` reads what
    was stored, and prints the base64. The variable GITPOD_ASSOCIATED_DATA, in hexadecimal, has the same value
    in both, for a KMS that binds to it. Any exit status but 0 is a failure. Standard error is not captured.
    """

    def __init__(self, command: str) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError:
            self._command = []
        if not self._command:
            raise ServiceError("the key's command is missing, or has a quotation mark without its pair")

    def __str__(self) -> str:
        return f"the key of the command {self._command[0]}"

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Wrap a data key by the command (KeyEncryptionKey)."""
        wrapped = self._run("wrap", b64encode(data_key), associated_data)
        if not wrapped:
            raise ServiceError(f"{self._command[0]} wrap printed nothing")
        return wrapped

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Unwrap a data key by the command (KeyEncryptionKey)."""
        try:
            return b64decode(self._run("unwrap", wrapped, associated_data), validate=True)
        except ValueError:
            raise ServiceError(f"{self._command[0]} unwrap printed what is not base64") from None

    def _run(self, action: str, given: bytes, associated_data: bytes) -> bytes:
        program = self._command[0]
        environment = {name: value for name, value in os.environ.items() if name not in WITHHELD}
        try:
            done = subprocess.run(  # noqa: S603 # the operator's own, and no shell
                [*self._command, action],
                input=given,
                stdout=subprocess.PIPE,
                env=environment | {"GITPOD_ASSOCIATED_DATA": associated_data.hex()},
                timeout=COMMAND_TIMEOUT,
                check=False,
            )
        except OSError as error:
            raise ServiceError(f"cannot run {program}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            # `from None`, because the context of this error holds the input.
            raise ServiceError(f"{program} {action} took longer than {COMMAND_TIMEOUT:g} s") from None
        if done.returncode != 0:
            raise ServiceError(f"{program} {action} ended with status {done.returncode}")
        return done.stdout.strip()


def random_key() -> LocalKey:
    """Return a new key that nothing stores, for a store in memory."""
    return LocalKey(AESGCM.generate_key(256), "the key in memory")


def key_encryption_key(spec: str, *, create: bool) -> KeyEncryptionKey:
    """Return the key that `file:PATH`, `env:NAME` or `command:COMMAND` names.

    Args:
        spec: the name of the key.
        create: whether to make a key file that is missing.

    Raises:
        ServiceError: there is no such key, or it may not be used.
    """
    kind, _, rest = spec.partition(":")
    match kind:
        case "file" if rest:
            return key_file(Path(rest), create=create)
        case "env" if rest:
            return _environment_key(rest)
        case "command":
            return CommandKey(rest)
        case _:
            raise ServiceError("the key must be file:PATH, env:NAME or command:COMMAND")


def key_file(path: Path, *, create: bool) -> LocalKey:
    """Return the key in a file that only its owner can read. With `create`, make a file that is missing."""
    if not hasattr(os, "O_NOFOLLOW"):
        raise ServiceError("a key file needs the modes of a POSIX system; use env:NAME or command:COMMAND (--key)")
    try:
        if create and not os.path.lexists(path):
            _write_key(path)
        # O_NOFOLLOW: a link may point anywhere. O_NONBLOCK: opening a pipe would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="ascii") as file:
            status, text = os.fstat(file.fileno()), file.read(1000).strip()
    except FileNotFoundError:
        if create:
            raise ServiceError(f"cannot make the key file {path}: there is no such folder") from None
        raise ServiceError(
            f"the key file {path} is missing, and without it the values of this store are lost"
        ) from None
    except OSError as error:
        raise ServiceError(f"cannot use {path} as a key file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServiceError(f"{path} is not a key file") from None
    if status.st_mode & OPEN_TO_OTHERS:
        raise ServiceError(f"the key file {path} is open to other users; chmod 600 it")
    key = _decoded(text.removeprefix(KEY_FILE_HEADER)) if text.startswith(KEY_FILE_HEADER) else None
    if key is None:
        raise ServiceError(f"{path} is not a key file")
    return LocalKey(key, f"the key file {path}")


def _environment_key(name: str) -> LocalKey:
    """Return the key in an environment variable: the text of a key file, or 32 bytes in base64."""
    text = os.environ.get(name)
    if not text:
        raise ServiceError(f"the key's environment variable {name} is not set")
    key = _decoded(text.strip().removeprefix(KEY_FILE_HEADER))
    if key is None:
        raise ServiceError(f"the environment variable {name} does not hold a key: 32 bytes in base64")
    return LocalKey(key, f"the key in {name}")


def _decoded(text: str) -> bytes | None:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None  # noqa: PLR2004 # 256 bits


def _write_key(path: Path) -> None:
    """Make a key file that is complete and on disk before it gets its name.

    If another process made the file meanwhile, that file stays.
    """
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
