"""What it costs to start: whole processes, from the interpreter to the first call; and their memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.client_lines import answering
from bench.environments import MissingPeerError
from bench.peers.request import ID, PARAMS, TOKEN
from bench.plan import Plan
from bench.programs import PYTHON, printed, run
from bench.results import Comparison, Line, Measures, ratios, summary
from bench.rounds import interleaved

DOCUMENTED = f"""
from gitpod import Gitpod
client = Gitpod(bearer_token="{TOKEN}")
"""
OURS = f"""
import sys
from gitpod import Gitpod
client = Gitpod(bearer_token="{TOKEN}", base_url=sys.argv[1])
"""
CREATE = f"client.secrets.create(**{PARAMS})\n"
STUB = """
import sys
from bench.peers.ours import SYNC
SYNC[sys.argv[2]](sys.argv[1], None)()
"""
OLD = OURS + CREATE
NEW = f"""
import sys
import ona_sdk
from gitpod.v1.secret_pb2 import CreateSecretRequest
client = ona_sdk.create_client(api_key="{TOKEN}", base_url=sys.argv[1])
client.services.secret.create_secret(CreateSecretRequest(**{PARAMS}))
"""
MEMORY = """
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")))
"""
PROGRAMS = {
    "interpreter": ("", ""),
    "SDK: import": ("", "import gitpod"),
    "SDK: import, construct": ("", DOCUMENTED),
    "SDK: import, construct with a URL": ("", OURS),
    "SDK: first call": ("", OURS + CREATE),
    "gitpod-sdk 0.11: first call": ("gitpod-sdk 0.11", OLD),
    "gitpod-sdk 1.2: first call": ("gitpod-sdk 1.2", NEW),
}
"""The peer whose environment each program needs, "" for our own, and the program."""

GET = "gitpod-secrets get"
START_GOALS = [
    Comparison("SDK: import", "interpreter", "cpu"),
    Comparison("SDK: import, construct", "interpreter", "cpu", at_most=1.5),
    Comparison("SDK: import, construct with a URL", "interpreter", "cpu"),
    Comparison("SDK: first call", "gitpod-sdk 0.11: first call", "cpu", at_most=0.4),
    Comparison("SDK: first call", "gitpod-sdk 1.2: first call", "cpu"),
    Comparison(GET, "interpreter", "cpu", at_most=8),
]
MEMORY_GOALS = [
    Comparison("SDK", "stub over the SDK's pool", "memory", at_most=1.03),
    Comparison("SDK", "stub over pyqwest", "memory"),
    Comparison("SDK", "gitpod-sdk 0.11", "memory"),
    Comparison("SDK", "gitpod-sdk 1.2", "memory"),
]


def start(plan: Plan) -> Line:
    """Processes from their start to their end."""
    missing: dict[str, str] = {}
    ways: dict[str, Callable[[], Measures]] = {}
    with answering() as server:
        for name, (peer, program) in PROGRAMS.items():
            try:
                python = plan.environments.python(peer) if peer else PYTHON
            except MissingPeerError as error:
                missing[name] = str(error)
                continue
            ways[name] = partial(whole, plan.folder, [python, "-c", program, f"http://{server.address}"])
        ways[GET] = getting(plan.folder)
        found = interleaved(ways, plan.rounds)
    about = "Whole processes. `gitpod-secrets get` reads one value of a store in a file."
    return Line("start", "Start-up", about, "ms", summary(found), ratios(found, START_GOALS, missing), missing)


def memory(plan: Plan) -> Line:
    """What a process has after its first call."""
    missing: dict[str, str] = {}
    ways: dict[str, Callable[[], Measures]] = {}
    programs = {
        "SDK": ("", OURS + CREATE, ()),
        "stub over the SDK's pool": ("", STUB, ("stub-pool",)),
        "stub over pyqwest": ("", STUB, ("stub-pyqwest",)),
        "gitpod-sdk 0.11": ("gitpod-sdk 0.11", OLD, ()),
        "gitpod-sdk 1.2": ("gitpod-sdk 1.2", NEW, ()),
    }
    with answering() as server:
        for name, (peer, program, arguments) in programs.items():
            try:
                python = plan.environments.python(peer) if peer else PYTHON
            except MissingPeerError as error:
                missing[name] = str(error)
                continue
            ways[name] = partial(kept, python, program + MEMORY, f"http://{server.address}", *arguments)
        found = interleaved(ways, plan.rounds)
    about = "What a process shares with no other after its first call."
    return Line(
        "memory", "Memory of a client", about, "", summary(found), ratios(found, MEMORY_GOALS, missing), missing
    )


def whole(folder: Path, command: list[object], **more: str) -> Measures:
    """The milliseconds of a process."""
    return {name: seconds * 1000 for name, seconds in run(command, folder, **more).items() if name != "system"}


def kept(python: Path, program: str, *arguments: str) -> Measures:
    """The memory of a process, which prints KiB at its end."""
    return {"memory": printed(python, program, *arguments) / 1024}


def getting(folder: Path) -> Callable[[], Measures]:
    """The command line reads a value of a store in a file, which is made now."""
    store = {"GITPOD_BASE_URL": f"sqlite:///{folder / 'get.db'}", "GITPOD_PROJECT_ID": ID}
    made = f"from gitpod import Gitpod\nwith Gitpod() as client: {CREATE}"
    run([PYTHON, "-c", made], folder, **store)
    # As the installed command does it, wherever that is.
    command = [PYTHON, "-c", "from gitpod.cli import main; main()", "get", PARAMS["name"]]
    return partial(whole, folder, command, **store, **config(folder))


def config(folder: Path) -> dict[str, str]:
    """Settings of the user's own are not read."""
    return {"XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
