"""`gitpod-secrets inject`: templates, what is refused, and the file that it writes."""

import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.service import Service
from tests.support.shell import VALUE, Shell

from gitpod.cli.files.template import fill, parse

NAME = '{{ secret "MY_NAME" }}'
FORMS = [NAME, '{{secret "MY_NAME"}}', '{{\tsecret   "MY_NAME"\t}}']
MALFORMED = [
    "{{",
    "{{ }}",
    "{{ MY_NAME }}",
    "{{ secret MY_NAME }}",
    "{{ secret 'MY_NAME' }}",
    "{{ secret `MY_NAME` }}",
    '{{ secret "MY_NAME }}',
    '{{ secret "MY_NAME" }',
    '{{ secret "MY_NAME"',
    '{{ secret\n"MY_NAME" }}',
    '{{ secret"MY_NAME" }}',
    '{{ secret "MY_NAME" | base64 }}',
    '{{ secret "MY_NAME" "OTHER" }}',
    '{{- secret "MY_NAME" -}}',
    '{{ Secret "MY_NAME" }}',
    '{{{ secret "MY_NAME" }}}',
    '{{ secrets "MY_NAME" }}',
    '{{ "x" }}',
    "{{/* x */}}",
]
PIECES = st.one_of(
    st.binary().filter(lambda text: b"{" not in text).map(lambda text: (text, text)),
    st.sampled_from(FORMS).map(lambda form: (form.encode(), b"the value {{ x }}")),
    st.sampled_from(["{", "{{", "}}", "{{{}"]).map(lambda text: (b'{{ "%b" }}' % text.encode(), text.encode())),
)


def reads(service: Service) -> int:
    """How many reads of a value the service has logged."""
    return service.log.read_text().count("GetSecretValue")


@given(st.lists(PIECES))
def test_a_template_is_filled_byte_for_byte(pieces: list[tuple[bytes, bytes]]) -> None:
    """What is around references stays, in any encoding. A value is not filled again."""
    template = parse(b"".join(text for text, _ in pieces))
    assert template.problems == []
    assert fill(template, {"MY_NAME": "the value {{ x }}"}) == b"".join(filled for _, filled in pieces)


@pytest.mark.parametrize("form", FORMS)
def test_a_reference_becomes_the_value(shell: Shell, form: str) -> None:
    """The template is a file or standard input. A value is inserted as it stands, and is not filled again."""
    value = f'{VALUE}\r\n"é" {NAME} $HOME'
    shell.put("MY_NAME", value)
    text = f"\ufeffa: {form}\r\n".encode() + b"\xff }} {"
    filled = text.replace(form.encode(), value.encode())
    (shell.home / "template").write_bytes(text)
    assert shell.run("inject", str(shell.home / "template")).out == filled
    assert shell.run("inject", "-", stdin=text).out == filled


def test_only_what_is_named_is_read_and_that_once(shell: Shell, service: Service) -> None:
    """Whatever the mount is."""
    shell.put("MY_NAME", "my_name")
    shell.put("MY_FILE", "my_file", file_path="/f")
    shell.put("MY_API", "my_api", api_only=True)
    shell.put("OTHER")
    before = reads(service)
    names = ["MY_NAME", "MY_FILE", "MY_API", "MY_NAME"]
    done = shell.run("inject", "-", stdin="\n".join(f'{{{{ secret "{name}" }}}}' for name in names))
    assert done.text.split() == [name.lower() for name in names]
    assert reads(service) == before + 3


def test_a_stronger_scope_counts(shell: Shell) -> None:
    """The same order as for `run` and `export`, whatever that of the options is."""
    scopes = {kind: str(uuid.uuid4()) for kind in ("user", "organization", "project")}
    names = {"organization": "OPU", "project": "PU", "user": "U"}
    for kind, letters in names.items():
        for letter in letters:
            shell.put(f"IN_{letter}", kind, scope={f"{kind}_id": scopes[kind]})
    options = [word for kind, each in scopes.items() for word in (f"--{kind}", each)]
    template = " ".join(f'{{{{ secret "IN_{letter}" }}}}' for letter in "OPU")
    assert shell.run("inject", "-", *options, stdin=template).text == "organization project user"


@pytest.mark.parametrize("tag", MALFORMED)
def test_a_malformed_tag_is_refused(tag: str) -> None:
    """It is no literal text by accident."""
    assert [problem.line for problem in parse(f"{NAME}\n\n{tag}".encode()).problems] == [3]


def test_all_that_is_malformed_is_named_at_once(shell: Shell, service: Service) -> None:
    """By the line alone: what is in the braces may be a value. Nothing is sent."""
    before = service.log.read_text().count("ListSecrets")
    text = f'{{{{ {VALUE} }}}}\nfine\n{{{{ secret "{VALUE}" }}}}'
    done = shell.run("inject", "-", stdin=text, code=2)
    assert done.err.splitlines() == [
        'gitpod-secrets: error: line 1: must be {{ secret "NAME" }}, or {{ "{{" }} for a literal {{',
        "gitpod-secrets: error: line 3: the name must be 3 to 127 letters, digits and underscores",
    ]
    assert done.out == b""
    assert service.log.read_text().count("ListSecrets") == before


def test_all_unknown_names_are_named_before_a_value_is_read(shell: Shell, service: Service) -> None:
    """Each with its line."""
    shell.put("MY_NAME")
    before = reads(service)
    done = shell.run("inject", "-", stdin=f'{NAME}\n{{{{ secret "NO_ONE" }}}}\n\n{{{{ secret "NO_TWO" }}}}', code=4)
    assert done.err.splitlines() == [
        "gitpod-secrets: error: line 2: there is no secret NO_ONE in this scope",
        "gitpod-secrets: error: line 4: there is no secret NO_TWO in this scope",
        "gitpod-secrets: hint: gitpod-secrets list shows the secrets",
    ]
    assert (done.out, reads(service)) == (b"", before)


def test_a_template_without_a_reference_is_a_warning(shell: Shell) -> None:
    """It is printed as it is; no token is needed."""
    done = shell.run("inject", "-", stdin="a: ${MY_NAME}", GITPOD_API_KEY="")
    assert done.text == "a: ${MY_NAME}"
    assert done.err == "gitpod-secrets: warning: the template names no secret\n"


def test_the_output_is_private_and_whole(shell: Shell) -> None:
    """It takes the place of an older file, which stays as it was if something fails."""
    shell.put("MY_NAME")
    output = shell.home / "app.conf"
    output.write_text("before")
    output.chmod(0o644)
    shell.run("inject", "-", "--output", str(output), stdin=f'{NAME}{{{{ secret "NO_ONE" }}}}', code=4)
    assert output.read_text() == "before"
    done = shell.run("inject", "-", "--output", str(output), stdin=NAME)
    assert (done.out, done.err) == (b"", f"gitpod-secrets: wrote {output}\n")
    assert (output.read_text(), output.stat().st_mode & 0o777) == (VALUE, 0o600)


def refusals(folder: Path) -> dict[str, list[str]]:
    """What is refused before anything is sent, by the message."""
    (folder / "template").write_text(NAME)
    (folder / "link").symlink_to("template")
    template = str(folder / "template")
    return {
        "/nowhere: No such file": ["/nowhere"],
        "is a directory": [str(folder)],
        "--output: is the template itself": [template, "--output", template],
        "is the template itself": [template, "--output", str(folder / "link")],
        "--output: there is no such folder": [template, "--output", "/nowhere/x"],
        "--output: is not a regular file": [template, "--output", "/dev/null"],
    }


def test_a_wrong_file_is_named(shell: Shell) -> None:
    """The template stays as it was."""
    wrong = refusals(shell.home)
    for message, done in zip(wrong, shell.each(*(["inject", *each] for each in wrong.values()), code=2), strict=True):
        assert message in done.err
        assert done.out == b""
    assert (shell.home / "template").read_text() == NAME


def test_a_terminal_shows_values_only_with_reveal(shell: Shell) -> None:
    """With `--output`, nothing is shown."""
    shell.put("MY_NAME")
    template = shell.home / "template"
    template.write_text(NAME)
    shown = shell.on_terminal("inject", str(template)).end(2)
    assert "hint: add --reveal, or --output FILE, or use a pipe" in shown
    assert VALUE not in shown + shell.on_terminal("inject", str(template), "--output", f"{template}.out").end()
    assert VALUE in shell.on_terminal("inject", str(template), "--reveal").end()
