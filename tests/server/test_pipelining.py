"""Requests that a client sends on one connection without waiting for the answers."""

import select
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.raw_requests import post
from tests.support.target import SECONDS, launched, read_answer

from gitpod.server.shares import TOKEN_CALLS

pytestmark = pytest.mark.slow

MAIN = """
from gitpod.cli import main
from gitpod.server.edge import applications
applications.LONGEST_REQUEST = 600
main()
"""
LATER = {"401 Unauthorized": post(b"{}", bearer=b""), "400 Bad Request": post(b"{}", path="/%67itpod")}


@pytest.mark.parametrize("status", LATER)
def test_requests_behind_one_of_a_token_end_no_call_of_it(tmp_path: Path, status: str) -> None:
    """Whatever refuses them: the token has as many calls under way as before."""
    half = post(b"{}")[:-1]
    with launched(tmp_path, MAIN) as target, ExitStack() as stack:
        sockets = [stack.enter_context(target.connect()) for _ in range(TOKEN_CALLS + 1)]
        for each in sockets[:-2]:
            each.sendall(half)
        with target.connect() as pipelining:
            pipelining.sendall(post(b"{}") + LATER[status])
            answers = b""
            while status.encode() not in answers:
                answers += pipelining.recv(65536) or pytest.fail("the connection ended early")
            assert answers.startswith(b"HTTP/1.1 200 OK")
        for each in sockets[-2:]:
            each.sendall(half)
        [refused], _, _ = select.select(sockets, [], [], SECONDS)
        assert read_answer(refused).status == 429
        for each in sockets:
            if each is not refused:
                each.sendall(b"}")
                assert read_answer(each).status == 200
