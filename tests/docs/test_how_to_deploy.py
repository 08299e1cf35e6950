"""What docs/how-to/ shows of Docker, gunicorn and Celery, and the image in examples/docker/."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from tests.support.desk import Desk
from tests.support.how_to import blocks, write_files
from tests.support.peer import free_port
from tests.support.processes import Process
from tests.support.service import ROOT, TOKEN, Service

from gitpod.server.serving.serve import LATEST_END


@pytest.fixture
def desk(service: Service, tmp_path: Path) -> Desk:
    """A desk with empty projects, signed in."""
    found = Desk(service.url, tmp_path)
    found.sign_in()
    return found


def test_docker_gets_names_and_the_environment_has_the_values(desk: Desk) -> None:
    """The commands of the page run with another program in the place of Docker, which has no engine here."""
    desk.put(0, "NPM_TOKEN", "canary-value")
    with desk.client() as client:
        client.secrets.create(
            name="NPM_CONFIG", value="audit=false", project_id=desk.ids[0], file_path="/home/gitpod/.npmrc"
        )
    desk.program("docker", 'echo "$@"; printenv NPM_TOKEN; cat "$NPM_CONFIG" 2>&1; true')
    desk.environment["PATH"] = f"{desk.folder}:{desk.environment['PATH']}"
    variable, file, *_ = [line for code in blocks("docker", "shell") for line in code.splitlines()]
    arguments, value, *_ = desk.paste(variable).splitlines()
    assert (arguments, value) == ("build --secret id=npm_token,env=NPM_TOKEN .", "canary-value")
    assert "audit=false" in desk.paste(file)


INSTRUCTIONS = ["FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"]


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: their names, and the rest of each line."""
    lines = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def test_every_dockerfile_is_one() -> None:
    """Of known instructions; those in JSON are arrays, and those of a shell parse."""
    shown = [*blocks("docker", "dockerfile"), (ROOT / "examples/docker/Dockerfile").read_text()]
    assert len(shown) == 3
    for name, rest in [each for text in shown for each in instructions(text)]:
        assert name in INSTRUCTIONS
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(each, str) for each in ast.literal_eval(rest))
        if name == "RUN":
            subprocess.run(["sh", "-n"], input=re.sub(r"^--mount=\S+", "", rest), text=True, check=True)


def test_the_image_has_what_its_installation_needs() -> None:
    """Each folder that is copied exists, and the extras are those of the package."""
    found = instructions((ROOT / "examples/docker/Dockerfile").read_text())
    copied = {source for name, rest in found if name == "COPY" for source in rest.split()[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    project = (ROOT / "pyproject.toml").read_text()
    assert copied >= {"pyproject.toml", "README.md", "LICENSE", "src", "gen", "proto", "proto-imports"}
    [extras] = [re.findall(r"'\.\[(.+?)\]'", rest)[0] for name, rest in found if name == "RUN" and "pip" in rest]
    assert [extra for extra in extras.split(",") if f"\n{extra} = [" not in project] == []


def test_the_composition_is_one() -> None:
    """It builds the image of the file beside it, keeps the store in a volume, and stops later than the service does."""
    path = ROOT / "examples/docker/compose.yaml"
    read = yaml.safe_load(path.read_text())
    service = read["services"]["secrets"]
    assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert [each.partition(":")[0] for each in service["volumes"]] == list(read["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > LATEST_END


def test_the_images_command_serves_and_its_check_passes(tmp_path: Path) -> None:
    """With its own environment, on a folder in place of the volume."""
    port = free_port()
    found = dict(instructions((ROOT / "examples/docker/Dockerfile").read_text()))
    name, _, store = found["ENV"].partition("=")
    command = [*ast.literal_eval(found["ENTRYPOINT"]), *ast.literal_eval(found["CMD"])]
    check = ast.literal_eval(found["HEALTHCHECK"].partition("CMD")[2].strip())
    environment = Desk("", tmp_path).environment | {
        name: store.replace("/data", str(tmp_path)),
        "GITPOD_API_KEY": TOKEN,
    }
    with running([each.replace("8080", str(port)) for each in command], tmp_path, environment) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("export GITPOD_BASE_URL=")
        subprocess.run([sys.executable, *(each.replace("8080", str(port)) for each in check[1:])], check=True)
        process.terminate()
        assert process.wait(30) == 0


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str]) -> Generator[Process]:
    """A program that runs until the block ends. What it logs is in the file `log`."""
    with (folder / "log").open("a") as log:
        program = shutil.which(command[0], path=environment["PATH"]) or command[0]
        process = Process(
            [program, *command[1:]], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("options", ["", " --worker-class gthread --threads 4"])
def test_workers_of_gunicorn_share_a_client(desk: Desk, options: str) -> None:
    """The one that called the service before the fork."""
    desk.put(0, "API_TOKEN", "letters")
    write_files(desk, "gunicorn-and-celery")
    [command] = blocks("gunicorn-and-celery", "shell", "gunicorn")
    port = free_port()
    line = shlex.split(command.replace("8000", str(port)) + options)
    with running(line, desk.folder, desk.environment):
        desk.paste(f"curl -fsS --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1:{port}")
        answers: set[str] = set()
        while len(answers) < 2:  # requests, until both workers have answered
            with urlopen(f"http://127.0.0.1:{port}") as answer:  # ours
                answers.add(answer.read().decode())
    assert all(answer.endswith(": 7 letters\n") for answer in answers)


def test_workers_of_celery_share_a_client(desk: Desk) -> None:
    """The task of the page, over a broker that is a folder."""
    desk.put(0, "API_TOKEN", "letters")
    write_files(desk, "gunicorn-and-celery")
    for name in ("queue", "control", "results"):
        (desk.folder / name).mkdir()
    tasks = desk.folder / "tasks.py"
    folders: dict[str, str] = dict.fromkeys(("data_folder_in", "data_folder_out"), str(desk.folder / "queue"))
    folders["control_folder"] = str(desk.folder / "control")
    tasks.write_text(f"{tasks.read_text()}\napp.conf.broker_transport_options = {folders}\n")
    desk.environment |= {"BROKER_URL": "filesystem://", "RESULT_BACKEND": f"file://{desk.folder}/results"}
    [command] = blocks("gunicorn-and-celery", "shell", "Celery")
    asked = "import tasks; print([each.get(timeout=60)[1] for each in [tasks.report.delay() for _ in range(8)]])"
    with running(shlex.split(command), desk.folder, desk.environment):
        assert desk.paste(f"python -c '{asked}'").splitlines()[-1] == str([7] * 8)
