// The page of lesson 9.
import { gains, identity, product } from './network.mjs';
import { columnSums, defects, LIBRARIES, MHC, rowSums, sinkhorn, sinkhornGradient } from './sinkhorn.mjs';
import { noise, shown } from './numbers.mjs';
import { byId, el, entry, stepper, tint } from './elements.mjs';
import { chart } from './chart.mjs';

let n = 4;
let seed = 1;
let logits = [];
let slopes = [];
let rule = { ...MHC, iterations: 3 };
let mixes = { constrained: [], free: [] };

const square = (size, make) =>
  Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => make(i, j)));
const tiny = x =>
  x === 0
    ? '0'
    : Math.abs(x) < 1e-3 || Math.abs(x) >= 1e4
      ? x.toExponential(1).replace('-', '−').replace('e+', 'e').replace('e-', 'e−')
      : shown(x, Math.abs(x) < 100 ? 3 : 0);
const counted = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;

function grid(m, { sums = false, scale = 1, digits = 3, name }) {
  const cell = (x, kind = '') => {
    const td = el('td', { class: kind, 'data-value': x }, shown(x, digits));
    if (!kind) tint(td, x, scale);
    return td;
  };
  const streams = m.map((_, j) => el('th', { scope: 'col' }, String(j + 1)));
  return el(
    'table',
    { class: 'small', 'aria-label': name },
    el('tr', {}, el('td'), streams, sums ? el('th', {}, 'sum') : []),
    m.map((row, i) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, String(i + 1)),
        row.map(x => cell(x)),
        sums ? cell(rowSums(m)[i], 'sum') : [],
      ),
    ),
    sums
      ? el(
          'tr',
          {},
          el('th', { scope: 'row' }, 'sum'),
          columnSums(m).map(x => cell(x, 'sum')),
          el('td'),
        )
      : [],
  );
}

function newLogits(make) {
  logits = square(n, make);
  const normal = noise(seed + 1000 * n);
  slopes = square(n, () => Math.round(100 * normal()) / 100);
  showLogits();
  update();
}

function randomLogits() {
  const normal = noise(++seed);
  newLogits(() => Math.round(100 * normal()) / 100);
}

function showLogits() {
  byId('logits').replaceChildren(
    el(
      'table',
      { 'aria-label': 'logits, row = to, column = from' },
      el(
        'tr',
        {},
        el('td'),
        logits.map((_, j) => el('th', { scope: 'col' }, String(j + 1))),
      ),
      logits.map((row, i) =>
        el(
          'tr',
          {},
          el('th', { scope: 'row' }, String(i + 1)),
          row.map((x, j) =>
            el(
              'td',
              {},
              entry({
                label: `logit to stream ${i + 1} from stream ${j + 1}`,
                key: `logit.${i}.${j}`,
                value: x,
                change: now => {
                  logits[i][j] = now;
                  update();
                },
              }).input,
            ),
          ),
        ),
      ),
    ),
  );
}

function showRule() {
  byId('iterations').value = rule.iterations;
  byId('first').value = rule.first;
  byId('plus').value = String(rule.plus ?? 0);
  if (byId('plus').selectedIndex < 0) byId('plus').value = '0';
  byId('temperature').value = String(rule.temperature ?? 1);
  byId('softmax').checked = (rule.softmax ?? null) !== null;
  document.querySelectorAll('#libraries button').forEach((button, i) => {
    const of = LIBRARIES[i][1];
    button.setAttribute(
      'aria-pressed',
      JSON.stringify({ ...of, iterations: 0 }) === JSON.stringify({ ...rule, iterations: 0 }),
    );
  });
}

function update() {
  const m = sinkhorn(logits, rule);
  byId('iterations-out').textContent = rule.iterations;
  byId('count-words').textContent = counted(rule.iterations, 'iteration');
  byId('matrix').replaceChildren(grid(m, { sums: true, name: 'the matrix M' }));
  const all = Array.from({ length: 21 }, (_, iterations) => defects(sinkhorn(logits, { ...rule, iterations })));
  byId('defects-chart').replaceChildren(
    chart({
      title: 'largest distance of a sum from 1',
      xName: 'iterations',
      logarithmic: true,
      least: 1e-16,
      at: rule.iterations,
      series: [
        { name: 'rows', kind: 'one', values: all.map(d => d.rows) },
        { name: 'columns', kind: 'two', values: all.map(d => d.columns) },
      ],
    }),
  );
  const off = defects(m);
  byId('defect-words').textContent =
    rule.iterations === 0
      ? 'Not divided yet: exponentials, each line scaled so that its largest is 1, which the first division undoes.'
      : `After ${counted(rule.iterations, 'iteration')} rows are off by ${tiny(off.rows)}, columns by ${tiny(off.columns)}. What is divided last is exact${rule.plus ? ' but for eps' : ''}; the other follows, fast for small logits, slowly for large ones.`;
  showCompared();
  showGradients();
}

function showCompared() {
  const reference = sinkhorn(logits, MHC);
  const rows = LIBRARIES.map(([name, of, words]) => {
    const m = sinkhorn(logits, of);
    const { rows: r, columns: c } = defects(m);
    const apart = Math.max(...m.flatMap((row, i) => row.map((x, j) => Math.abs(x - reference[i][j]))));
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, name),
      el('td', { 'data-value': r }, tiny(r)),
      el('td', { 'data-value': c }, tiny(c)),
      el('td', { 'data-value': apart }, tiny(apart)),
      el('td', { class: 'words' }, words),
    );
  });
  byId('compared').replaceChildren(
    el(
      'tr',
      {},
      ['library', 'rows off by', 'columns off by', 'largest difference from mHC', 'rule'].map(name =>
        el('th', { scope: 'col' }, name),
      ),
    ),
    ...rows,
  );
}

function showGradients() {
  const loss = (i, j, nudge) => {
    const moved = logits.map((row, r) => row.map((x, c) => (r === i && c === j ? x + nudge : x)));
    return sinkhorn(moved, rule)
      .flat()
      .reduce((sum, x, at) => sum + x * slopes.flat()[at], 0);
  };
  const differences = square(n, (i, j) => (loss(i, j, 1e-5) - loss(i, j, -1e-5)) / 2e-5);
  const right = sinkhornGradient(logits, rule, slopes);
  const frozen = sinkhornGradient(logits, rule, slopes, true);
  const scale = Math.max(...right.flat().map(Math.abs), 1e-9);
  const show = (id, caption, m) =>
    el('figure', { id }, el('figcaption', {}, caption), grid(m, { scale, digits: 4, name: caption }));
  byId('gradients').replaceChildren(
    show('slopes', 'G, so that the loss is ⟨G, M⟩', slopes),
    show('right', 'through every division', right),
    show('differences', 'finite differences', differences),
    show('frozen', 'with the final matrix only', frozen),
  );
  const length = m => Math.hypot(...m.flat());
  const error = length(frozen.map((row, i) => row.map((x, j) => x - right[i][j]))) / Math.max(length(right), 1e-300);
  byId('gradient-words').textContent =
    `The right gradient and finite differences differ by ${tiny(Math.max(...right.flatMap((row, i) => row.map((x, j) => Math.abs(x - differences[i][j])))))} at most. The one with the final matrix is off by ${tiny(100 * error)} %.`;
}

// The largest factor on the length of a vector, by power iteration.
function spectralNorm(m) {
  let v = m.map((_, i) => 1 + 0.3 * i);
  let norm = 0;
  for (let t = 0; t < 200; t++) {
    const u = m.map(row => row.reduce((sum, x, j) => sum + x * v[j], 0));
    const w = m.map((_, j) => m.reduce((sum, row, i) => sum + row[j] * u[i], 0));
    const length = Math.max(Math.hypot(...w), 1e-300);
    norm = Math.sqrt(length);
    v = w.map(x => x / length);
  }
  return norm;
}

function newMixes() {
  const normal = noise(77 + ++seed);
  const products = make => {
    let all = identity(4);
    return Array.from({ length: 60 }, () => {
      all = product(make(), all);
      return all;
    });
  };
  mixes = {
    constrained: products(() => sinkhorn(square(4, normal))),
    free: products(() => square(4, (i, j) => Number(i === j) + 0.4 * normal())),
  };
  showProducts();
}

// The forward gain of H_res, where the row is the destination, is the backward one of A_r.
const forwardGain = m => gains(m).backward;

function showProducts() {
  const count = Number(byId('layers').value);
  byId('layers-out').textContent = count;
  const [mixed, free] = [mixes.constrained[count - 1], mixes.free[count - 1]];
  byId('mixed').replaceChildren(grid(mixed, { sums: true, name: 'product of mHC mixes' }));
  byId('free').replaceChildren(
    grid(free, { digits: 1, scale: Math.max(...free.flat().map(Math.abs)), name: 'product of free mixes' }),
  );
  byId('gain-chart').replaceChildren(
    chart({
      title: 'forward gain by depth',
      xName: 'layers',
      from: 1,
      at: count,
      logarithmic: true,
      least: 1e-3,
      series: [
        { name: 'mHC', kind: 'one', values: mixes.constrained.map(forwardGain) },
        { name: 'free', kind: 'two', values: mixes.free.map(forwardGain) },
      ],
    }),
  );
  const spread = Math.max(...mixed.flatMap(row => row.map((x, j) => Math.abs(x - mixed[0][j]))));
  byId('product-words').textContent =
    `After ${counted(count, 'layer')}: mHC gain ${shown(forwardGain(mixed), 3)}, norm ${shown(spectralNorm(mixed), 3)}, rows differ by ${tiny(spread)}; free gain ${tiny(forwardGain(free))}, norm ${tiny(spectralNorm(free))}. mHC grows nothing; in return, the deeper, the more all streams are the same average.`;
}

function sureStart(b) {
  const start = square(4, (i, j) => (i === j ? 0 : -b));
  const normal = noise(5);
  const g = square(4, normal);
  return [sinkhorn(start), Math.hypot(...sinkhornGradient(start, MHC, g).flat())];
}

function showSure() {
  const b = Number(byId('sureness').value);
  byId('sureness-out').textContent = shown(b);
  const [m, length] = sureStart(b);
  const all = Array.from({ length: 17 }, (_, i) => sureStart(i)[1]);
  byId('sure-matrix').replaceChildren(grid(m, { digits: 4, name: 'the mix' }));
  byId('sure-chart').replaceChildren(
    chart({
      title: 'length of the gradient of the logits',
      xName: 'b',
      at: Math.round(b),
      logarithmic: true,
      series: [{ name: 'gradient', kind: 'one', values: all }],
    }),
  );
  byId('sure-words').textContent =
    `b = ${shown(b)}: ${tiny(m[0][1])} off the diagonal, and ${tiny((100 * length) / all[0])} % of the gradient that b = 0 gets.`;
}

function setRule(changes) {
  rule = { ...rule, ...changes };
  for (const name of ['plus', 'temperature']) if (rule[name] === { plus: 0, temperature: 1 }[name]) delete rule[name];
  if (rule.softmax === null) delete rule.softmax;
  byId('rule-words').textContent = '';
  showRule();
  update();
}

function showSize() {
  const change = to => {
    n = to;
    showSize();
    randomLogits();
  };
  stepper('size', { value: n, least: 2, most: 4, what: 'stream', change });
}

byId('libraries').append(
  ...LIBRARIES.map(([name, of, words]) =>
    el(
      'button',
      {
        onclick: () => {
          rule = { ...of };
          showRule();
          update();
          byId('rule-words').textContent = words;
        },
      },
      name,
    ),
  ),
);
byId('random').addEventListener('click', randomLogits);
byId('large').addEventListener('click', () => newLogits((i, j) => Math.max(-99, Math.min(99, 4 * logits[i][j]))));
byId('flat').addEventListener('click', () => newLogits(() => 0));
byId('sure').addEventListener('click', () => newLogits((i, j) => (i === j ? 0 : -8)));
byId('iterations').addEventListener('input', event => setRule({ iterations: Number(event.target.value) }));
byId('first').addEventListener('change', event =>
  setRule({ first: event.target.value, softmax: event.target.value === 'columns' ? null : (rule.softmax ?? null) }),
);
byId('plus').addEventListener('change', event => setRule({ plus: Number(event.target.value) }));
byId('temperature').addEventListener('change', event => setRule({ temperature: Number(event.target.value) }));
byId('softmax').addEventListener('change', event =>
  setRule(event.target.checked ? { softmax: rule.plus || 1e-6, first: 'rows' } : { softmax: null }),
);
byId('layers').addEventListener('input', showProducts);
byId('again').addEventListener('click', newMixes);
byId('sureness').addEventListener('input', showSure);
showSize();
randomLogits();
showRule();
newMixes();
showSure();
