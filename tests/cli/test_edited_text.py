"""What `edit` takes of the text that an editor leaves."""

from hypothesis import given
from hypothesis import strategies as st

from gitpod.cli.commands.edit import without_added_break


@given(st.text(), st.sampled_from(["\n", "\r\n"]))
def test_a_line_break_at_the_end_is_no_change(value: str, added: str) -> None:
    """Whatever the value. Only what an editor adds is left out, and only once."""
    assert without_added_break(value, value) == value
    if not value.endswith(("\n", "\r")):
        assert without_added_break(value, value + added) == value
        assert without_added_break(value, value + added + added) == value + added
    if value.endswith("\n"):
        assert without_added_break(value, value + added) == value + added
    if value.endswith("\r"):
        assert without_added_break(value, value + "\n") == value
