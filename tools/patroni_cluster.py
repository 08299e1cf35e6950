"""Three Patroni nodes with etcd and HAProxy, on loopback, by the files in examples/patroni."""

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

import psycopg
from postgres import HOST, SUPERUSER, binaries, environment, free_port, until
from processes import account, in_folder
from psycopg import sql

PROGRAMS = {"patroni": "patroni", "etcd": "etcd-server", "haproxy": "haproxy"}
"""Each program that is needed besides PostgreSQL, and its package in Debian."""
EXAMPLES = Path(__file__).parent.parent / "examples/patroni"
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
NODES = ("db1", "db2", "db3")
DATABASE = OWNER = "secrets"
OPTIONS = "target_session_attrs=read-write&connect_timeout=3"
"""Of a URL with all nodes."""
HEALTHY_WITHIN = 90.0
"""Seconds for a cluster to start, or to take a former leader back."""

# Survives its parent, whatever ends it, and cleans up at the end of its input: everything that was started has the
# folder, or one in it, as its current folder. SIGKILL ends a stopped process too.
GUARD = """
while read -r line; do :; done
tries=100
until [ $tries = 0 ]; do
  found=
  for each in /proc/[0-9]*; do
    case $(readlink "$each/cwd") in "$0"|"$0"/*) kill -KILL "${each#/proc/}"; found=yes;; esac
  done
  [ -n "$found" ] || ! rm -rf "$0" || break
  tries=$((tries - 1)); sleep 0.1
done 2>/dev/null
"""


def missing() -> list[str]:
    """The packages of Debian that have the programs which are not installed."""
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]
    return absent if binaries() else ["postgresql", *absent]


class Node:
    """Patroni and its PostgreSQL."""

    def __init__(self, cluster: "PatroniCluster", name: str) -> None:
        self.name = name
        self.port, self.api = free_port(), free_port()
        self.folder = cluster.folder / name
        self._cluster = cluster
        self._patroni: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start Patroni, which starts its PostgreSQL."""
        self._patroni = self._cluster.run(self.folder, "patroni", "patroni.yml")

    def kill_postgres(self) -> None:
        """SIGKILL for PostgreSQL, all of its processes."""
        self._signal(signal.SIGSTOP)
        self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL for PostgreSQL and Patroni."""
        assert self._patroni
        self._patroni.kill()
        self._patroni.wait(30)
        self.kill_postgres()

    def stop_patroni(self) -> None:
        """SIGSTOP for Patroni alone: PostgreSQL goes on, and still takes itself for the leader."""
        assert self._patroni
        self._patroni.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """SIGSTOP for Patroni and PostgreSQL, as when the machine freezes."""
        self.stop_patroni()
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT for what was stopped; what was killed is started."""
        assert self._patroni
        if self._patroni.poll() is not None:
            self.start()
        self._signal(signal.SIGCONT)
        self._patroni.send_signal(signal.SIGCONT)

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of an answer of Patroni; status 0 without an answer."""
        connection = HTTPConnection(HOST, self.api, timeout=60 if body else 1)
        headers = {"Authorization": self._cluster.authorization} if body else {}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return 0, b""
        finally:
            connection.close()

    @property
    def leads(self) -> bool:
        """Whether Patroni says that this node takes writes."""
        return self.ask("GET", "/primary")[0] == 200  # noqa: PLR2004 # OK

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to each process of PostgreSQL, also to those that are started meanwhile."""
        told: set[int] = set()
        while found := set(in_folder(self.folder / "data")) - told:
            told |= found
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


class PatroniCluster:
    """A running cluster with an empty database, as a context manager. Needs Linux, and that nothing is `missing()`.

    It goes away, with all of its processes, when the block is left, and when this process ends in any other way.
    """

    def __init__(self) -> None:
        self._account = account()
        self._started: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="ha-")).resolve()
        self.password = secrets.token_hex(16)
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(self.folder)], stdin=subprocess.PIPE, cwd="/", start_new_session=True
        )
        try:
            self._own(self.folder)
            self.nodes = [Node(self, name) for name in NODES]
            self.front = free_port()
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything, and remove the folder. Safe to repeat."""
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait(60)
        for process in self._started:
            process.wait(30)

    @property
    def authorization(self) -> str:
        """The header by which Patroni's API takes orders."""
        return "Basic " + base64.b64encode(f"patroni:{self.password}".encode()).decode()

    @property
    def urls(self) -> dict[str, str]:
        """The store's URL by its path: to all nodes, and to HAProxy. The password is in PGPASSWORD."""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        return {
            "multi-host": f"postgresql://{OWNER}@{hosts}/{DATABASE}?{OPTIONS}",
            "haproxy": f"postgresql://{OWNER}@{HOST}:{self.front}/{DATABASE}",
        }

    def leader(self) -> Node:
        """The node that takes writes. Raises `TimeoutError` when there is none."""
        until(lambda: any(node.leads for node in self.nodes), "the cluster has a leader", HEALTHY_WITHIN)
        return next(node for node in self.nodes if node.leads)

    def heal(self) -> None:
        """Wait until all nodes are there, one of them as the synchronous standby. Raises `TimeoutError`."""
        try:
            until(self._is_healthy, "the cluster is healthy", HEALTHY_WITHIN)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {json.dumps(self._members())}") from None

    def switch(self, old: Node) -> None:
        """Make the synchronous standby the leader, as an operator does."""
        [new] = [member["name"] for member in self._members() if member["role"] == "sync_standby"]
        status, said = old.ask("POST", "/switchover", {"leader": old.name, "candidate": new})
        if status != 200:  # noqa: PLR2004 # OK
            raise RuntimeError(f"no switchover: {status} {said.decode()}")

    def run(self, folder: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a program in a folder, which gets its log."""
        found = shutil.which(program, path=PATH)
        assert found
        # Patroni is a program of the system's Python, and takes nothing of this one.
        given = {name: value for name, value in environment().items() if not name.startswith("PYTHON")}
        given |= {"PATH": PATH, "HOME": str(folder)}
        given |= {f"PATRONI_{each}_PASSWORD": self.password for each in ("SUPERUSER", "REPLICATION", "RESTAPI")}
        with (folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [found, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=given,
                # Ctrl-C is for the program that uses the cluster.
                start_new_session=True,
                **self._account,
            )
        self._started.append(process)
        return process

    def _start(self) -> None:
        etcd, peers = (f"http://{HOST}:{free_port()}" for _ in range(2))
        folder = self._make("etcd")
        addresses = ["--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers]
        members = ["--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
        self.run(folder, "etcd", "--enable-v2", "--data-dir", "data", *addresses, *members)
        for node in self.nodes:
            self._fill("patroni.yml", self._make(node.name), node, etcd.removeprefix("http://"))
            node.start()
        self._fill("haproxy.cfg", self._make("haproxy"), self.nodes[0], "")
        self.run(self.folder / "haproxy", "haproxy", "-f", "haproxy.cfg")
        self.heal()
        leader = self.leader()
        with psycopg.connect(
            host=HOST, port=leader.port, user=SUPERUSER, password=self.password, dbname="postgres", autocommit=True
        ) as connection:
            password = sql.Literal(self.password)
            connection.execute(sql.SQL("CREATE ROLE secrets LOGIN PASSWORD {}").format(password))
            connection.execute("CREATE DATABASE secrets OWNER secrets")

    def _fill(self, name: str, folder: Path, node: Node, etcd: str) -> None:
        """Write an example's file for a node, with the addresses and folders of this cluster."""
        text = (EXAMPLES / name).read_text()
        if name == "haproxy.cfg":
            shown = "{}.example.com:5432 check port 8008"
            replaced = {shown.format(each.name): f"{HOST}:{each.port} check port {each.api}" for each in self.nodes}
            replaced["127.0.0.1:5000"] = f"{HOST}:{self.front}"
        else:
            replaced = {
                "etcd1.example.com:2379,etcd2.example.com:2379,etcd3.example.com:2379": etcd,
                "name: db1": f"name: {node.name}",
                "db1.example.com:5432": f"{HOST}:{node.port}",
                "db1.example.com:8008": f"{HOST}:{node.api}",
                "/usr/lib/postgresql/15/bin": str(binaries()),
                "/var/lib/postgresql/secrets": str(folder),
                "/var/run/postgresql": str(folder),
                "10.0.0.0/24": f"{HOST}/32",
            }
        for shown, real in replaced.items():
            assert shown in text, shown
            text = text.replace(shown, real)
        (folder / name).write_text(text)

    def _make(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        self._own(folder)
        return folder

    def _own(self, path: Path) -> None:
        """Give a folder to whom PostgreSQL runs as."""
        user, group = self._account["user"], self._account["group"]
        # -1 leaves it whose it is.
        os.chown(path, -1 if user is None else user, -1 if group is None else group)

    def _is_healthy(self) -> bool:
        members = self._members()
        roles = sorted(member["role"] for member in members)
        states = {member["state"] for member in members}
        is_level = len({member.get("timeline") for member in members}) == 1
        return roles == ["leader", "replica", "sync_standby"] and states <= {"running", "streaming"} and is_level

    def _members(self) -> list[dict[str, Any]]:
        for node in self.nodes:
            status, said = node.ask("GET", "/cluster")
            if status:
                members: list[dict[str, Any]] = json.loads(said)["members"]
                return members
        return []
