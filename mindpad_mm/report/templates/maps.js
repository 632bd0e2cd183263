// ---- maps, curves and labels: drawn on canvases and in SVG, without a library

const lerp = (at, low, high) => Math.max(0, Math.min(255, Math.round(255 * (at - low) / (high - low))));
// The colour of `at` (0 to 255) in 256 colours, written 'rrggbb...'.
const colour = (ramp, at) => '#' + ramp.slice(6 * at, 6 * at + 6);
const reversed = ramp => ramp.match(/.{6}/g).reverse().join('');
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Where cells that begin at these positions begin and end: each ends where the next one begins.
function edges(at, extent) {
  const step = at.length > 1 ? Math.min(...at.slice(1).map((one, i) => one - at[i])) : page.stride;
  return [...at, Math.min(at[at.length - 1] + step, extent)];
}
// The index of the cell that contains a point.
const cellAt = (edges, point) => Math.max(0, Math.min(edges.findLastIndex(edge => edge <= point), edges.length - 2));

// Diagonal lines, for cells without a score.
function hatch(draw, scale) {
  const tile = new OffscreenCanvas(8 * scale, 8 * scale), pen = tile.getContext('2d');
  pen.scale(scale, scale);
  pen.strokeStyle = style('--ink');
  pen.lineWidth = 1.2;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return draw.createPattern(tile, 'repeat');
}

// Draw cells to fill a canvas, and keep the picture for `mark`.
// chart: width and height of the frame in its own units, x and y as edges of the columns and rows,
// value(row, col); ramp with its ends low and high, or fill(value) where it gives a colour;
// hatched(row, col); shade: draws what lies around; over: draws what lies on top.
function drawCells(canvas, chart) {
  if (!canvas.clientWidth) return;  // not shown
  const device = devicePixelRatio, scale = canvas.clientWidth * device / chart.width;
  canvas.width = Math.round(chart.width * scale);
  canvas.height = Math.round(chart.height * scale);
  canvas.chart = chart;
  const base = canvas.base = new OffscreenCanvas(canvas.width, canvas.height), draw = base.getContext('2d');
  const lines = hatch(draw, device), end = edge => Math.round(edge * scale);
  chart.shade?.(draw, scale);
  for (let row = 0; row + 1 < chart.y.length; row++) for (let col = 0; col + 1 < chart.x.length; col++) {
    const value = chart.value(row, col), hatched = chart.hatched?.(row, col);
    if (isNaN(value) && !hatched) continue;
    draw.fillStyle = hatched ? lines : chart.fill?.(value) ?? colour(chart.ramp, lerp(value, chart.low, chart.high));
    const x = end(chart.x[col]), y = end(chart.y[row]);
    draw.fillRect(x, y, end(chart.x[col + 1]) - x, end(chart.y[row + 1]) - y);
  }
  mark(canvas);
}
// Draw the marks of a map over its cells: weakest strips, the object's box and its cell.
function mark(canvas, place) {
  if (!canvas.base) return;
  const {chart, base} = canvas, draw = canvas.getContext('2d'), scale = base.width / chart.width, pixel = devicePixelRatio;
  draw.clearRect(0, 0, base.width, base.height);
  draw.drawImage(base, 0, 0);
  const line = (from, to) => {
    draw.beginPath();
    draw.moveTo(...from);
    draw.lineTo(...to);
    for (const [ink, width, dash] of [['#fff', 3, []], [page.mark, 2, [3, 4]]]) {
      draw.strokeStyle = ink;
      draw.lineWidth = width * pixel;
      draw.setLineDash(dash.map(each => each * pixel));
      draw.stroke();
    }
  };
  const middle = (edges, at) => (edges[at] + edges[at + 1]) / 2 * scale;
  if (chart.strips) {
    const y = middle(chart.y, cellAt(chart.y, chart.strips.row)), x = middle(chart.x, cellAt(chart.x, chart.strips.col));
    line([0, y], [base.width, y]);
    line([x, 0], [x, base.height]);
  }
  draw.setLineDash([]);
  chart.over?.(draw, scale, pixel);
  if (!place) return;
  for (const [ink, width] of [['#fff', 4], [page.mark, 2]]) {
    draw.strokeStyle = ink;
    draw.lineWidth = width * pixel;
    draw.strokeRect(place.x * scale, place.y * scale, place.width * scale, place.height * scale);
    draw.beginPath();
    draw.arc(place.x * scale, place.y * scale, 4 * pixel, 0, 7);
    draw.stroke();
  }
}

// Numbers along the left and lower side of a canvas.
function ticks(canvas, width, height) {
  const plot = canvas.parentElement;
  plot.querySelectorAll('.tick').forEach(tick => tick.remove());
  const add = (kind, value, share) => {
    const tick = make('span', value, `tick ${kind}`);
    tick.style[kind === 'x' ? 'left' : 'top'] = `${(kind === 'x' ? canvas.offsetLeft + share * canvas.clientWidth
      : canvas.offsetTop + share * canvas.clientHeight)}px`;
    plot.append(tick);
  };
  const room = canvas.clientWidth / width;  // screen pixels a unit
  const step = [1, 2, 5].flatMap(n => [1, 10, 100, 1000].map(m => n * m)).sort((a, b) => a - b).find(n => n * room >= 55) ?? 5000;
  for (let at = 0; at <= width; at += step) add('x', at, at / width);
  for (let at = 0; at <= height; at += step) add('y', at, at / height);
}

// The colours of a map: a ramp with its lowest and highest value, or a key of [name, colour].
function scaleBar(element, {ramp, low, high, key}, hatched) {
  if (key) {
    element.replaceChildren(...key.map(([name, colour]) => {
      const entry = make('span', '', 'label'), swatch = make('span', '', 'swatch');
      swatch.style.background = colour;
      entry.append(swatch, name);
      return entry;
    }));
    return;
  }
  const bar = make('i', ''), stops = Array.from({length: 17}, (_, i) => colour(ramp, Math.min(255, 16 * i)));
  bar.style.background = `linear-gradient(to right, ${stops})`;
  const number = value => Number.isInteger(value) ? String(value) : value.toFixed(2);
  element.replaceChildren(make('span', number(low)), bar, make('span', number(high)));
  if (hatched) element.append(make('span', '', 'hatch'), make('span', 'flagged'));
}

const tip = document.body.appendChild(make('div', ''));
tip.id = 'tip';
function showTip(event, lines) {
  tip.textContent = lines.join('\n');
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
  tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, event.clientY - height - 8)}px)`;
}
const hideTip = () => { tip.hidden = true; };
hideTip();

// Curves of score (0 to 1) by distance in an element, up to `reach` px; what lies further inside is a band.
// curves: name, colour, x and y of the points.
function drawCurves(element, curves, reach) {
  const width = element.clientWidth, height = element.clientHeight, [left, right, top, bottom] = [30, 8, 8, 34];
  const far = Math.min(reach, Math.max(1, ...curves.flatMap(curve => curve.x)));
  const x = at => left + (width - left - right) * at / far, y = score => top + (height - top - bottom) * (1 - score);
  const shapes = [];
  const add = (name, attributes, text = '') => shapes.push(`<${name} ${Object.entries(attributes).map(([k, v]) => `${k}="${v}"`).join(' ')}>${text}</${name}>`);
  for (const score of [0, .25, .5, .75, 1]) {
    add('line', {x1: left, x2: width - right, y1: y(score), y2: y(score), class: 'rule'});
    if (score % .5 === 0) add('text', {x: left - 6, y: y(score) + 4, 'text-anchor': 'end'}, score);
  }
  for (let at = 0; at <= far; at += far > 32 ? 16 : far > 8 ? 8 : 1) add('text', {x: x(at), y: height - 19, 'text-anchor': 'middle'}, at);
  add('text', {x: (left + width) / 2, y: height - 4, 'text-anchor': 'middle', class: 'name'}, 'px from the side');
  for (const curve of curves) {
    const inside = curve.y.filter((score, i) => curve.x[i] > reach && score !== null);
    if (inside.length) {
      const [low, high] = [Math.min(...inside), Math.max(...inside)];
      add('rect', {x: left, width: width - left - right, y: y(high), height: Math.max(2, y(low) - y(high)), fill: curve.colour, class: 'inside'});
    }
    const points = curve.x.map((at, i) => [at, curve.y[i]]).filter(([at, score]) => at <= reach && score !== null);
    add('polyline', {points: points.map(([at, score]) => `${x(at)},${y(score)}`).join(' '), stroke: curve.colour, class: 'curve'});
    if (points.length < 40) points.forEach(([at, score]) => add('circle', {cx: x(at), cy: y(score), r: 2.5, fill: curve.colour}));
  }
  add('line', {y1: top, y2: height - bottom, x1: -9, x2: -9, class: 'cursor'});
  element.innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">${shapes.join('')}</svg>`;
  const cursor = element.querySelector('.cursor'), known = [...new Set(curves.flatMap(curve => curve.x))].filter(at => at <= reach);
  element.onpointermove = event => {
    if (!known.length) return;
    const at = (event.clientX - element.getBoundingClientRect().left - left) / (width - left - right) * far;
    const nearest = known.reduce((best, one) => Math.abs(one - at) < Math.abs(best - at) ? one : best);
    for (const end of ['x1', 'x2']) cursor.setAttribute(end, x(nearest));
    showTip(event, [`${nearest} px from the side`, ...curves.flatMap(curve => {
      const i = curve.x.indexOf(nearest);
      return i < 0 || curve.y[i] === null ? [] : [`${curves.length > 1 ? curve.name : 'score'} ${curve.y[i].toFixed(3)}`];
    })]);
  };
  element.onpointerleave = () => {
    hideTip();
    for (const end of ['x1', 'x2']) cursor.setAttribute(end, -9);
  };
}
