"""The service in other languages, made from the same contract: the servers of `interop/`."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import languages
import pytest
from tests.support.service import ROOT, TOKEN


def made(name: str) -> None:
    """Make the programs of a language. Skips the test where they cannot be made."""
    if missing := languages.lacking(name):
        pytest.skip(f"{', '.join(missing)} is not installed")
    if not os.access(ROOT, os.W_OK):
        pytest.skip("the checkout, where programs are made, cannot be written to")
    if languages.LANGUAGES[name].takes_long and not languages.is_made(name):
        pytest.skip(f"run make interop LANGS={name} first: it takes many minutes")
    try:
        languages.prepare(name)
    except languages.UnavailableError as error:
        pytest.skip(str(error))


@contextmanager
def serving(name: str) -> Generator[dict[str, str]]:
    """The URL of each of its servers, by library, for a while. Skips the test where they cannot be made."""
    made(name)
    language = languages.LANGUAGES[name]
    with subprocess.Popen(
        language.server,
        cwd=ROOT / "interop" / name,
        env=languages.environment(name) | {"GITPOD_API_KEY": TOKEN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield {library: process.stdout.readline().strip() for library in language.servers}
