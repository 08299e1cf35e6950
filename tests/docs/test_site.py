"""The docs as a site: built strictly, whole, and from no other host."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support import pages
from tests.support.service import ROOT

pytestmark = pytest.mark.slow
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//|<link\b[^>]*\shref="(?:https?:)?//"""
)
"""What a browser asks another host for when it shows a page."""
IMPORTED = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
"""The same in a style sheet."""
CHROMIUM = shutil.which("chromium")
MEASURE = """<iframe id="shown" style="border: 0; width: 390px; height: 844px"></iframe><pre id="said"></pre><script>
(async () => {{
  for (const page of {pages}) {{
    await new Promise((done) => {{ shown.onload = done; shown.src = page; }});
    const root = shown.contentDocument.documentElement;
    if (root.scrollWidth > root.clientWidth) said.append(`wide: ${{page}}\\n`);
  }}
  said.append("measured");
}})();
</script>"""
"""Shows each page as wide as a phone is, and says which does not fit."""


def build(folder: Path, docs: Path = ROOT / "docs") -> "subprocess.CompletedProcess[str]":
    """Build the site of these pages into a folder, as `make docs` does."""
    config = (ROOT / "mkdocs.yml").read_text().replace("docs_dir: docs", f"docs_dir: {docs}")
    config = config.replace("[tools/", f"[{ROOT}/tools/").replace("[src, gen]", f"[{ROOT}/src, {ROOT}/gen]")
    (folder / "mkdocs.yml").write_text(config.replace("site_dir: build/site", "site_dir: site"))
    command = [sys.executable, "-W", "error", "-m", "mkdocs", "build"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a word."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO ")]
    assert (done.returncode, said) == (0, [])
    return folder / "site"


def test_every_page_is_there(site: Path) -> None:
    """And every picture."""
    docs = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*") if path.is_file()]
    assert [path for path in docs if not (site / path.with_suffix(path.suffix.replace(".md", ".html"))).exists()] == []
    assert len(docs) > len(pages.ORDER["service"])


def test_no_other_host_is_asked_for_anything(site: Path) -> None:
    """Links are what a reader chooses to follow."""
    html = {path.name: LOADED.findall(path.read_text()) for path in site.rglob("*.html")}
    css = {path.name: IMPORTED.findall(path.read_text()) for path in site.rglob("*.css")}
    assert {name: found for name, found in (html | css).items() if found} == {}
    assert html
    assert css
    # The theme's script loads another one for charts, which the pages therefore do not have.
    assert not any('class="mermaid"' in path.read_text() for path in site.rglob("*.html"))


def test_the_reference_has_the_docstrings(site: Path) -> None:
    """With what a call takes and raises."""
    calls = (site / "sdk/reference/calls.html").read_text()
    for name in ("create", "put", "list", "get_value", "update_value", "delete"):
        assert f'id="gitpod._secrets.sync.Secrets.{name}"' in calls
        assert f'id="gitpod._secrets.aio.AsyncSecrets.{name}"' in calls
    assert "unique in its scope" in calls
    assert 'id="gitpod.errors.APIError"' in (site / "sdk/reference/errors.html").read_text()


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_every_page_fits_a_phone(site: Path, tmp_path: Path) -> None:
    """Tables and code scroll by themselves. The page that does not fit is the test's own."""
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site/wide.html").write_text('<!doctype html><div style="width: 391px">wide</div>')
    paths = [path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")]
    (tmp_path / "site/measure.html").write_text(MEASURE.format(pages=json.dumps(paths)))
    with served(tmp_path / "site") as url:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=60000"]
        options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={tmp_path}/profile"]
        command = [str(CHROMIUM), *options, f"{url}/measure.html"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "measured</pre>" in done.stdout
    assert re.findall(r"wide: (\S+)", done.stdout.partition("<script>")[0]) == ["wide.html"]


@contextmanager
def served(folder: Path) -> Generator[str]:
    """The files of a folder over HTTP."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # of any arguments
        """Nothing."""


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("[x](nowhere.md) [x](wire.md#no-heading) ![x](nowhere.svg)", ["nowhere.md", "#no-heading", "nowhere.svg"]),
        ("<!-- ::: gitpod.nowhere -->", ["gitpod.nowhere"]),
    ],
)
def test_what_leads_nowhere_fails(tmp_path: Path, text: str, reasons: list[str]) -> None:
    """A page, a heading, a picture and an object of the package."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs/wire.md").open("a") as page:
        page.write(f"\n{text}\n")
    done = build(tmp_path, tmp_path / "docs")
    assert done.returncode == 1
    assert [reason for reason in reasons if reason not in done.stdout + done.stderr] == []
