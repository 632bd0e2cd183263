"""Write the HTML page of a finished scan again, or one page that compares several scans."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mindpad_mm.cli.errors import one_line_errors
from mindpad_mm.cli.options import new_parser
from mindpad_mm.cli.running import start

EXAMPLES = """\
examples:
  # what reflect padding changes against zeros, on the same object and the same photos
  %(prog)s outputs/zeros outputs/reflect --names zeros reflect --out compared.html

  # the page of one scan again
  %(prog)s outputs/zeros --out outputs/zeros/report.html
"""


def main(argv: Sequence[str] | None = None, prog: str = 'tools/blindspot_report.py') -> None:
    """Run the command on ``argv``, by default the arguments of this process."""
    parser = make_parser(prog)
    with one_line_errors(parser):
        args = parser.parse_args(argv)
        start()
        from mindpad_mm.report.page import write_page
        from mindpad_mm.scan import ScanResult

        results = [ScanResult.load(folder) for folder in args.scans]
        print(*write_page(results, args.out, args.names), args.out, sep='\n')


def make_parser(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    parser = new_parser(__doc__, EXAMPLES, prog)
    parser.add_argument(
        'scans',
        nargs='+',
        metavar='SCAN_DIR',
        help='output folders of scans; differences are to the first',
    )
    parser.add_argument(
        '--out', default='report.html', metavar='FILE', help='page to write (%(default)s)'
    )
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='names of the scans (those of their configs)'
    )
    return parser
