"""``--fail-if`` decides by what was measured, and says so to people and to CI."""

from __future__ import annotations

import argparse
import contextlib
import operator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.gate import EXIT_STATUS, Condition, add_gate, check_gate

MEASURED = {
    'padding_loss': (0.08, [0.02, 0.14]),
    'padding_loss@16': (0.03, None),
    'loss.border@24': (None, None),
}


def check(*arguments):
    parser = argparse.ArgumentParser()
    add_gate(parser, 'padding_loss@16 > 0.05')
    with one_line_errors(parser):
        check_gate(parser.parse_args(arguments), MEASURED, 'mindpad border')


@given(
    value=st.floats(-2, 2),
    limit=st.floats(-2, 2),
    name=st.sampled_from(['mean', 'padding_loss@16', 'edge_drop.left@24', 'mAP@a-b']),
    sign=st.sampled_from(['>', '>=', '<', '<=']),
    space=st.sampled_from(['', ' ']),
)
def test_a_condition_compares_as_python_does(value, limit, name, sign, space):
    compare = {'>': operator.gt, '>=': operator.ge, '<': operator.lt, '<=': operator.le}[sign]
    condition = Condition.parse(f'{name}{space}{sign}{space}{limit!r}')
    args = argparse.Namespace(fail_if=[condition], junit=None)
    with pytest.raises(SystemExit) if compare(value, limit) else contextlib.nullcontext():
        check_gate(args, {name: (value, None)}, 'a suite')


@pytest.mark.parametrize(
    'text', ['', 'padding_loss', 'padding_loss > much', '> 3', 'a = 3', 'a > nan', 'a > 1 > 2']
)
def test_what_is_no_condition_is_refused_before_anything_is_measured(text, capsys):
    with pytest.raises(SystemExit) as left:
        check('--fail-if', text)
    assert left.value.code == 2
    assert f'{text!r} is no condition such as' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('condition', 'fails'),
    [
        ('padding_loss > 0.05', True),
        ('padding_loss.low > 0.05', False),
        ('padding_loss.high>0.05', True),
        ('padding_loss@16 > 0.05', False),
        ('padding_loss@16 >= 0.03', True),
        ('padding_loss < 0', False),
    ],
)
def test_a_condition_that_holds_ends_with_its_own_status(condition, fails, tmp_path, capsys):
    file = tmp_path / 'gate.xml'
    arguments = ('--fail-if', condition, '--fail-if', 'padding_loss > 1', '--junit', str(file))
    if fails:
        with pytest.raises(SystemExit) as left:
            check(*arguments)
        assert left.value.code == EXIT_STATUS == 3
        assert f'failed: {condition} (' in capsys.readouterr().err
    else:
        check(*arguments)
    root = ElementTree.parse(file).getroot()
    assert (root.get('tests'), root.get('failures')) == ('2', str(int(fails)))
    assert len(root.findall('testcase')) == 2
    assert len(root.findall('testcase/failure')) == int(fails)


@pytest.mark.parametrize(
    ('condition', 'message'),
    [
        ('padding_los > 0.05', "no 'padding_los' was measured; there is padding_loss"),
        ('padding_loss@16.low > 0', 'padding_loss@16 has no interval'),
        ('loss.border@24 > 0', 'loss.border@24 is undefined'),
    ],
)
def test_a_value_that_was_not_measured_is_an_error_and_no_pass(condition, message, capsys):
    with pytest.raises(SystemExit) as left:
        check('--fail-if', condition)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: --fail-if: ')
    assert message in line
