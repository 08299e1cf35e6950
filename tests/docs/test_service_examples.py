"""The examples that docs/service/ gives: the systemd unit, and the stand-in of a KMS."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.support.service import ROOT
from tests.support.service_guide import PATH

from gitpod import Gitpod
from gitpod.cli.commands.root import cli

UNIT = ROOT / "examples/gitpod-secrets.service"
KEY = "gitpod-secrets-key-1:" + "A" * 43 + "="


def test_the_stand_in_of_a_kms_binds_to_what_it_is_told(tmp_path: Path) -> None:
    """What was wrapped for one data key is not unwrapped as another."""
    (tmp_path / "key").write_bytes(bytes(32))

    def kms(action: str, given: bytes, bound: str) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"KMS_KEY_FILE": str(tmp_path / "key"), "GITPOD_ASSOCIATED_DATA": bound}
        command = [sys.executable, str(ROOT / "examples/kms"), action]
        return subprocess.run(command, input=given, env=environment, capture_output=True, check=False)

    wrapped = kms("wrap", b"dmFsdWU=", "00ff").stdout
    assert kms("unwrap", wrapped, "00ff").stdout == b"dmFsdWU=\n"
    refused = kms("unwrap", wrapped, "00fe")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"Traceback" not in refused.stderr


def test_the_proxy_is_the_first_to_close_a_connection() -> None:
    """Of those to the service, on both ports: a request that meets the service's close has an unknown outcome."""
    defaults: list[Any] = [option.default for option in cli.commands["serve"].params if option.name == "keep_alive"]
    config = (ROOT / "examples/nginx.conf").read_text()
    kept_by_proxy = re.findall(r"upstream [^}]+ keepalive_timeout (\d+)s;", config)
    assert len(kept_by_proxy) == len(re.findall(r"^    upstream ", config, re.MULTILINE)) == 2
    assert max(map(int, kept_by_proxy)) < defaults[0]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit() -> None:
    """Without a warning."""
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_command_serves(tmp_path: Path) -> None:
    """With key and token from the folder that systemd puts credentials in, whatever their mode."""
    [command] = re.findall(r"^ExecStart=/bin/sh -ec '(.+)'$", UNIT.read_text(), re.MULTILINE)
    [settings] = re.findall(r"^Environment=(.+)$", UNIT.read_text(), re.MULTILINE)
    for name, text in {"key": KEY, "token": "t0ken"}.items():
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o440)
    script = command.replace("$$", "$").replace("%d", str(tmp_path)).replace("/opt/gitpod-secrets/bin/", "")
    given = dict(setting.split("=", 1) for setting in settings.split())
    given["GITPOD_SECRETS_STORE"] = f"sqlite:///{tmp_path}/secrets.db"
    given["PATH"] = PATH
    process = subprocess.Popen(
        ["/bin/sh", "-ec", script.replace("8080", "0")],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip().removeprefix("export GITPOD_BASE_URL=")
        with urlopen(f"{url}/readyz") as answer:  # noqa: S310 # ours
            assert answer.status == 200
        with Gitpod(base_url=url, bearer_token="t0ken") as client:
            assert list(client.secrets.list()) == []
        assert list(tmp_path.glob("*.key")) == []
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
