// ---- the views of a scan's map: what its colours show

const [TOUCHED, KEPT, CHANGED, VANISHED] = [1, 2, 3, 4];  // of other boxes, see scan/bystanders.py
const QUIET = 'rgba(128, 128, 128, .18)';  // nothing to tell here
const STATE_WORDS = {[TOUCHED]: 'touches the object', [CHANGED]: 'changes class', [VANISHED]: 'vanishes'};

const known = (scan, i) => scan.scores[i] !== OUTSIDE;
const causeAt = (scan, i) => page.causes[scan.causes.codes[i]];
// The other boxes of the scene, each with its state while the object is at a place.
const othersAt = (scan, i) => scan.others.boxes[now.background].map((other, k) =>
  ({...other, state: scan.others.states[i * scan.others.columns + k]}));
const changesAt = (scan, i) => othersAt(scan, i).filter(({state}) => state >= CHANGED).length + scan.others.appeared[i];

function causeLines(scan, i) {
  const {name, words} = causeAt(scan, i);
  if (!name) return scan.flags[i] ? [] : ['not blind'];
  const [score, iou] = [scan.causes.scores[i], scan.causes.ious[i]].map(fixed);
  return [`${name}: ${words}`, ...isNaN(score) ? [] : [`before thresholds: best score of the class ${score.toFixed(4)}, best IoU of any box ${iou.toFixed(3)}`]];
}
function othersLines(scan, i) {
  const lost = othersAt(scan, i).filter(({state}) => state >= CHANGED), appeared = scan.others.appeared[i];
  const told = lost.slice(0, 4).map(({name, score, state}) => `${name || 'a box'} (${score.toFixed(2)}) ${STATE_WORDS[state]}`);
  if (lost.length > 4) told.push(`${lost.length - 4} more vanish or change class`);
  if (appeared) told.push(`${appeared} new box${appeared > 1 ? 'es appear' : ' appears'}`);
  return told.length ? told : ['no other box changes'];
}
// Outline the other boxes of the scene: solid those that stay, dashed those that do not.
function drawOthers(draw, scan, scale, pixel) {
  for (const {box: [left, top, right, bottom], state} of othersAt(scan, here())) {
    const lost = state >= CHANGED;
    for (const [ink, width, dash] of [['#fff', 3, []], lost ? [page.mark, 2, [5, 3]] : ['#0072b2', 1.5, []]]) {
      draw.strokeStyle = ink;
      draw.lineWidth = width * pixel;
      draw.setLineDash(dash.map(each => each * pixel));
      draw.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
    }
  }
  draw.setLineDash([]);
}
function mostOf(value, index) {
  let most = 0;
  for (const row of used.row) for (const col of used.col) most = Math.max(most, Math.abs(value(cellIndex(index, row, col))) || 0);
  return most;
}

// By key: `title`; `of(scan)`: whether the scan has it; `value(scan, i)` in a few characters;
// `chart(scan, index)`: what drawMap takes.
const VIEWS = {
  score: {
    title: 'score', of: () => true,
    value: (scan, i) => fixed(scan.scores[i]).toFixed(4),
    chart(scan, index) {
      const {worst, worst_row, worst_col} = scan.maps[index];
      return {
        ramp: page.colours.score, low: 0, high: 1, strips: worst && {row: worst_row.position, col: worst_col.position},
        value: i => fixed(scan.scores[i]), hatched: i => scan.flags[i],
        label: i => scan.flags[i] ? ['flagged: the clean scene', 'has a detection here']
          : [`score ${fixed(scan.scores[i]).toFixed(4)}`, `IoU ${fixed(scan.ious[i]).toFixed(3)}`],
      };
    },
  },
  loss: {
    title: 'loss: score with the border far minus score here', of: scan => scan.losses,
    value: (scan, i) => isNaN(scan.losses[i]) ? '' : signed(scan.losses[i]),
    chart(scan, index) {
      const most = Math.max(.1, mostOf(i => scan.losses[i], index));  // as in heatmap.png
      return {ramp: reversed(changeRamp()), low: -most, high: most, value: i => scan.losses[i], label: i => [`loss ${signed(scan.losses[i])}`]};
    },
  },
  cause: {
    title: 'why the object is not found', of: scan => scan.causes,
    value: (scan, i) => causeAt(scan, i).name,
    chart(scan, index) {
      const counts = page.causes.map(() => 0);
      for (const row of used.row) for (const col of used.col) counts[scan.causes.codes[cellIndex(index, row, col)]]++;
      return {
        fill: code => code ? page.causes[code].colour : QUIET,
        key: [['not blind', QUIET], ...page.causes.map(({name, colour}, k) => [`${name}: ${counts[k]}`, colour]).filter((_, k) => k && counts[k])],
        value: i => known(scan, i) ? scan.causes.codes[i] : NaN, hatched: i => scan.flags[i],
        label: i => scan.flags[i] ? ['flagged: the clean scene', 'has a detection here'] : causeLines(scan, i),
      };
    },
  },
  others: {
    title: 'other boxes that change', of: scan => scan.others,
    value: (scan, i) => String(changesAt(scan, i)),
    chart(scan, index) {
      return {
        ramp: page.colours.score, low: 0, high: Math.max(1, mostOf(i => changesAt(scan, i), index)), fill: count => count ? null : QUIET,
        value: i => known(scan, i) ? changesAt(scan, i) : NaN, label: i => othersLines(scan, i),
        over: (draw, scale, pixel) => drawOthers(draw, scan, scale, pixel),
      };
    },
  },
};
