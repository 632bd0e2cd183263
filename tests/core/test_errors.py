from __future__ import annotations

import pytest

from mindpad_mm.core.errors import UserError, one_line_errors


@pytest.mark.parametrize(
    ('raised', 'line', 'status'),
    [(UserError('no\n file'), 'error: no file\n', 2), (KeyboardInterrupt(), 'interrupted\n', 130)],
)
def test_what_is_no_fault_of_ours_is_one_line_and_a_status(raised, line, status, capsys):
    def main():
        raise raised

    with pytest.raises(SystemExit) as left:
        one_line_errors(main)()
    assert left.value.code == status
    assert capsys.readouterr().err == line


def test_a_fault_of_ours_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one_line_errors(main)()
