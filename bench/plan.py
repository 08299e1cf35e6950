"""How much the bench does: the short form, the full one, and one that only shows that every line runs."""

from dataclasses import dataclass
from pathlib import Path

from bench.environments import Environments

USUAL = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every line of the bench is given.

    Attributes:
        rounds: how often each way is measured.
        seconds: how long one measurement of a client takes; one of a service takes twice as long.
        connections: how many connections call a service at a time.
        sizes: how many secrets are stored when a call is measured.
        imports: how many secrets the command line imports.
        requests: how many requests the service answers while its memory is watched.
        environments: where the peers are.
        folder: for files that nobody needs afterwards.
    """

    rounds: int
    seconds: float
    connections: tuple[int, ...]
    sizes: tuple[int, ...]
    imports: tuple[int, ...]
    requests: int
    environments: Environments
    folder: Path

    @property
    def usual(self) -> int:
        """The connections that goals without others are for."""
        return USUAL if USUAL in self.connections else self.connections[-1]


def short(environments: Environments, folder: Path) -> Plan:
    """Under three minutes on two idle processors."""
    return Plan(
        rounds=4,
        seconds=0.15,
        connections=(1, 32),
        sizes=(10, 10_000),
        imports=(1_000,),
        requests=10_000,
        environments=environments,
        folder=folder,
    )


def full(environments: Environments, folder: Path) -> Plan:
    """About twenty minutes."""
    return Plan(
        rounds=9,
        seconds=0.4,
        connections=(1, 8, 32, 64),
        sizes=(10, 10_000, 200_000),
        imports=(1_000, 5_000),
        requests=100_000,
        environments=environments,
        folder=folder,
    )


def tiny(environments: Environments, folder: Path) -> Plan:
    """Seconds: each line once. Its numbers mean nothing."""
    return Plan(
        rounds=1,
        seconds=0.02,
        connections=(1, 2),
        sizes=(10, 20),
        imports=(3,),
        requests=100,
        environments=environments,
        folder=folder,
    )
