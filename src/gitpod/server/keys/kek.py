"""Key-encryption keys: in a file, in an environment variable, or with a command that stands for a KMS.

Each wraps and unwraps data keys. Its `str` says which it is, and its repr shows nothing of it.
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
NOT_ITS_BUSINESS = ("GITPOD_API_KEY", "GITPOD_SECRETS_STORE", "PGPASSWORD")
"""What a key's command does not find in its environment."""
COMMAND_TIMEOUT = 30.0
"""Seconds that a command may take."""


class UnwrapError(Exception):
    """What is to be unwrapped was altered, or wrapped by another key or for something else."""


class KeyEncryptionKey(Protocol):
    """What keeps the data keys."""

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Wrap a data key for what `associated_data` names. Raises `ServiceError` when that cannot be done now."""
        ...

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Unwrap a data key. Raises `UnwrapError` when it was not wrapped by this key, for the same."""
        ...


class LocalKey:
    """A key that this process holds: AES-256-GCM."""

    def __init__(self, key: bytes, name: str) -> None:
        self._key = AESGCM(key)
        self._name = name

    def __str__(self) -> str:
        return self._name

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """Seal a data key."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, data_key, associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Open a data key."""
        try:
            return self._key.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], associated_data)
        except (InvalidTag, ValueError):
            raise UnwrapError from None


class CommandKey:
    """A key that a command uses for us: `COMMAND wrap` and `COMMAND unwrap`.

    What is to be wrapped goes to its standard input in base64, and what it prints is kept; for `unwrap`
    the other way round. GITPOD_ASSOCIATED_DATA, in hexadecimal, is the same for both, for those that can
    bind to it. Anything but exit status 0 is a failure; what it says on standard error is shown.
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
        """Have a data key wrapped."""
        wrapped = self._run("wrap", b64encode(data_key), associated_data)
        if not wrapped:
            raise ServiceError(f"{self._command[0]} wrap printed nothing")
        return wrapped

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """Have a data key unwrapped."""
        try:
            return b64decode(self._run("unwrap", wrapped, associated_data), validate=True)
        except ValueError:
            raise ServiceError(f"{self._command[0]} unwrap printed what is not base64") from None

    def _run(self, action: str, given: bytes, associated_data: bytes) -> bytes:
        program = self._command[0]
        environment = {name: value for name, value in os.environ.items() if name not in NOT_ITS_BUSINESS}
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
            # Without its context, which holds the input.
            raise ServiceError(f"{program} {action} took longer than {COMMAND_TIMEOUT:g} s") from None
        if done.returncode != 0:
            raise ServiceError(f"{program} {action} ended with status {done.returncode}")
        return done.stdout.strip()


def random_key() -> LocalKey:
    """A key that is gone with the process, for a store in memory."""
    return LocalKey(AESGCM.generate_key(256), "the key in memory")


def key_encryption_key(spec: str, *, create: bool) -> KeyEncryptionKey:
    """The key that `file:PATH`, `env:NAME` or `command:COMMAND` names; a missing file is made if `create` says so.

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
    """The key in a file that only its owner can read; made when it is missing and `create` says so."""
    try:
        if create and not os.path.lexists(path):
            _write_key(path)
        # Neither through a link, which may point anywhere, nor waiting for whoever fills a pipe.
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
    """The key in an environment variable: the text of a key file, or 32 bytes in base64."""
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
