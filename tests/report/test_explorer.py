"""The page of a scan in a browser shows the values of scan.npz."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from scipy import stats

from mindpad_mm.report.page import write_page
from mindpad_mm.scan import CAUSE_COLOURS, CAUSE_WORDS, CAUSES

SHIFT = 8


@pytest.fixture(scope='module')
def scans(make_scan):
    return [make_scan('zeros', scores=1), make_scan('reflect', scores=2)]


@pytest.fixture(scope='module')
def pages(scans, tmp_path_factory):
    """Files: the page of one scan, and the page of two scans."""
    folder = tmp_path_factory.mktemp('pages')
    write_page(scans[:1], folder / 'one.html')
    write_page(scans, folder / 'both.html')
    return folder / 'one.html', folder / 'both.html'


def open_page(browser, page, **window):
    browser.open(page, **window)
    browser.wait_for('"ready" in document.getElementById("explorer").dataset')


@pytest.fixture
def scan(browser, scans, pages):
    """The scan of the open page, which shows its first scene, object and size."""
    if not browser.run(f'location.href.split("#")[0] === "{pages[0].as_uri()}"'):
        open_page(browser, pages[0])
    browser.mouse(0, 0)
    for name in ('background', 'object', 'size'):
        choose(browser, name, 0)
    return scans[0]


@pytest.fixture(autouse=True)
def nothing_goes_wrong(browser):
    yield
    assert not browser.errors
    assert all(url.startswith(('file:', 'data:', 'blob:')) for url in browser.requests)


def choose(browser, name, value):
    browser.run(f"""(control => {{
        control.value = {value};
        control.dispatchEvent(new Event('input'));
    }})(document.getElementById('{name}'))""")


def stored(scan):
    """The arrays of scan.npz."""
    with np.load(scan.folder / 'scan.npz') as arrays:
        return dict(arrays)


def point_at(browser, selector, scan, row, col):
    """Move the mouse to the middle of a cell, which begins at its position, one stride wide."""
    area = f"document.querySelector('{selector}')"
    browser.run(f'{area}.scrollIntoView({{block: "center", behavior: "instant"}})')
    x, y, width, height = browser.run(
        f'(r => [r.x, r.y, r.width, r.height])({area}.getBoundingClientRect())'
    )
    scene, half = scan.info.backgrounds[0], scan.info.stride / 2
    at = (
        x + (scan.cols[col] + half) / scene.width * width,
        y + (scan.rows[row] + half) / scene.height * height,
    )
    browser.mouse(at[0] + 2, at[1])
    browser.mouse(*at)
    return at


def colour_at(browser, selector, x, y):
    """Colour of a map at a point of the scene, red, green, blue and alpha."""
    return browser.run(f"""new Promise(done => requestAnimationFrame(() => {{
        const canvas = document.querySelector('{selector}'), scene = page.scenes[now.background];
        const at = [{x} / scene.width * canvas.width, {y} / scene.height * canvas.height];
        done([...canvas.base.getContext('2d').getImageData(...at, 1, 1).data]);
    }}))""")


def look_at(browser, view):
    """Choose what the map shows."""
    browser.run(f'document.querySelector(\'[name="view"][value="{view}"]\').click()')


def readout(browser):
    return browser.run('document.getElementById("readout").textContent')


def said(browser, scan, row, col):
    """Lines of scores in the readout, as soon as it shows this position."""
    title = f'Row {scan.rows[row]}, column {scan.cols[col]}'
    text = browser.wait_for(
        f'(t => t.startsWith("{title}\\n") && t)(document.getElementById("readout").textContent)'
    )
    return text.splitlines()[2:]


def unflagged(scan, background=0, obj=0, size=0):
    """A position far from the borders that is not flagged in any scene."""
    free = ~scan.flags[:, obj, size].any(0)
    return next((r, c) for r in range(5, 12) for c in range(7, 20) if free[r, c])


def test_hovering_reads_the_score_and_the_iou_that_the_file_holds(browser, scan):
    arrays = stored(scan)
    row, col = unflagged(scan)
    point_at(browser, '[data-map="0"]', scan, row, col)
    score, iou = (arrays[name][0, 0, 0, row, col] for name in ('scores', 'ious'))
    (line,) = said(browser, scan, row, col)
    told, box = line.split(', found at ')
    assert told == f'score {score:.4f}, IoU {iou:.4f}'
    edges = [float(edge) for corner in box.split(' to ') for edge in corner.split(', ')]
    np.testing.assert_allclose(edges, arrays['boxes'][0, 0, 0, row, col], rtol=0, atol=0.0501)
    label = browser.run('document.getElementById("tip").textContent')
    assert f'score {score:.4f}' in label
    assert f'IoU {iou:.3f}' in label
    assert f'row {scan.rows[row]}, column {scan.cols[col]}' in label
    y, x = scan.rows[row], scan.cols[col]
    assert f'pasted box {x}, {y} to {x + 6}, {y + 10}\n' in readout(browser)
    # The command shown below recomputes the shown position.
    recipe = browser.run('document.querySelector("pre").textContent')
    assert f'row, col = {scan.rows[row]}, {scan.cols[col]}' in recipe


def test_the_object_is_pasted_where_one_points(browser, scan):
    row, col = unflagged(scan)
    point_at(browser, '[data-map="0"]', scan, row, col)
    said(browser, scan, row, col)
    y, x = scan.rows[row] + 5, scan.cols[col]
    inside, outside = browser.run(f"""new Promise(done => requestAnimationFrame(() => {{
        const canvas = document.getElementById('scene'), scale = canvas.width / 80;
        const data = x => canvas.getContext('2d').getImageData(x * scale, {y} * scale, 1, 1).data;
        done([{x} + 3, {x} + 16].map(x => [...data(x)]));
    }}))""")
    assert inside == [0, 200, 255, 255]
    assert max(outside[:3]) < 99


def test_arrow_keys_move_the_object_and_stop_at_the_edge(browser, scan):
    scores = stored(scan)['scores'][0, 0, 0]
    browser.run('document.querySelector(\'[data-map="0"]\').focus()')
    for _ in range(5):
        browser.key('ArrowLeft', SHIFT)
        browser.key('ArrowUp', SHIFT)
    assert f'score {scores[0, 0]:.4f}' in said(browser, scan, 0, 0)[0]
    browser.key('ArrowRight')
    browser.key('ArrowDown')
    browser.key('ArrowDown')
    assert f'score {scores[2, 1]:.4f}' in said(browser, scan, 2, 1)[0]
    for _ in range(9):
        browser.key('ArrowRight', SHIFT)
        browser.key('ArrowDown', SHIFT)
    last = len(scan.rows) - 1, len(scan.cols) - 1
    assert f'score {scores[last]:.4f}' in said(browser, scan, *last)[0]


def test_selectors_choose_scene_object_and_size(browser, scan):
    arrays = stored(scan)
    for name, value in (('background', 2), ('object', 1), ('size', 1)):
        choose(browser, name, value)
    browser.run('moveTo(6, 8)')
    score = arrays['scores'][2, 1, 1, 3, 4]
    assert f'score {score:.4f}' in said(browser, scan, 3, 4)[0]
    assert 'object_1_16.png' in browser.run('document.querySelector("pre").textContent')
    # The object stays inside the photo, which fills a part of the third scene.
    browser.run('moveTo(999, 999)')
    assert readout(browser).startswith('Row 28, column 60\n')
    browser.run('moveTo(0, 0)')
    assert readout(browser).startswith('Row 4, column 6\n')
    assert colour_at(browser, '[data-map="0"]', 2, 2)[3] == pytest.approx(0.35 * 255, abs=2)
    choose(browser, 'background', 0)
    assert colour_at(browser, '[data-map="0"]', 2, 2)[3] == 255


def test_flagged_positions_are_marked(browser, scan):
    row, col = np.argwhere(scan.flags[0, 0, 0])[0]
    browser.run(f'moveTo({scan.rows[row]}, {scan.cols[col]})')
    assert 'flagged' in said(browser, scan, row, col)[0]


def test_flagged_cells_are_hatched_and_no_colour_of_a_score(browser, scan):
    """Lines on the card's own ground: most pixels of the cell stay clear."""
    row, col = np.argwhere(scan.flags[0, 0, 0, :-1, :-1])[0]
    clear = browser.run(f"""(() => {{
        const canvas = document.querySelector('[data-map="0"]'), scale = canvas.width / 80;
        const at = [{scan.cols[col]}, {scan.rows[row]}, 2, 2].map(each => Math.round(each * scale));
        const {{data}} = canvas.base.getContext('2d').getImageData(...at);
        return [...data].filter((_, i) => i % 4 === 3).map(alpha => alpha === 0);
    }})()""")
    assert 0.3 < np.mean(clear) < 1


@pytest.mark.parametrize('selector', ['[data-map="0"]', '[data-change="0"]'])
def test_colours_are_those_of_matplotlib(browser, scans, pages, selector):
    open_page(browser, pages[1])
    first, other = (stored(scan)['scores'][0, 0, 0].astype(float) for scan in scans)
    name, values, low = ('cividis', first, 0) if 'map' in selector else ('RdBu', other - first, -1)
    colours = colormaps[name]((values - low) / (1 - low), bytes=True)
    free = np.argwhere(~(scans[0].flags | scans[1].flags)[0, 0, 0])
    for row, col in free[::37]:
        drawn = colour_at(browser, selector, scans[0].cols[col] + 1, scans[0].rows[row] + 1)
        np.testing.assert_allclose(drawn[:3], colours[row, col, :3].astype(int), atol=5)


def test_where_nothing_changed_the_map_is_as_quiet_as_the_page_in_both_schemes(browser, pages):
    """The middle of the scale: nearly white on the light page, nearly black on the dark one."""
    shown = {}
    for scheme in ('dark', 'light'):
        feature = {'name': 'prefers-color-scheme', 'value': scheme}
        browser.send('Emulation.setEmulatedMedia', features=[feature])
        open_page(browser, pages[1])
        shown[scheme] = browser.run("""(() => {
            const {ramp} = document.querySelector('[data-change="0"]').chart;
            return [0, 127, 255].map(at => parseInt(ramp.slice(6 * at, 6 * at + 6), 16));
        })()""")
    brightness = {
        scheme: [(each >> 16) + (each >> 8 & 255) + (each & 255) for each in colours]
        for scheme, colours in shown.items()
    }
    assert brightness['light'][1] > 700 > max(brightness['light'][::2])
    assert brightness['dark'][1] < 150 < min(brightness['dark'][::2])
    for low, _, high in shown.values():
        assert low >> 16 > (low & 255)  # red where the score fell
        assert high >> 16 < (high & 255)  # blue where it rose


def test_map_and_scene_are_of_one_size_and_on_one_line(browser, pages):
    open_page(browser, pages[0], width=1440)
    scene, scores = (
        browser.run(
            f'(r => [r.y, r.width, r.height])(document.querySelector("{each}").getBoundingClientRect())'
        )
        for each in ('#scene', '[data-map]')
    )
    assert scene == pytest.approx(scores, abs=0.6)


def test_dragging_takes_the_object_along_and_a_click_holds_it(browser, scan):
    point_at(browser, '#scene', scan, 5, 8)
    before = readout(browser)
    x, y = point_at(browser, '#scene', scan, 9, 20)
    assert readout(browser) == before  # without a button the scene does not follow the mouse
    for kind in ('mousePressed', 'mouseMoved', 'mouseReleased'):
        browser.mouse(x, y, kind, button='left', buttons=1, clickCount=1)
    said(browser, scan, round(9 - 5 / 2 + 0.5), round(20 - 3 / 2 + 0.5))
    x, y = point_at(browser, '[data-map="0"]', scan, 3, 9)
    for kind in ('mousePressed', 'mouseReleased'):
        browser.mouse(x, y, kind, button='left', clickCount=1)
    point_at(browser, '[data-map="0"]', scan, 6, 12)
    said(browser, scan, 3, 9)
    for kind in ('mousePressed', 'mouseReleased'):
        browser.mouse(x, y, kind, button='left', clickCount=1)
    point_at(browser, '[data-map="0"]', scan, 6, 12)
    said(browser, scan, 6, 12)


def test_address_leads_back_to_the_place(browser, scan, pages):
    choose(browser, 'background', 1)
    choose(browser, 'object', 1)
    browser.run(f'moveTo({scan.rows[4]}, {scan.cols[7]})')
    text = readout(browser)
    address = browser.wait_for('location.hash.includes("row") && location.href')
    browser.wait_for('location.hash === fragment()')
    address = browser.run('location.href')
    browser.send('Page.navigate', url='about:blank')
    browser.send('Page.navigate', url=address)
    browser.wait_for('document.getElementById("explorer")?.dataset.ready === ""')
    assert readout(browser) == text
    browser.run('location.hash = "#scene=99&object=x&row=-5&column=zz"')  # out of range: ignored
    browser.wait_for('readout.textContent.startsWith("Row 0, column 0")')


def test_profiles_end_at_64_px_and_tell_their_scores(browser, scan):
    side = scan.info.statistics['maps'][0]['border_profiles']['left']
    chart = 'document.querySelector(\'[data-side="left"]\')'
    browser.run(f'{chart}.scrollIntoView({{block: "center", behavior: "instant"}})')
    x, y, width = browser.run(f'(r => [r.x, r.y, r.width])({chart}.getBoundingClientRect())')
    inside = [score for at, score in zip(side['distance'], side['score']) if at > 64]
    assert browser.run(f'{chart}.querySelectorAll(".inside").length') == bool(inside)
    for share in (0.2, 0.8):
        browser.mouse(x + share * width, y + 60)
        told = browser.run('document.getElementById("tip").textContent')
        at, score = re.fullmatch(r'(\d+) px from the side\nscore ([0-9.]+)', told).groups()
        assert int(at) <= 64
        assert float(score) == pytest.approx(
            side['score'][side['distance'].index(int(at))], abs=6e-4
        )


def test_code_and_tables_can_be_copied(browser, scan):
    browser.run('navigator.clipboard.writeText = async text => { window.copied = text; }')
    browser.run('document.querySelector("[aria-label=\'Copy the code\']").click()')
    assert 'inference_detector(model, scene)' in browser.wait_for('window.copied')
    browser.run('document.querySelector("[aria-label=\'Copy the table\']").click()')
    assert browser.wait_for('window.copied.startsWith("metric\tmean") && window.copied')


def test_scans_side_by_side_tell_the_change_and_its_interval(browser, scans, pages):
    open_page(browser, pages[1])
    first, other = (stored(scan)['scores'][:, 0, 0].astype(float) for scan in scans)
    free = ~(scans[0].flags | scans[1].flags)[:, 0, 0].any(0) & ~np.isnan(first).any(0)
    row, col = np.argwhere(free)[40]
    point_at(browser, '[data-change="0"]', scans[0], row, col)
    lines = said(browser, scans[0], row, col)
    tested = stats.ttest_rel(other[:, row, col], first[:, row, col])
    interval = tested.confidence_interval(0.95)
    numbers = [float(n.replace('\u2212', '-')) for n in re.findall(r'[+\u2212][0-9.]+', lines[-1])]
    expected = [(other - first)[:, row, col].mean(), interval.low, interval.high]
    assert numbers == pytest.approx(expected, abs=2e-4)
    here = float(lines[-2].rsplit(' ', 1)[1].replace('\u2212', '-'))
    assert here == pytest.approx((other - first)[0, row, col], abs=2e-4)


def test_uncertain_changes_can_be_hidden(browser, scans, pages):
    open_page(browser, pages[1])
    drawn = """(({x, y, value}) => y.slice(1).map((_, row) => x.slice(1).map((_, col) =>
        isFinite(value(row, col)))))(document.querySelector('[data-mean="0"]').chart)"""
    before = np.array(browser.run(drawn))
    browser.run('document.querySelector("[data-sure]").click()')
    left = np.array(browser.run(drawn))
    first, other = (
        np.where(scan.flags, np.nan, scan.scores)[:, 0, 0].astype(float) for scan in scans
    )
    known = ~np.isnan(other - first).any(0)
    interval = stats.ttest_rel(other, first).confidence_interval(0.95)
    sure = (interval.low > 0) | (interval.high < 0)
    assert before[known].all()
    np.testing.assert_array_equal(left[known], sure[known])
    assert 0 < sure[known].mean() < 0.5


def test_colours_mean_the_same_on_every_map_and_weakest_strips_are_marked(browser, scan):
    choose(browser, 'background', 1)
    drawn = browser.run("""(({low, high, strips}) => [low, high, strips.row, strips.col])(
        document.querySelector('[data-map="0"]').chart)""")
    figures = scan.info.statistics['maps'][4]
    strips = [figures[name]['position'] for name in ('worst_row', 'worst_col')]
    assert drawn == [0, 1, *strips]


@pytest.fixture(scope='module')
def explained(make_scan, tmp_path_factory):
    """A scan with causes and other boxes, and its page."""
    scan = make_scan('a detector of a long name that tells its size', scores=3, extras=True)
    for number, scene in enumerate(scan.info.backgrounds):
        scene.source = f'a long name of a street with houses, number {number}.jpg'
    page = scan.folder / 'page.html'
    write_page([scan], page)
    return scan, page


def test_a_scan_without_causes_offers_no_other_view(browser, scan):
    assert browser.run('document.getElementById("views").offsetHeight') == 0


def test_pointing_at_a_blind_place_says_its_cause_in_words(browser, explained):
    scan, page = explained
    open_page(browser, page)
    look_at(browser, 'cause')
    codes = scan.causes.causes[0, 0, 0]
    for code in np.unique(codes[codes > 0]):
        row, col = np.argwhere(codes[:-1, :-1] == code)[1]
        point_at(browser, '[data-map="0"]', scan, row, col)
        said(browser, scan, row, col)
        words = f'{CAUSES[code]}: {CAUSE_WORDS[CAUSES[code]]}'
        tip = browser.run('document.getElementById("tip").textContent')
        score, iou = (
            getattr(scan.causes, name)[0, 0, 0, row, col] for name in ('raw_scores', 'raw_ious')
        )
        assert words in tip
        assert words in readout(browser)
        assert f'best score of the class {score:.4f}, best IoU of any box {iou:.3f}' in tip
        assert browser.run('document.querySelector("[data-scan]").textContent') == CAUSES[code]
        drawn = colour_at(browser, '[data-map="0"]', scan.cols[col] + 1, scan.rows[row] + 1)
        wanted = np.multiply(to_rgb(CAUSE_COLOURS[code - 1]), 255)
        np.testing.assert_allclose(drawn[:3], wanted, atol=2)


def test_the_key_counts_the_places_of_each_cause(browser, explained):
    scan, page = explained
    open_page(browser, page)
    look_at(browser, 'cause')
    key = browser.run(
        '[...document.querySelectorAll(".scored .scale .label")].map(e => e.textContent)'
    )
    counts = np.bincount(scan.causes.causes[0, 0, 0].ravel(), minlength=len(CAUSES))
    wanted = [f'{name}: {count}' for name, count in zip(CAUSES, counts) if name and count]
    assert key == ['not blind', *wanted]


def test_pointing_says_which_other_boxes_change(browser, explained):
    scan, page = explained
    open_page(browser, page)
    look_at(browser, 'others')
    others = scan.bystanders
    names = ['car', 'bus', 'bus']
    events = others.events((0, 0, 0))
    quiet = np.argwhere((events == 0) & ~np.isnan(scan.scores[0, 0, 0]))[0]
    for row, col in (*np.argwhere(events[:-1, :-1] > 1)[:4], quiet):
        point_at(browser, '[data-map="0"]', scan, row, col)
        said(browser, scan, row, col)
        states = others.states[0, 0, 0, row, col]
        wanted = [
            f'{name} ({score:.2f}) {"vanishes" if state == 4 else "changes class"}'
            for name, score, state in zip(names, others.scores[0], states)
            if state >= 3
        ]
        new = others.appeared[0, 0, 0, row, col, 0]
        wanted += [f'{new} new box{"es appear" if new > 1 else " appears"}'] if new else []
        tip = browser.run('document.getElementById("tip").textContent').split('\n')
        assert tip[:-1] == (wanted or ['no other box changes'])
        shown = browser.run('document.querySelector("[data-scan]").textContent')
        assert shown == str(events[row, col])


def test_address_keeps_the_view(browser, explained):
    _, page = explained
    open_page(browser, page)
    look_at(browser, 'cause')
    browser.wait_for('location.hash.includes("view=cause")')
    address = browser.run('location.href')
    browser.send('Page.navigate', url='about:blank')
    browser.send('Page.navigate', url=address)
    browser.wait_for('document.getElementById("explorer")?.dataset.ready === ""')
    assert browser.run('document.querySelector("[name=view]:checked").value') == 'cause'
    assert 'why the object is not found' in browser.run(
        'document.querySelector(".scored figcaption").textContent'
    )


@pytest.mark.parametrize('view', ['score', 'cause', 'others'])
def test_every_view_begins_in_the_first_screen_of_a_phone(browser, explained, view):
    _, page = explained
    open_page(browser, page, width=390, height=844, mobile=True)
    look_at(browser, view)
    top, bottom = browser.run(
        '(r => [r.top, r.bottom])(document.querySelector("[data-map]").getBoundingClientRect())'
    )
    assert 0 < top < bottom < 844
    assert browser.run('document.documentElement.scrollWidth') <= 390


@pytest.mark.parametrize('width', [390, 768, 1440])
def test_page_fits_its_window(browser, pages, width):
    open_page(browser, pages[1], width=width, mobile=width < 500)
    assert browser.run('document.documentElement.scrollWidth') <= width
    assert browser.run('[...document.querySelectorAll(".map")].every(e => e.clientHeight > 150)')
    # No column of a table is cut off.
    clipped = '[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth)'
    assert browser.run(f'{clipped}.map(e => e.innerText.slice(0, 40))') == []


def test_map_begins_in_the_first_screen_of_a_phone(browser, pages):
    open_page(browser, pages[0], width=390, height=844, mobile=True)
    top, bottom = browser.run(
        '(r => [r.top, r.bottom])(document.querySelector("[data-map]").getBoundingClientRect())'
    )
    assert 0 < top < bottom < 844


def test_without_scripts_the_heatmap_is_shown(browser, pages):
    browser.send('Emulation.setScriptExecutionDisabled', value=True)
    try:
        browser.open(pages[1])
        shown = 'img => img.naturalWidth > 500 && img.getBoundingClientRect().height > 100'
        pictures = '[...document.querySelectorAll("noscript img")]'
        assert browser.run(f'{pictures}.map({shown})') == [True, True]
        assert browser.run('document.getElementById("explorer").offsetHeight') == 0
    finally:
        browser.send('Emulation.setScriptExecutionDisabled', value=False)
