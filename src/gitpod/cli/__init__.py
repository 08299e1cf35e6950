"""The command `gitpod-secrets`. Each command loads the libraries that it needs when it is called."""

import gc
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from io import TextIOWrapper

    import click


def main() -> None:
    """Run `gitpod-secrets` with the arguments of the process."""
    # Nearly all objects of a short command are those of modules, and no garbage: a search takes a tenth of its time.
    # Commands that run long, or make many calls, turn the search on.
    gc.disable()
    try:
        _run()
    finally:
        # The interpreter searches once more at its end.
        gc.freeze()


def _run() -> None:
    try:
        import click
    except ModuleNotFoundError:
        from gitpod._extras import install

        sys.stderr.write('gitpod-secrets: error: the command needs the extra "cli"\n')
        if command := install("cli"):
            sys.stderr.write(f"gitpod-secrets: hint: {command}\n")
        sys.exit(2)
    from gitpod.cli.commands.root import cli
    from gitpod.cli.failures import INTERRUPTED, SOME_FAILED, UNEXPECTED, USAGE, Failure, report

    _check_streams()
    try:
        sys.exit(cli.main(prog_name="gitpod-secrets", standalone_mode=False))
    except click.UsageError as error:
        # A group without a command. click 8.1 prints its help by itself, and has no such class.
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            click.echo(error.format_message(), err=True)
            sys.exit(USAGE)
        command = error.ctx.command_path if error.ctx else "gitpod-secrets"
        failure = Failure(_usage_message(error), USAGE, f"{command} --help")
    except click.ClickException as error:
        failure = Failure(error.format_message(), USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        from gitpod._extras import EXTRA_OF, install

        module = (error.name or "").partition(".")[0]
        extra = EXTRA_OF.get(module)
        message = f'the command needs the extra "{extra}"' if extra else f"{module} is not installed"
        failure = Failure(message, USAGE, install(extra) if extra else "")
    except OSError as error:
        # Python would flush standard output once more at the end, and fail again with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        reason = error.strerror or type(error).__name__
        failure = Failure(f"{error.filename}: {reason}" if error.filename else reason, SOME_FAILED, error=error)
    except Exception as error:  # noqa: BLE001 # reported without its text, which may quote a value
        hint = "gitpod-secrets --debug shows where"
        failure = Failure(f"unexpected: {type(error).__name__}", UNEXPECTED, hint, error)
    report(failure)
    sys.exit(failure.status)


def _usage_message(error: "click.UsageError") -> str:
    """Return click's message as one line in lower case, without what was given: that may be meant as a value."""
    import re

    message = error.format_message()
    if "extra argument" in message:
        return "too many arguments: a secret's value is never given as an argument"
    message = re.sub(r"""^No such command (['"]).*\1(?=\.)""", "there is no such command", message)
    message = re.sub(r"""^(Invalid value for [^:]+: )(['"]).*\2 (?=is not )""", r"\1", message)
    message = re.sub(r"\. \(?(Choose from|Did you mean)", lambda found: f"; {found[1].lower()}", message)
    message = " ".join(message.removesuffix(")").split()).removesuffix(".")
    # A name in capitals, such as of a variable, stays.
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _check_streams() -> None:
    """End the process if standard output or error is closed; open an empty standard input if that is closed.

    The next file that is opened would get the number of a closed stream, and the stream's data. A character that
    standard output's encoding does not have is printed as `?`.
    """
    given: tuple[TextIO | None, ...] = (sys.stdin, sys.stdout, sys.stderr)
    if None in given[1:]:
        sys.exit(2)
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    if given[0] is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 # open for as long as the process lives
