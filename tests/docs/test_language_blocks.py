"""The code in docs/languages/: shell is run against the service, the rest stands in the programs of `interop/`."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support import pages
from tests.support.programs import run
from tests.support.service import ROOT, TOKEN, Service, serve
from tests.support.tidy import untracked

PAGE = pages.text("languages")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CURL = [code for _, code in BLOCKS if code.startswith(("curl", "export"))]
FOLDERS = {"go": "go", "ts": "typescript", "java": "java", "kotlin": "kotlin", "rust": "rust"}
SUFFIXES = {".go", ".ts", ".java", ".kt", ".rs"}
BROWSER_HEADERS = "authorization,connect-protocol-version,connect-timeout-ms,content-type"
"""What connect-web sends over Connect, and asks a preflight for."""


def bare(code: str) -> str:
    """Code without white space, as formatters break lines in other places."""
    return re.sub(r"\s", "", code)


@pytest.mark.parametrize(("language", "folder"), FOLDERS.items())
def test_a_snippet_stands_in_a_program_that_compiles(language: str, folder: str) -> None:
    """To the letter. A blank line leaves something out."""
    [code] = [code for name, code in BLOCKS if name == language]
    sources = [path for path in (ROOT / "interop" / folder).rglob("*") if path.suffix in SUFFIXES]
    programs = [bare(path.read_text()) for path in sources if not {"gen", "node_modules", "target"} & {*path.parts}]
    assert [part for part in code.split("\n\n") if not any(bare(part) in program for program in programs)] == []


def test_every_block_is_run_or_looked_for() -> None:
    """Here, or in `test_languages.py`."""
    elsewhere = ("REPO=", "buf breaking", "gitpod-secrets serve")
    shell = [code for name, code in BLOCKS if name == "sh" and code not in CURL and not code.startswith(elsewhere)]
    assert shell == []
    assert {name for name, _ in BLOCKS} == {"sh", *FOLDERS}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_commands_of_curl_work(service: Service, tmp_path: Path) -> None:
    """Pasted as they are, but for where the service listens: POST, GET in JSON and in binary, and buf."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    for folder in ("proto", "proto-imports"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    script = "\n".join(CURL).replace("http://127.0.0.1:8080", service.url).replace("=dev", f"={TOKEN}")
    made, *lists = objects(run("sh", "-ec", script, cwd=tmp_path))
    assert made["secret"]["name"] == "DEPLOY_TOKEN"
    assert lists == [lists[0]] * 4
    assert lists[0]["secrets"]
    assert untracked(tmp_path, "buf.yaml", "proto", "proto-imports") == []
    assert (tmp_path / "header").stat().st_mode & 0o077 == 0


def objects(printed: str) -> Iterator[dict[str, dict[str, str]]]:
    """The JSON objects that were printed, one after the other."""
    rest = printed.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        yield value
        rest = rest[end:].strip()


def test_an_error_looks_as_shown(service: Service) -> None:
    """Code and message, and a detail with its JSON."""
    [shown] = re.findall(r"`(\{\"code\".*?\})`", PAGE)
    url = f"{service.url}/gitpod.v1.SecretService/DeleteSecret"
    with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        missing = client.post(url, json={"secretId": "b0e12f6c-4c67-429d-a4a6-d9838b5da047"})
        broken = client.post(url, json={"secretId": "x"})
    assert missing.json() == json.loads(shown)
    [detail] = broken.json()["details"]
    assert detail.keys() == {"type", "value", "debug"}
    assert [each["ruleId"] for each in detail["debug"]["violations"]] == ["string.uuid"]


def test_the_option_for_browsers_lets_a_page_call(tmp_path: Path) -> None:
    """With the headers of connect-web, from the origin that the page's command names."""
    [command] = [code for _, code in BLOCKS if code.startswith("gitpod-secrets serve")]
    *_, option, origin = command.split()
    served = serve(tmp_path / "secrets.db", option, origin)
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": BROWSER_HEADERS,
    }
    url = f"{served.url}/gitpod.v1.SecretService/ListSecrets"
    answer = httpx.options(url, headers=headers, trust_env=False)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert served.stop() == 0
