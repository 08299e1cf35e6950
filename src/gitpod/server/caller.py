"""Who calls: an organization, a subject, and the role that says what they may do."""

from dataclasses import dataclass, field
from enum import StrEnum

from gitpod.server.storage.rows import now
from gitpod_proto.gitpod.v1.identity_pb import Principal, Subject

READS = frozenset({"GetSecretValue", "ListSecrets"})
OWN_SCOPE = {Principal.USER: "user_id", Principal.SERVICE_ACCOUNT: "service_account_id"}
"""The scope that is a subject's own."""


class Role(StrEnum):
    """What a caller may do. docs/service/roles.md has the table of calls, scopes and roles."""

    OWNER = "owner"
    """Everything in the store's own organization. No token of the store has this role."""
    ADMIN = "admin"
    """Every scope of the organization."""
    MEMBER = "member"
    """The subject's own scope, and the projects named in the token."""
    ENVIRONMENT = "environment"
    """Reads the projects named in the token, and changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated caller of a request."""

    organization_id: str
    subject: Subject
    role: Role
    projects: frozenset[str] = field(default=frozenset())
    token_id: str = ""
    """The id of the caller's token; empty for the owner's token, and in process."""
    expires_at: int | None = None
    """When the caller's token expires, in microseconds since 1970. None: never."""

    @property
    def has_expired(self) -> bool:
        """Whether the caller's token has expired, by the clock of this process."""
        return self.expires_at is not None and self.expires_at <= now()

    @property
    def words(self) -> str:
        """The caller as an answer tells it to them: `role=member subject=user:ID organization=ID`."""
        principal = Principal(self.subject.principal).name.lower()
        return f"role={self.role} subject={principal}:{self.subject.id} organization={self.organization_id}"

    def may_call(self, rpc: str) -> bool:
        """Tell whether there is a scope in which this caller may use the RPC."""
        return self.role is not Role.ENVIRONMENT or rpc in READS

    def reaches(self, scope_kind: str, scope_id: str) -> bool:
        """Tell whether this caller may use its RPCs in a scope."""
        if self.role is Role.OWNER:
            return True
        if self.role is Role.ADMIN:
            return scope_kind != "organization_id" or scope_id == self.organization_id
        return (scope_kind, scope_id) in self.scopes

    @property
    def scopes(self) -> list[tuple[str, str]]:
        """The scopes of a caller for which `reaches_all` is False."""
        own = OWN_SCOPE.get(self.subject.principal) if self.role is Role.MEMBER else None
        given = [("project_id", project) for project in sorted(self.projects)]
        return [*given, (own, self.subject.id)] if own else given

    @property
    def reaches_all(self) -> bool:
        """Whether the role reaches scopes that no list names."""
        return self.role in (Role.OWNER, Role.ADMIN)
