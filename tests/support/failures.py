"""The text of a failed test, printed when the test fails: in a parallel run, too, and not at the end of it."""

import pytest


class FailuresAtOnce:
    """A pytest plugin for the process that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print what the summary of failures has of one test."""
        if not report.failed or self._config.option.tbstyle == "no":
            return
        writer = self._config.get_terminal_writer()
        writer.line()
        writer.sep("_", f"{report.when}: {report.nodeid}", red=True)
        report.toterminal(writer)
        for title, text in report.sections:
            writer.sep("-", title)
            writer.line(text.rstrip("\n"))

    def pytest_sessionfinish(self) -> None:
        """Keep the summary from printing each of them once more; its list of names stays."""
        self._config.option.tbstyle = "no"
