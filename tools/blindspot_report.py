#!/usr/bin/env python
"""Write the page of a finished scan again, or one page that compares several scans."""

from __future__ import annotations

import argparse

from mindpad_mm.core.errors import one_line_errors
from mindpad_mm.report.page import write_page
from mindpad_mm.scan import ScanResult

EXAMPLE = """\
examples:
  # what reflect padding changes against zeros, on the same object and the same photos
  tools/blindspot_report.py outputs/zeros outputs/reflect --names zeros reflect --out compared.html

  # the page of one scan again
  tools/blindspot_report.py outputs/zeros --out outputs/zeros/report.html
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'scans',
        nargs='+',
        metavar='SCAN_DIR',
        help='folders of tools/blindspot_scan.py; changes are against the first',
    )
    parser.add_argument('--out', default='report.html', metavar='FILE', help='(report.html)')
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help="names of the scans (their configs')"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    args = parse_args()
    write_page([ScanResult.load(folder) for folder in args.scans], args.out, args.names)
    print(args.out)


if __name__ == '__main__':
    main()
