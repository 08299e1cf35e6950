"""What the service says to a request that is no call: which paths, methods and types it takes."""

import httpx
import pytest
from tests.support.raw_requests import CANARY, CREATE, GET, JSON, LIST, PROTO, SERVICE, WEB, bare, frame, get, post
from tests.support.service import TOKEN, Service
from tests.support.target import Answer, Target, read_answer

RPCS = "{CreateSecret,UpdateSecretValue,ListSecrets,DeleteSecret,GetSecretValue}"
PATHS = f"there is no such path; is the base URL right? the calls are POST {SERVICE}{RPCS}"
TYPES = ("application/json", "application/proto", "application/grpc-web+json", "application/grpc-web+proto")
ENCODING = "encoding, in the query, must be json or proto; for GET, the query also has message=..."
CONNECT: dict[str, tuple[bytes, int, str, str]] = {
    "an unknown path": (post(b"{}", path=f"{SERVICE}{CANARY}"), 404, "unimplemented", PATHS),
    "an unknown path in binary": (post(path=f"/{CANARY}", kind=PROTO), 404, "unimplemented", PATHS),
    "a path for a browser": (bare("GET / HTTP/1.1", b"host: localhost\r\n"), 404, "unimplemented", PATHS),
    "a GET of a create": (get("encoding=json", CREATE), 405, "unknown", "the HTTP method must be POST"),
    "a PUT of a value": (
        post(b"{}", path=GET).replace(b"POST", b"PUT"),
        405,
        "unknown",
        "the HTTP method must be GET or POST",
    ),
    "a GET without an encoding": (get("message=%7B%7D"), 415, "unknown", ENCODING),
}


def ask(service: Service, sent: bytes) -> Answer:
    """Send the bytes as they are, and read one answer."""
    with Target(service.process, service.url, service.log).connect() as connection:
        connection.sendall(sent)
        return read_answer(connection)


@pytest.mark.parametrize("name", CONNECT)
def test_a_caller_of_connect_reads_it_as_an_error(service: Service, name: str) -> None:
    """With the code that follows from the status alone, so that clients see no other."""
    sent, status, code, message = CONNECT[name]
    answer = ask(service, sent)
    assert (answer.status, answer.code) == (status, code)
    assert f'"message": "{message}"' in answer.text
    assert "cache-control: no-store" in answer.text
    assert CANARY not in answer.text


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/connect+json", "hunter2/hunter2"])
def test_an_unknown_type_is_told_the_known_ones(service: Service, kind: str) -> None:
    """As a caller of curl gets it without the header."""
    answer = ask(service, post(b"{}", kind=kind))
    assert (answer.status, answer.code) == (415, "unknown")
    assert all(known in answer.text for known in TYPES)
    assert CANARY not in answer.text


@pytest.mark.parametrize("kind", TYPES)
def test_the_types_that_it_names_are_taken(service: Service, kind: str) -> None:
    """None is refused for its type."""
    body = {JSON: b"{}", PROTO: b"", WEB: frame(b"")}.get(kind, frame(b"{}"))
    assert ask(service, post(body, kind=kind)).status == 200


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (post(frame(b""), kind=WEB, path=f"/{CANARY}"), 404, PATHS),
        (post(frame(b""), kind=WEB).replace(b"POST", b"PUT"), 405, "the HTTP method must be POST"),
        (post(frame(b""), kind="application/grpc-web-text"), 415, "application/grpc-web+proto for gRPC-Web"),
        (post(frame(b""), kind="application/grpc"), 415, "gRPC needs HTTP/2, as at --grpc-port"),
    ],
)
def test_a_caller_of_grpc_web_reads_plain_text(service: Service, sent: bytes, status: int, text: str) -> None:
    """Its clients make an error of the status, and some show the text."""
    answer = ask(service, sent)
    assert (answer.status, answer.code) == (status, None)
    assert "content-type: text/plain; charset=utf-8" in answer.text
    assert answer.text.endswith("\n")
    assert text in answer.text
    assert CANARY not in answer.text


def test_a_client_of_grpc_is_told_the_port(service: Service) -> None:
    """In HTTP/1.1, which such a client recognises."""
    answer = ask(service, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    assert (answer.status, answer.code) == (400, "invalid_argument")
    assert "gRPC needs HTTP/2, as at --grpc-port" in answer.text


def test_an_error_of_the_service_is_not_replaced(service: Service) -> None:
    """not_found has the status of an unknown path."""
    body = {"secretId": "b0e12f6c-4c67-429d-a4a6-d9838b5da047"}
    answer = httpx.post(service.url + GET, json=body, headers={"authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [LIST, "/", CREATE])
def test_head_has_no_body(service: Service, path: str) -> None:
    """The connection can be used on."""
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        assert client.head(path).status_code in (404, 405)
        assert client.get("/healthz").text == "ok\n"
