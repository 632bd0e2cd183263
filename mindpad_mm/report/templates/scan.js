// All panels show the same current position; their content comes from the page's data.
const page = JSON.parse(document.getElementById('data').textContent);
const OUTSIDE = 65535, STEPS = 10000, NO_BOX = -(2 ** 31);  // encoding of the maps, see report/data.py
const [BACKGROUNDS, OBJECTS, SIZES, ROWS, COLS] = page.shape;
const byId = id => document.getElementById(id);
const all = (selector, visit) => document.querySelectorAll(selector).forEach(visit);
const now = {background: 0, object: 0, size: 0, row: 0, col: 0};  // indices
let view = 'score';  // a key of VIEWS

async function numbers(text, Type) {
  const deflated = new Blob([Uint8Array.from(atob(text), c => c.charCodeAt(0))]).stream();
  return new Type(await new Response(deflated.pipeThrough(new DecompressionStream('deflate'))).arrayBuffer());
}
async function unpack() {
  for (const scan of page.scans) {
    scan.scores = await numbers(scan.scores, Uint16Array);
    scan.ious = await numbers(scan.ious, Uint16Array);
    scan.boxes = await numbers(scan.boxes, Int32Array);
    scan.flags = await numbers(scan.flags, Uint8Array);
    if (scan.losses) scan.losses = await numbers(scan.losses, Float32Array);
    if (scan.causes) {
      scan.causes.codes = await numbers(scan.causes.codes, Uint8Array);
      for (const name of ['scores', 'ious']) scan.causes[name] = await numbers(scan.causes[name], Uint16Array);
    }
    if (scan.others) {
      scan.others.states = await numbers(scan.others.states, Uint8Array);
      scan.others.appeared = await numbers(scan.others.appeared, Uint16Array);
    }
  }
  for (const change of page.changes) {
    change.mean = await numbers(change.mean, Float32Array);
    change.half = await numbers(change.half, Float32Array);
  }
}

// Indices into the arrays [background, object, size, row, col]; changes have no background axis.
const mapIndex = () => (now.background * OBJECTS + now.object) * SIZES + now.size;
const meanIndex = () => now.object * SIZES + now.size;
const cellIndex = (map, row, col) => (map * ROWS + row) * COLS + col;
const box = () => page.objects[now.object].boxes[now.size];
const here = () => cellIndex(mapIndex(), now.row, now.col);
// The detected box at the current position: [x1, y1, x2, y2], or null.
function detected(scan) {
  const [height, width] = box(), x = page.cols[now.col], y = page.rows[now.row];
  const edges = [x, y, x + width, y + height].map((edge, k) => [edge, scan.boxes[k * scan.scores.length + here()]]);
  return edges[0][1] === NO_BOX ? null : edges.map(([edge, tenths]) => edge + tenths / 10);
}
const REACH = 64;  // of the border profiles, pixels
const fixed = value => value === OUTSIDE ? NaN : value / STEPS;
const signed = (value, digits = 4) => (value < 0 ? '\u2212' : '+') + Math.abs(value).toFixed(digits);

// The rows and columns (indices) where the current map has positions: those inside the photo.
let used = {row: [], col: []};
function findUsed() {
  const {scores} = page.scans[0], map = mapIndex();
  const row = page.rows.map((_, i) => i), col = page.cols.map((_, i) => i);
  const scored = (r, c) => scores[cellIndex(map, r, c)] !== OUTSIDE;
  used = {row: row.filter(r => col.some(c => scored(r, c))), col: col.filter(c => row.some(r => scored(r, c)))};
}
const change = (scan, i) => scan.flags[i] || page.scans[0].flags[i]
  ? NaN : fixed(scan.scores[i]) - fixed(page.scans[0].scores[i]);

// ---- the scene with the pasted object
const canvas = byId('scene'), images = {};
function image(source) {
  if (!images[source]) {
    images[source] = new Image();
    images[source].onload = drawScene;
    images[source].src = source;
  }
  return images[source];
}
const padded = scene => scene.photo[2] < scene.height || scene.photo[3] < scene.width;
// What lies outside the photo.
function outside(scene, scale) {
  const [top, left, height, width] = scene.photo.map(each => each * scale), around = new Path2D();
  around.rect(0, 0, scene.width * scale, scene.height * scale);
  around.rect(left, top, width, height);
  return around;
}
// Draw a part of the scene, `frame` = [x, y, width, height] in scene pixels, to fill a canvas.
function paint(canvas, frame) {
  const scene = page.scenes[now.background], [height, width] = box();
  const photo = image(scene.picture), object = image(page.objects[now.object].pictures[now.size]);
  const scale = Math.max(1, canvas.clientWidth * devicePixelRatio / frame[2]), pixel = devicePixelRatio / scale;
  canvas.width = Math.round(frame[2] * scale);
  canvas.height = Math.round(frame[3] * scale);
  const draw = canvas.getContext('2d'), x = page.cols[now.col], y = page.rows[now.row];
  draw.scale(scale, scale);
  draw.translate(-frame[0], -frame[1]);
  draw.imageSmoothingEnabled = scale < 2;
  draw.drawImage(photo, 0, 0, scene.width, scene.height);
  if (padded(scene)) {
    const [top, left, high, wide] = scene.photo;
    draw.fillStyle = 'rgba(128, 128, 128, .6)';
    draw.fill(outside(scene, 1), 'evenodd');
    draw.strokeStyle = '#fff';
    draw.lineWidth = 2 * pixel;
    draw.strokeRect(left, top, wide, high);
  }
  if (view === 'others' && page.scans.length === 1) drawOthers(draw, page.scans[0], 1, pixel);
  draw.drawImage(object, x, y, width, height);
  for (const [colour, line] of [['#fff', 4], [page.mark, 2]]) {
    draw.strokeStyle = colour;
    draw.lineWidth = line * pixel;
    draw.strokeRect(x - 2 * pixel, y - 2 * pixel, width + 4 * pixel, height + 4 * pixel);
  }
  page.scans.forEach((scan, k) => {
    const found = detected(scan);
    if (!found) return;
    const [left, top, right, bottom] = found;
    for (const [colour, dash] of [['#fff', []], [page.lines[k % page.lines.length], [5 * pixel, 3 * pixel]]]) {
      draw.strokeStyle = colour;
      draw.setLineDash(dash);
      draw.strokeRect(left, top, right - left, bottom - top);
    }
    draw.setLineDash([]);
  });
}
function drawScene() {
  const scene = page.scenes[now.background], [height, width] = box();
  paint(canvas, [0, 0, scene.width, scene.height]);
  ticks(canvas, scene.width, scene.height);
  const side = Math.min(1.6 * Math.max(height, width), scene.height, scene.width);
  const within = (centre, extent) => Math.max(0, Math.min(centre - side / 2, extent - side));
  paint(byId('lens'), [within(page.cols[now.col] + width / 2, scene.width),
    within(page.rows[now.row] + height / 2, scene.height), side, side]);
}

// ---- the maps
const darkScheme = matchMedia('(prefers-color-scheme: dark)');
const changeRamp = () => page.colours.change[darkScheme.matches ? 'dark' : 'light'];
// Draw a map of the scene: `map` gives value(cell), ramp, low, high, label(cell), and what else drawCells takes.
function drawMap(canvas, map, index) {
  const scene = page.scenes[now.background];
  const cell = (row, col) => cellIndex(index, used.row[row], used.col[col]);
  const {width, height} = scene;
  drawCells(canvas, {
    ...map, width, height,
    x: edges(used.col.map(i => page.cols[i]), width), y: edges(used.row.map(i => page.rows[i]), height),
    value: (row, col) => map.value(cell(row, col)),
    hatched: map.hatched && ((row, col) => map.hatched(cell(row, col))),
    label: (row, col) => [...map.label(cell(row, col)), `row ${page.rows[used.row[row]]}, column ${page.cols[used.col[col]]}`],
    shade: (draw, scale) => {
      if (!padded(scene)) return;
      draw.fillStyle = 'rgba(128, 128, 128, .35)';
      draw.fill(outside(scene, scale), 'evenodd');
    },
  });
  ticks(canvas, width, height);
  scaleBar(canvas.closest('figure').querySelector('.scale'), canvas.chart, map.hatched);
}
function drawMaps() {
  const index = mapIndex(), changes = changeRamp();
  const each = (name, visit) => all(`[data-${name}]`, canvas => visit(canvas, canvas.dataset[name]));
  each('map', (canvas, k) => drawMap(canvas, VIEWS[view].chart(page.scans[k], index), index));
  each('change', (canvas, k) => {
    const scan = page.scans[1 + Number(k)];
    drawMap(canvas, {ramp: changes, low: -1, high: 1, value: i => change(scan, i), label: i => [`change ${signed(change(scan, i))}`]}, index);
  });
  each('mean', (canvas, k) => {
    const {mean, half} = page.changes[k], sure = document.querySelector(`[data-sure="${k}"]`).checked;
    drawMap(canvas, {
      ramp: changes, low: -1, high: 1, value: i => sure && !(Math.abs(mean[i]) > half[i]) ? NaN : mean[i],
      label: i => [`change ${signed(mean[i])} \u00b1 ${half[i].toFixed(4)}`],
    }, meanIndex());
  });
}
const place = () => {
  const [height, width] = box();
  return {x: page.cols[now.col], y: page.rows[now.row], width, height};
};
function drawBorders() {
  const maps = page.scans.map(scan => scan.maps[mapIndex()]);
  all('[data-side]', element => {
    const side = element.dataset.side;
    drawCurves(element, maps.map((known, i) => ({
      name: page.scans[i].name, colour: page.lines[i % page.lines.length],
      x: known.worst ? known.border_profiles[side].distance : [], y: known.worst ? known.border_profiles[side].score : [],
    })), REACH);
  });
  all('[data-drop]', element => {
    const side = element.dataset.drop;
    element.replaceChildren(...maps.map((known, i) => {
      const drop = known.edge_drop ? known.edge_drop[side] : null;
      const label = make('span', drop === null ? 'undefined' : signed(drop, 3), 'label');
      if (page.scans.length === 1) return label;
      label.prepend(make('span', '', 'swatch'), page.scans[i].name + ' ');
      label.firstChild.style.background = page.lines[i % page.lines.length];
      return label;
    }));
  });
  all('[data-phase]', element => {
    const phase = maps[element.dataset.phase].phase;
    element.closest('figure').hidden = !phase;
    if (!phase) return;
    const [vertical, horizontal] = phase.step, {values} = phase;
    const steps = (count, step) => Array.from({length: count + 1}, (_, i) => Math.round(i * step * 100) / 100);
    const x = steps(values[0].length, horizontal), y = steps(values.length, vertical);
    drawCells(element, {
      x, y, width: x[x.length - 1], height: y[y.length - 1], ramp: changeRamp(), low: -.5, high: .5,
      value: (row, col) => values[row][col] ?? NaN,
      label: (row, col) => [`effect ${signed(values[row][col], 3)}`, `row phase ${y[row]} px, column phase ${x[col]} px`],
    });
    ticks(element, element.chart.width, element.chart.height);
    scaleBar(element.closest('figure').querySelector('.scale'), element.chart);
    document.querySelector(`[data-grid="${element.dataset.phase}"]`).textContent =
      `${phase.name}, ${(100 * phase.share).toFixed(1)} % of the variance, best minus worst phase ${phase.amplitude.toFixed(3)}`;
  });
}

// ---- text
function say() {
  const row = page.rows[now.row], col = page.cols[now.col], i = here();
  const scores = page.scans.map(scan => {
    const name = page.scans.length > 1 ? scan.name + ' ' : '';
    const found = detected(scan)?.map(edge => edge.toFixed(1));
    return `${name}score ${fixed(scan.scores[i]).toFixed(4)}, IoU ${fixed(scan.ious[i]).toFixed(4)}`
      + (found ? `, found at ${found[0]}, ${found[1]} to ${found[2]}, ${found[3]}` : ', not found')
      + (scan.losses && !isNaN(scan.losses[i]) ? `, loss ${signed(scan.losses[i])}` : '')
      + (scan.flags[i] ? ' (flagged: the clean scene has a detection here)' : '')
      + (scan.causes && causeAt(scan, i).name ? `\n${causeLines(scan, i).join('\n')}` : '')
      + (scan.others ? `\n${othersLines(scan, i).join(', ')}` : '');
  });
  page.changes.forEach(({mean, half}, k) => {
    const changed = change(page.scans[k + 1], i), j = cellIndex(meanIndex(), now.row, now.col);
    if (!isNaN(changed)) scores.push(`${page.scans[k + 1].name} minus ${page.scans[0].name} ${signed(changed)}`);
    if (half[j] >= 0) scores.push(`mean change ${signed(mean[j])}, 95 % interval `
      + `${signed(mean[j] - half[j])} to ${signed(mean[j] + half[j])}`);
  });
  const [height, width] = box();
  byId('readout').textContent = [`Row ${row}, column ${col}`,
    `pasted box ${col}, ${row} to ${col + width}, ${row + height}`, ...scores].join('\n');
  all('[data-scan]', element => {
    element.textContent = VIEWS[view].value(page.scans[element.dataset.scan], i);
  });
  const live = {row, col, scene: page.scenes[now.background].file, object: page.objects[now.object].files[now.size]};
  all('[data-live]', element => { element.textContent = live[element.dataset.live]; });
}
function make(tag, text, style = '') {
  return Object.assign(document.createElement(tag), {textContent: text, className: style});
}
function describe() {
  byId('words').replaceChildren(...page.scans.map(scan => {
    const part = make('div', ''), list = make('ul', '');
    list.append(...scan.maps[mapIndex()].words.map(text => make('li', text)));
    part.append(...page.scans.length > 1 ? [make('b', scan.name)] : [], list);
    return part;
  }));
}

// ---- moving
let waiting = false;
// Move to the position (pixels) that is nearest among those of the current map.
function moveTo(y, x) {
  const nearest = (axis, lines, at) => used[axis].reduce((best, i) =>
    Math.abs(lines[i] - at) < Math.abs(lines[best] - at) ? i : best, used[axis][0]);
  now.row = nearest('row', page.rows, y);
  now.col = nearest('col', page.cols, x);
  say();
  remember();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawScene(); all('.map', canvas => mark(canvas, place())); });
}
// The line of positions (index) that is `by` lines after the current one.
const next = (axis, by) =>
  used[axis][Math.max(0, Math.min(used[axis].indexOf(now[axis]) + by, used[axis].length - 1))];

const keys = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
all('.map, #scene', element => element.addEventListener('keydown', event => {
  const step = keys[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const far = event.shiftKey ? 10 : 1;
  moveTo(page.rows[next('row', far * step[0])], page.cols[next('col', far * step[1])]);
}));
function drag(event) {
  if (event.type === 'pointermove' && !event.buttons) return;
  canvas.setPointerCapture(event.pointerId);
  const frame = canvas.getBoundingClientRect(), scene = page.scenes[now.background], [height, width] = box();
  const scale = scene.width / frame.width;
  moveTo((event.clientY - frame.top) * scale - height / 2, (event.clientX - frame.left) * scale - width / 2);
}
canvas.addEventListener('pointerdown', drag);
canvas.addEventListener('pointermove', drag);

// Maps follow the mouse until a click holds the position, and a finger that moves sideways.
let held = false;
function pointed(canvas, event) {
  const frame = canvas.getBoundingClientRect(), {chart} = canvas;
  return [cellAt(chart.y, (event.clientY - frame.top) / frame.height * chart.height),
    cellAt(chart.x, (event.clientX - frame.left) / frame.width * chart.width)];
}
all('.map, .phase', canvas => {
  const onMap = canvas.matches('.map');
  const follow = event => {
    const [row, col] = pointed(canvas, event), {chart} = canvas;
    const blank = isNaN(chart.value(row, col)) && !chart.hatched?.(row, col);
    if (blank) hideTip(); else showTip(event, chart.label(row, col));
    if (onMap && !(held && event.pointerType === 'mouse' && event.type === 'pointermove')) {
      moveTo(page.rows[used.row[row]], page.cols[used.col[col]]);
    }
  };
  canvas.addEventListener('pointermove', follow);
  canvas.addEventListener('pointerdown', follow);
  canvas.addEventListener('pointerleave', hideTip);
  if (onMap) canvas.addEventListener('click', event => {
    held = event.pointerType === 'mouse' && !held;
    byId('held').hidden = !held;
  });
});
all('[data-jump]', button => button.addEventListener('click', () => {
  const known = page.scans[0].maps[mapIndex()], {worst} = known;
  if (!worst) return;
  const y = {worst: worst.row, worst_row: known.worst_row.position}[button.dataset.jump] ?? page.rows[now.row];
  const x = {worst: worst.col, worst_col: known.worst_col.position}[button.dataset.jump] ?? page.cols[now.col];
  moveTo(y, x);
}));

// ---- choosing
function show() {
  hideTip();
  all('[name=view]', choice => { choice.checked = choice.value === view; });
  all('[data-of]', element => { element.hidden = element.dataset.of !== view; });
  all('[data-title]', element => { element.textContent = VIEWS[view].title; });
  byId('size-out').textContent = `${Math.max(...box())} px`;
  findUsed();
  drawMaps();
  drawBorders();
  describe();
  moveTo(page.rows[now.row], page.cols[now.col]);
  drawScene();  // now: its size sets the layout
}
for (const [name, choices] of [['background', page.scenes], ['object', page.objects]]) {
  byId(name).append(...choices.map(({name}, i) => new Option(name, i)));
  byId(name).closest('label').hidden = choices.length === 1;
}
byId('size').max = SIZES - 1;
byId('size').closest('label').hidden = SIZES === 1;
all('.controls select, .controls input', control => control.addEventListener('input', () => {
  now[control.id] = Number(control.value);
  show();
}));

// The views that all scans have; windows begin with the loss, which is free of the scene.
const views = Object.keys(VIEWS).filter(key => page.scans.every(VIEWS[key].of));
all('[name=view]', choice => {
  choice.closest('label').hidden = !views.includes(choice.value);
  choice.addEventListener('input', () => {
    view = choice.value;
    show();
  });
});
byId('views').hidden = views.length === 1;
if (views.includes('loss')) view = 'loss';

// ---- links to a place, '#scene=0&object=0&size=0&row=4&column=6&view=score'
const lengths = {background: BACKGROUNDS, object: OBJECTS, size: SIZES};
function fragment() {
  return `#scene=${now.background}&object=${now.object}&size=${now.size}&row=${page.rows[now.row]}&column=${page.cols[now.col]}&view=${view}`;
}
// Written a moment after the last move: browsers limit how often an address may change.
let remembering;
function remember() {
  if (!('ready' in byId('explorer').dataset)) return;
  clearTimeout(remembering);
  remembering = setTimeout(() => history.replaceState(null, '', fragment()), 300);
}
// Go to the place in the address; what it lacks, or is out of range, stays as it is.
function visit() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has('row')) return false;
  for (const [name, count] of Object.entries(lengths)) {
    const index = Number(asked.get(name === 'background' ? 'scene' : name) ?? NaN);
    if (Number.isInteger(index) && index >= 0 && index < count) now[name] = index;
    byId(name).value = now[name];
  }
  if (views.includes(asked.get('view'))) view = asked.get('view');
  findUsed();
  moveTo(Number(asked.get('row')) || 0, Number(asked.get('column')) || 0);
  return true;
}
addEventListener('hashchange', () => { if (visit()) show(); });
byId('link').addEventListener('click', event => copy(location.href.split('#')[0] + fragment(), event.currentTarget));
all('[data-sure]', control => control.addEventListener('input', drawMaps));
darkScheme.addEventListener('change', show);
let wide = innerWidth;  // on a phone the address bar often changes only the height
addEventListener('resize', () => {
  if (innerWidth === wide) return;
  wide = innerWidth;
  show();
});

unpack().then(() => {
  byId('explorer').hidden = false;
  const {worst} = page.scans[0].maps[0];
  if (!visit() && worst) {
    now.row = page.rows.indexOf(worst.row);
    now.col = page.cols.indexOf(worst.col);
  }
  show();
  byId('explorer').dataset.ready = '';
});
