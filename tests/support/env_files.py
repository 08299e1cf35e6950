"""Readers of files of variables, written from the documented rules of the programs that read them."""


def read_docker(data: bytes) -> dict[str, str]:
    """What `docker run --env-file` reads (kvfile of docker/cli): no quotes, no escapes, a variable on each line.

    A line ends in LF or CRLF. Blanks in front of it are dropped, and so is a line that begins with `#`.
    """
    variables: dict[str, str] = {}
    for line in data.decode().split("\n"):
        text = line.removesuffix("\r").lstrip(" \t")
        if text and not text.startswith("#"):
            name, is_set, value = text.partition("=")
            assert name
            assert not any(map(str.isspace, name))
            assert is_set
            variables[name] = value
    return variables


def read_github(data: bytes) -> dict[str, str]:
    """What a runner of GitHub Actions reads from the file that `GITHUB_ENV` names (FileCommandManager).

    `NAME=value`, or `NAME<<DELIMITER`, the lines of the value, and the delimiter.
    """
    variables: dict[str, str] = {}
    lines = iter(data.decode().split("\n"))
    for line in lines:
        name, is_long, rest = line.partition("<<")
        if not is_long or "=" in name:
            name, _, rest = line.partition("=")
            variables |= {name: rest} if line else {}
            continue
        value = [next(lines)]
        while value[-1] != rest:
            value.append(next(lines))
        variables[name] = "\n".join(value[:-1])
    return variables
