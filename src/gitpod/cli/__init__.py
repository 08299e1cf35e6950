"""The command `gitpod-secrets`. Commands load what they need when they are called."""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import click


def main() -> None:
    """Run `gitpod-secrets` with the arguments of the process."""
    try:
        import click
    except ModuleNotFoundError:
        sys.stderr.write("gitpod-secrets: error: click is not installed\n")
        sys.stderr.write("gitpod-secrets: hint: pip install 'gitpod-connect[cli]'\n")
        sys.exit(2)
    from gitpod.cli.commands.root import cli
    from gitpod.cli.failures import INTERRUPTED, SOME_FAILED, UNEXPECTED, USAGE, Told, say, show_trace

    _need_streams()
    try:
        sys.exit(cli.main(prog_name="gitpod-secrets", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "gitpod-secrets"
        say(Told(_rule(error), USAGE, f"{command} --help"))
    except click.ClickException as error:
        say(Told(error.format_message(), USAGE))
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        say(Told(f"{error.name} is not installed", USAGE, "pip install 'gitpod-connect[cli,server]'"))
    except OSError as error:
        # What standard output did not take would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        say(Told(error.strerror or type(error).__name__, SOME_FAILED))
        show_trace(error)
        sys.exit(SOME_FAILED)
    except Exception as error:  # noqa: BLE001 # told without its text, which may quote a value
        say(Told(f"unexpected: {type(error).__name__}", UNEXPECTED, "gitpod-secrets --debug shows where"))
        show_trace(error)
        sys.exit(UNEXPECTED)
    sys.exit(USAGE)


def _rule(error: "click.UsageError") -> str:
    """What was called wrongly, without the argument that is too many: that may be meant as a value."""
    message = error.format_message()
    return message if "extra argument" not in message else "there is an argument too many; a value never is one"


def _need_streams() -> None:
    """Refuse to go without standard output, whose number a file would get; without standard input, there is none."""
    given: tuple[TextIO | None, ...] = (sys.stdin, sys.stdout, sys.stderr)
    if None in given[1:]:
        sys.exit(2)
    if given[0] is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 # for as long as the process lives
