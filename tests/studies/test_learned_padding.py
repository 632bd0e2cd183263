"""The table of what padding learned."""

from __future__ import annotations

import json
from pathlib import Path

from mindpad_mm.border import with_interval
from studies.run_learned_padding import LEARNED, learned_markdown

ROOT = Path(__file__).parents[2]


def test_the_table_has_a_row_for_every_variant_of_the_results():
    results = json.loads((ROOT / 'docs' / 'results' / 'learned_padding.json').read_text('utf-8'))
    table = learned_markdown(results)
    rows = sum(len(found['variants']) for found in results.values())
    assert table.count('\n|') == rows + 1
    change = results['ssd128-centre']['variants'][LEARNED]['change']
    assert f'| {with_interval(change)} |' in table
    assert table.strip() in (ROOT / 'docs' / 'RESULTS.md').read_text('utf-8')
