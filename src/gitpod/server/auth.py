"""Authentication: the interceptor that checks bearer tokens, and what it knows of those it has seen."""

import time
from contextvars import ContextVar, Token
from hmac import compare_digest
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext

from gitpod.server.caller import Caller, Role
from gitpod.server.errors import ServiceError
from gitpod.server.keys.kek import SealError
from gitpod.server.keys.keyring import Keyring
from gitpod.server.log import REQUEST, logger
from gitpod.server.shares import SHARE, Shares
from gitpod.server.storage.rows import AuditRecord, StoredToken, audit_record
from gitpod.server.storage.store import Store
from gitpod.server.threads import Pools, to_its_end
from gitpod.server.tokens import digest_of, organization_of
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

Ctx = RequestContext[Any, Any]
"""connectrpc's context of a request: method, headers and deadline."""

CACHE_SECONDS = 3.0
"""Seconds for which a token is not looked up again, and for which a revoked token may still be accepted."""
CACHE_SIZE = 10_000


class Admission:
    """The bearer token that a request was admitted by; empty in process."""

    __slots__ = ("_authenticate", "digest", "token")

    def __init__(self, authenticate: "Authenticate", token: str) -> None:
        self._authenticate = authenticate
        self.token = token
        self.digest = digest_of(token)

    def known(self) -> Caller | None:
        """Return the caller if the token was checked at most `CACHE_SECONDS` ago. Never waits."""
        return self._authenticate.known(self.digest)

    def caller(self) -> Caller:
        """Return the caller, looked up if need be. Raises UNAUTHENTICATED for a token that is not valid."""
        return self.known() or self._authenticate.look_up(self)


ADMISSION: ContextVar[Admission] = ContextVar("gitpod_admission")
"""Set before a handler runs. It asks for the caller again: a token may end while the body is being received."""

AdmissionToken = Token[Admission]
"""Restores `ADMISSION` at the end of a request (contextvars.Token)."""


class Authenticate:
    """Authenticates the caller, and refuses calls that its role may never make, before the body is read.

    Args:
        store: has the tokens.
        keyring: checks the signatures of tokens.
        owner: the caller of requests with the owner's token, and of all requests in process.
        token: the owner's bearer token. None: only tokens of the store are accepted.
        is_served: whether callers need a token. In process they do not, as they have the store itself.
        pools: the threads. Calls over a socket share them as `Shares` says.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        owner: Caller,
        token: str | None,
        *,
        is_served: bool,
        pools: Pools,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._owner = owner
        self._owner_digest: bytes | None = None
        if token is not None:
            self.accept_owner(token)
        self._is_served = is_served
        self._pools = pools
        self._shares = Shares(pools)
        self._cache: dict[bytes, tuple[float, Caller]] = {}

    def accept_owner(self, token: str) -> None:
        """Accept a token as the owner's. Raises `ServiceError` for one that no header can carry."""
        if not token or not all("!" <= character <= "~" for character in token):
            raise ServiceError("the token must be printable ASCII without spaces or line breaks")
        self._owner_digest = digest_of(token)

    def on_start_sync(self, ctx: Ctx, /) -> AdmissionToken:
        """Authenticate the caller (connectrpc.interceptor.MetadataInterceptorSync)."""
        admission = Admission(self, _bearer(ctx) if self._is_served else "")
        caller = admission.caller()
        if not caller.may_call(ctx.method.name):
            if self._store.count_refusal(_refusal(caller, ctx)):
                self._store.write_refusals()
            raise _denied(caller, ctx)
        return _admit(admission, caller, ctx)

    async def on_start(self, ctx: Ctx, /) -> AdmissionToken:
        """`on_start_sync` for connectrpc.interceptor.MetadataInterceptor."""
        if not self._is_served:
            return _admit(Admission(self, ""), self._owner, ctx)
        admission = Admission(self, _bearer(ctx))
        caller = admission.known()
        if caller is None and organization_of(admission.token) is None:
            # No store has such a token, so nothing needs to be looked up.
            raise _not_known()
        # The organization of a token never changes, so an old entry of the cache tells whose share the call takes.
        seen = caller or self._cache.get(admission.digest, (0.0, None))[1]
        if seen is None:
            seen = caller = await self._shares.look_up(admission.caller)
        share = self._shares.enter(admission.digest, seen.organization_id)
        # The application ends the share with the request, however that ends.
        SHARE.set(share)
        if caller is None:
            caller = await share.read(admission.caller)
        if not caller.may_call(ctx.method.name):
            if self._store.count_refusal(_refusal(caller, ctx)):
                await to_its_end(self._pools.refusals, self._store.write_refusals)
            raise _denied(caller, ctx)
        return _admit(admission, caller, ctx)

    def on_end_sync(self, token: AdmissionToken, _ctx: Ctx, _error: Exception | None, /) -> None:
        """Forget the caller, because the thread would keep the store alive by it."""
        ADMISSION.reset(token)

    async def on_end(self, token: AdmissionToken, ctx: Ctx, error: Exception | None, /) -> None:
        """`on_end_sync` for connectrpc.interceptor.MetadataInterceptor."""
        self.on_end_sync(token, ctx, error)

    def known(self, digest: bytes) -> Caller | None:
        """Return the caller with a token of this digest if it is known without asking the store."""
        if not self._is_served:
            return self._owner
        if self._owner_digest is not None and compare_digest(digest, self._owner_digest):
            return self._owner
        seen_at, caller = self._cache.get(digest, (0.0, None))
        if caller is None or caller.has_expired:
            return None
        return caller if time.monotonic() - seen_at < CACHE_SECONDS else None

    def look_up(self, admission: Admission) -> Caller:
        """Return the caller whose token the store has. Raises UNAUTHENTICATED if there is none, or it has expired."""
        asked_at, digest = time.monotonic(), admission.digest
        organization_id = organization_of(admission.token)
        stored = None if organization_id is None else self._store.token(organization_id, digest)
        if stored is None or stored.revoked_at is not None or not self._is_signed(stored):
            self._cache.pop(digest, None)
            raise _not_known()
        caller = Caller(
            organization_id=stored.organization_id,
            subject=Subject(id=stored.subject_id, principal=Principal(stored.principal)),
            role=Role(stored.role),
            projects=frozenset(stored.projects.split()),
            token_id=stored.id,
            expires_at=stored.expires_at,
        )
        if caller.has_expired:
            # No stranger learns this: whoever asks has the token, as its digest is the one of the row.
            self._cache.pop(digest, None)
            raise ConnectError(Code.UNAUTHENTICATED, "authorization: the bearer token has expired")
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[digest] = asked_at, caller
        return caller

    def _is_signed(self, token: StoredToken) -> bool:
        """Tell whether the row of a token is as it was signed."""
        try:
            self._keyring.fetching(lambda: self._keyring.check(token))
        except SealError:
            logger.error("token %s was altered in the store", token.id)
            return False
        return True


def _admit(admission: Admission, caller: Caller, ctx: Ctx) -> AdmissionToken:
    REQUEST.get().subject = caller.subject.id
    # The contract has no call that tells callers who they are.
    if ctx.request_headers.get("gitpod-whoami"):
        ctx.response_headers["gitpod-caller"] = caller.words
    return ADMISSION.set(admission)


def _refusal(caller: Caller, ctx: Ctx) -> AuditRecord:
    """Return the audit record of a call that the caller's role may never make."""
    request = REQUEST.get()
    request.subject = caller.subject.id
    return audit_record(
        caller.organization_id,
        caller.subject,
        ctx.method.name,
        outcome=Code.PERMISSION_DENIED.value,
        request_id=request.id,
        token_id=caller.token_id,
    )


def _denied(caller: Caller, ctx: Ctx) -> ConnectError:
    text = f"a token of the role {caller.role} may not call {ctx.method.name}"
    return ConnectError(Code.PERMISSION_DENIED, text)


def _not_known() -> ConnectError:
    return ConnectError(Code.UNAUTHENTICATED, "authorization: the bearer token is not known")


def _bearer(ctx: Ctx) -> str:
    """Return the bearer token of a request. Raises UNAUTHENTICATED if there is none."""
    scheme, _, given = ctx.request_headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise ConnectError(Code.UNAUTHENTICATED, "authorization: a bearer token is required")
    return given.strip()
