"""What docs/how-to/ shows, done as a reader would do it."""

import ast
import asyncio
import getpass
import inspect
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import pages
from tests.support.desk import BLOCK, Desk
from tests.support.how_to import blocks, write_files
from tests.support.service import TOKEN, Service, serve


@pytest.fixture
def desk(service: Service, tmp_path: Path) -> Desk:
    """A desk with empty projects, and the store of its service."""
    found = Desk(service.url, tmp_path)
    found.sign_in()
    found.environment["GITPOD_SECRETS_STORE"] = f"sqlite:///{service.path}"
    return found


def test_a_ci_job_deploys(desk: Desk) -> None:
    """With a token that only reads, and the deployment's own exit status."""
    [token] = blocks("ci", "sh", "Make a token")
    [job] = blocks("ci", "sh", "Run one command")
    desk.put(0, "API_TOKEN", "canary-value")
    desk.script(token)
    assert "ci web" in desk.paste("gitpod-secrets token list")
    desk.environment["GITPOD_API_KEY"] = (desk.folder / "ci.token").read_text().strip()
    desk.program("deploy", 'test "$API_TOKEN" = canary-value && test -z "$GITPOD_API_KEY" && exit 9')
    assert "canary" not in desk.script(job, status=9)
    assert "permission_denied" in desk.script("gitpod-secrets delete API_TOKEN --yes", status=3)


def test_later_steps_of_a_workflow_have_the_secrets(desk: Desk) -> None:
    """Each line of a value is masked, and the runner's file has it."""
    [step] = blocks("ci", "sh", "In GitHub")
    desk.put(0, "MULTILINE", "line-one\nline-two")
    (desk.folder / "runner.env").touch()
    desk.environment["GITHUB_ENV"] = str(desk.folder / "runner.env")
    shown = desk.script(step)
    assert "::add-mask::line-one" in shown.splitlines()
    assert "::add-mask::line-two" in shown.splitlines()
    assert "\nline-one\nline-two\n" in (desk.folder / "runner.env").read_text()


def test_the_workflow_is_one(desk: Desk) -> None:
    """It has the steps that it needs; a shell reads those that are a shell's."""
    [workflow] = blocks("ci", "yaml")
    read = yaml.safe_load(workflow)
    assert read[True] == {"push": {"branches": ["main"]}}  # YAML takes `on` for true
    steps = read["jobs"]["deploy"]["steps"]
    assert [step.get("env", {}).keys() for step in steps][-1] == {"GITPOD_API_KEY"}
    for step in steps:
        assert {"uses", "run"} & step.keys()
        subprocess.run(["bash", "-n"], input=step.get("run", ""), text=True, check=True, cwd=desk.folder)


@pytest.mark.parametrize("store", ["", "sqlite:///missing/secrets.db"])
def test_a_token_that_is_not_made_leaves_no_file(desk: Desk, store: str) -> None:
    """The script ends with what is missing."""
    desk.environment["GITPOD_SECRETS_STORE"] = store
    [token] = blocks("ci", "sh", "Make a token")
    shown = desk.script(token, status=2 if store else 1)
    assert ("gitpod-secrets: error: " if store else "GITPOD_SECRETS_STORE: is not set") in shown
    assert not (desk.folder / "ci.token").exists()


@pytest.mark.parametrize("heading", ["Run one command", "In GitHub"])
def test_a_ci_job_without_a_token_does_nothing(desk: Desk, heading: str) -> None:
    """It ends with what is missing."""
    del desk.environment["GITPOD_API_KEY"]
    desk.program("deploy", "echo deployed")
    [job] = blocks("ci", "sh", heading)
    assert desk.script(job, status=1).endswith("GITPOD_API_KEY: is not set for this job\n")


def test_the_tests_of_the_page_pass(desk: Desk) -> None:
    """In a folder of a reader's own, with the command that is shown."""
    write_files(desk, "pytest")
    [command] = blocks("pytest", "sh")
    desk.environment["PYTEST_ADDOPTS"] = "-p no:cacheprovider"
    assert "5 passed" in desk.paste(command)


def test_every_fault_is_named() -> None:
    """In the table of the page."""
    from typing import get_args

    from gitpod.testing import FaultKind

    table = pages.page("how-to/pytest").partition("| fault |")[2]
    assert [kind for kind in get_args(FaultKind) if f"`{kind}`" not in table] == []


def test_a_value_is_rotated(desk: Desk) -> None:
    """By the command, and by the program of the page."""
    desk.put(0, "API_TOKEN", "old")
    [command, *_] = blocks("rotation", "sh", "How do I rotate a value")
    desk.paste(command)
    assert len(desk.stored()["API_TOKEN"][0]) == 43
    write_files(desk, "rotation")
    desk.paste("python rotate.py")
    assert len(desk.stored()["API_TOKEN"][0]) == 48


@pytest.mark.parametrize(
    ("kind", "times", "passes"), [("drop_after_commit", 5, True), ("drop_before_reading", 9, False)]
)
def test_a_rotation_meets_faults(desk: Desk, kind: Any, times: int, *, passes: bool) -> None:
    """It sends the same value again, and ends with the error when nothing arrives."""
    from gitpod import APIConnectionError
    from gitpod.testing import FaultPlan

    desk.put(0, "API_TOKEN", "old")
    [code] = blocks("rotation", "python")
    module: dict[str, Any] = {"__name__": "rotate"}
    exec(compile(code, "rotate.py", "exec"), module)  # noqa: S102 # the page's
    plan = FaultPlan().add(kind, "UpdateSecretValue", times=times)
    with plan.aim(desk.client().with_options(max_retries=2)) as client:
        if passes:
            module["rotate"](client, "API_TOKEN", desk.ids[0], "new")
        else:
            with pytest.raises(APIConnectionError):
                module["rotate"](client, "API_TOKEN", desk.ids[0], "new")
    assert desk.stored()["API_TOKEN"][0] == ("new" if passes else "old")


def test_a_token_is_renewed(tmp_path: Path) -> None:
    """The new one is accepted, and the old one no more."""
    served = serve(tmp_path / "secrets.db")
    desk = Desk(served.url, tmp_path)
    desk.sign_in()
    desk.environment["GITPOD_SECRETS_STORE"] = f"sqlite:///{served.path}"
    make, revoke = blocks("rotation", "sh", "How do I renew")
    desk.paste('gitpod-secrets token create --role environment --project "$GITPOD_PROJECT_ID" > old.token')
    desk.paste(make)
    assert (desk.folder / "new.token").stat().st_mode & 0o077 == 0
    first = desk.paste("gitpod-secrets token list --json").splitlines()[0]
    desk.environment["old"] = json.loads(first)["id"]
    desk.paste(revoke)
    ended = [json.loads(line)["revoked_at"] for line in desk.paste("gitpod-secrets token list --json").splitlines()]
    assert [bool(each) for each in ended] == [True, False]
    assert served.stop() == 0


def test_the_keys_are_rotated(tmp_path: Path) -> None:
    """On a store of its own, as the service's tokens are sealed by its keys, too."""
    desk = Desk(f"sqlite:///{tmp_path}/secrets.db", tmp_path)
    desk.environment |= {"GITPOD_BASE_URL": desk.url, "GITPOD_SECRETS_STORE": desk.url}
    desk.put(0, "API_TOKEN", "value")
    [commands] = blocks("rotation", "sh", "How do I rotate the keys")
    desk.paste(commands)
    assert desk.stored()["API_TOKEN"] == ("value", "env")


def test_no_cell_of_a_notebook_shows_a_value(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each cell would display is shown by its last expression; the page has the output of one."""
    desk.put(0, "API_TOKEN", "canary-value")
    for name in ("GITPOD_API_KEY", "GITPOD_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITPOD_BASE_URL", desk.url)

    def typed(_prompt: str) -> str:
        return TOKEN

    monkeypatch.setattr(getpass, "getpass", typed)
    shown = [asyncio.run(each) for each in cells([desk.own(code) for code in blocks("jupyter", "python")])]
    [documented] = blocks("jupyter", "text")
    assert shown == ["", documented.strip(), "12", "['API_TOKEN']"]


def cells(codes: list[str]) -> Iterator[Any]:
    """Run cells one after the other. Each gives the repr of its last expression, as Jupyter displays it."""
    scope: dict[str, Any] = {}
    flags: int = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    async def run(code: str) -> str:
        body = ast.parse(code).body
        parts: list[ast.Module | ast.Expression] = [ast.Module(body, [])]
        if isinstance(body[-1], ast.Expr):
            parts.append(ast.Expression(body[-1].value))
            body.pop()
        shown = ""
        for part in parts:
            mode = "exec" if isinstance(part, ast.Module) else "eval"
            result = eval(compile(part, "cell", mode, flags), scope)  # noqa: S307 # the page's
            if inspect.iscoroutine(result):
                result = await result
            shown = repr(result) if mode == "eval" else ""
        return shown

    return (run(code) for code in codes)


def test_no_block_is_left_out() -> None:
    """Every page is known, and what is shown on it is of a kind that a test above runs."""
    found = pages.ORDER["how-to"]
    kinds = {(page, language) for page in found for language, _ in BLOCK.findall(pages.page(f"how-to/{page}"))}
    assert {page for page, language in kinds if language == "sh"} == {"ci", "pytest", "rotation"}
    assert {page for page, language in kinds if language == "shell"} == {"docker", "gunicorn-and-celery"}
    for page, language in kinds:
        if language == "shell":
            for code in blocks(page, language):
                subprocess.run(["sh", "-n"], input=code, text=True, check=True)
