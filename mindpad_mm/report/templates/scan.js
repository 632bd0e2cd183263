'use strict';
// All panels show the same current position; their content comes from the page's data.
const page = JSON.parse(document.getElementById('data').textContent);
const OUTSIDE = 65535, STEPS = 10000, NO_BOX = -(2 ** 31);  // encoding of the maps, see report/data.py
const [BACKGROUNDS, OBJECTS, SIZES, ROWS, COLS] = page.shape;
const byId = id => document.getElementById(id);
const all = (selector, visit) => document.querySelectorAll(selector).forEach(visit);
const now = {background: 0, object: 0, size: 0, row: 0, col: 0};  // indices

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
// A table of `value` at each position of one map.
const table = (map, value) =>
  used.row.map(row => Float32Array.from(used.col, col => value(cellIndex(map, row, col))));
// plotly 5 accepts only plain arrays as customdata.
const plain = rows => rows.map(row => Array.from(row));
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
    const [top, left, high, wide] = scene.photo, around = new Path2D();
    around.rect(0, 0, scene.width, scene.height);
    around.rect(left, top, wide, high);
    draw.fillStyle = 'rgba(128, 128, 128, .6)';
    draw.fill(around, 'evenodd');
    draw.strokeStyle = '#fff';
    draw.lineWidth = 2 * pixel;
    draw.strokeRect(left, top, wide, high);
  }
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
  const side = Math.min(1.6 * Math.max(height, width), scene.height, scene.width);
  const within = (centre, extent) => Math.max(0, Math.min(centre - side / 2, extent - side));
  paint(byId('lens'), [within(page.cols[now.col] + width / 2, scene.width),
    within(page.rows[now.row] + height / 2, scene.height), side, side]);
}

// ---- charts
const ink = () => getComputedStyle(document.body).color;
const still = {displayModeBar: false, scrollZoom: false};
const zoomable = {displaylogo: false, modeBarButtons: [['zoom2d', 'pan2d', 'resetScale2d', 'toImage']]};
function chart(element, figure, data, layout, config = still) {
  const whole = structuredClone(figure);
  data.forEach((one, i) => { whole.data[i] = Object.assign(whole.data[i] || {}, one); });
  Object.assign(whole.layout, layout, {font: {...whole.layout.font, color: ink()}});
  return Plotly.react(element, whole.data, whole.layout, config);
}
function mapLayout(figure, element) {
  const scene = page.scenes[now.background], axes = figure.layout, half = page.stride / 2;
  const margin = axes.margin, width = element.clientWidth - margin.l - margin.r;
  return {
    // The scene's frame, so that positions match between panels.
    xaxis: {...axes.xaxis, range: [-half, scene.width]},
    yaxis: {...axes.yaxis, range: [scene.height, -half]},
    height: Math.round(width * scene.height / scene.width) + margin.t + margin.b,
    dragmode: matchMedia('(pointer: coarse)').matches ? false : 'zoom',
    uirevision: now.background,
  };
}
// What lies outside the photo, as a shape of a map.
function padding() {
  const scene = page.scenes[now.background], [top, left, height, width] = scene.photo;
  const frame = (x0, y0, x1, y1) => `M${x0},${y0}H${x1}V${y1}H${x0}Z`;
  return {type: 'path', visible: padded(scene), layer: 'below', line: {width: 0}, fillrule: 'evenodd',
    fillcolor: 'rgba(128, 128, 128, .35)',
    path: frame(0, 0, scene.width, scene.height) + frame(left, top, left + width, top + height)};
}
function drawMap(element, figure, data, shapes = []) {
  const layout = mapLayout(figure, element);
  layout.shapes = figure.layout.shapes.map((shape, i) => ({...shape, ...shapes[i]}));
  layout.shapes.splice(-2, 0, padding());
  const fresh = !element.on;
  chart(element, figure, data, layout, zoomable);
  if (fresh) {
    const follow = event => moveTo(event.points[0].y, event.points[0].x);
    element.on('plotly_hover', follow);
    element.on('plotly_click', follow);
  }
}
function drawMaps() {
  const map = mapIndex(), at = {x: used.col.map(i => page.cols[i]), y: used.row.map(i => page.rows[i])};
  all('[data-score]', element => {
    const scan = page.scans[element.dataset.score], known = scan.maps[map];
    const iou = plain(table(map, i => fixed(scan.ious[i])));
    const shapes = known.worst ? [
      {visible: true, y0: known.worst_row.position, y1: known.worst_row.position},
      {visible: true, x0: known.worst_col.position, x1: known.worst_col.position}] : [];
    drawMap(element, page.charts.score, [
      {...at, z: table(map, i => scan.flags[i] ? NaN : fixed(scan.scores[i])), customdata: iou},
      {...at, z: table(map, i => scan.flags[i] ? fixed(scan.scores[i]) : NaN)}], shapes);
  });
  all('[data-loss]', element => {
    const {losses} = page.scans[element.dataset.loss], z = table(map, i => losses[i]);
    // The colours reach at least .1 from 0, as in heatmap.png.
    const most = z.flatMap(row => Array.from(row)).reduce((a, b) => Math.max(a, Math.abs(b) || 0), 0.1);
    drawMap(element, page.charts.loss, [{...at, z, zmin: -most, zmax: most}]);
  });
  all('[data-change]', element => {
    const scan = page.scans[1 + Number(element.dataset.change)];
    drawMap(element, page.charts.change, [{...at, z: table(map, i => change(scan, i))}]);
  });
  all('[data-mean]', element => {
    const {mean, half} = page.changes[element.dataset.mean];
    const sure = document.querySelector(`[data-sure="${element.dataset.mean}"]`).checked;
    drawMap(element, page.charts.change, [{...at,
      z: table(meanIndex(), i => sure && !(Math.abs(mean[i]) > half[i]) ? NaN : mean[i]),
      customdata: plain(table(meanIndex(), i => half[i])),
      hovertemplate: 'change %{z:+.4f} \u00b1 %{customdata:.4f}<br>row %{y}, column %{x}<extra></extra>'}]);
  });
}
function drawBorders() {
  const maps = page.scans.map(scan => scan.maps[mapIndex()]);
  all('[data-side]', element => {
    const side = element.dataset.side;
    const lines = maps.map((known, i) => ({type: 'scatter', mode: 'lines', name: page.scans[i].name,
      line: {color: page.lines[i % page.lines.length], width: 1.8},
      x: known.worst ? known.border_profiles[side].distance : [], hovertemplate: '%{y:.3f}',
      y: known.worst ? known.border_profiles[side].score : []}));
    chart(element, page.charts.profile, lines, {});
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
    const {xaxis, yaxis} = page.charts.phase.layout, [vertical, horizontal] = phase.step;
    const steps = (count, step) => Array.from({length: count}, (_, i) => Math.round(i * step * 100) / 100);
    chart(element, page.charts.phase, [{x: steps(phase.values[0].length, horizontal),
      y: steps(phase.values.length, vertical), z: phase.values}],
      {xaxis: {...xaxis, nticks: 8}, yaxis: {...yaxis, nticks: 8}});
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
      + (scan.flags[i] ? ' (flagged: the clean scene has a detection here)' : '');
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
    element.textContent = fixed(page.scans[element.dataset.scan].scores[i]).toFixed(4);
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
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawScene(); all('.map', ring); });
}
function ring(element) {
  const shapes = element.layout.shapes.map((shape, i, whole) => i < whole.length - 2 ? shape
    : {...shape, xanchor: page.cols[now.col], yanchor: page.rows[now.row]});
  Plotly.relayout(element, {shapes});
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
all('[data-jump]', button => button.addEventListener('click', () => {
  const known = page.scans[0].maps[mapIndex()], {worst} = known;
  if (!worst) return;
  const y = {worst: worst.row, worst_row: known.worst_row.position}[button.dataset.jump] ?? page.rows[now.row];
  const x = {worst: worst.col, worst_col: known.worst_col.position}[button.dataset.jump] ?? page.cols[now.col];
  moveTo(y, x);
}));

// ---- choosing
function show() {
  byId('size-out').textContent = `${Math.max(...box())} px`;
  findUsed();
  drawMaps();
  drawBorders();
  describe();
  moveTo(page.rows[now.row], page.cols[now.col]);
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
all('[data-sure]', control => control.addEventListener('input', drawMaps));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
let wide = innerWidth;  // on a phone the address bar often changes only the height
addEventListener('resize', () => {
  if (innerWidth === wide) return;
  wide = innerWidth;
  show();
});

unpack().then(() => {
  byId('explorer').hidden = false;
  const {worst} = page.scans[0].maps[0];
  if (worst) {
    now.row = page.rows.indexOf(worst.row);
    now.col = page.cols.indexOf(worst.col);
  }
  show();
  byId('explorer').dataset.ready = '';
});
