// The page of lesson 5.
import { unfold } from './network.mjs';
import { noise, shown, sub } from './numbers.mjs';
import { byId, el, recorded, tint } from './elements.mjs';
import { chart } from './chart.mjs';

const runs = recorded('streams');
const last = runs.uniform.length - 1;
const SUBLAYERS = runs.uniform[0].sublayers.length;
let seed = 2;
let timer = null;

const cellOf = (x, digits = 2, scale = 2) => {
  const td = el('td', { 'data-value': x }, shown(x, digits));
  tint(td, x, scale);
  return td;
};

// One stream and two, unfolded

function randomNetwork(n) {
  const normal = noise(seed + 100 * n);
  const list = () => Array.from({ length: n }, normal);
  return Array.from({ length: 4 }, () => ({ read: list(), mix: Array.from({ length: n }, list), write: list() }));
}

function showUnfolded(id, n) {
  const c = unfold(randomNetwork(n));
  const names = ['x', 'T₁', 'T₂', 'T₃', 'T₄'];
  byId(id).replaceChildren(
    el(
      'tr',
      {},
      el('td'),
      names.map(name => el('th', { scope: 'col' }, name)),
      el('th', { scope: 'col' }, 'x / T₁'),
    ),
    ...c.map((row, k) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, k < 4 ? `T${sub(k + 1)}` : 'sum'),
        row.map((x, j) => (j <= k ? cellOf(x) : el('td'))),
        k > 0 ? el('td', { class: 'sum', 'data-ratio': row[0] / row[1] }, shown(row[0] / row[1], 3)) : el('td'),
      ),
    ),
  );
}

// The recorded training

const degrees = cosine => (Math.acos(Math.min(1, cosine)) * 180) / Math.PI;

function hc({ cosine, alpha, beta }, k) {
  return el(
    'figure',
    {},
    el(
      'figcaption',
      {},
      `T${sub(k + 1)} (${k % 2 ? 'ffn' : 'attn'}), cosine `,
      el('b', { 'data-value': cosine }, shown(cosine, 4)),
    ),
    el(
      'span',
      { class: 'gauge', 'aria-hidden': 'true' },
      el('span', { style: `width:${Math.min(100, 8 * degrees(cosine))}%` }),
    ),
    el(
      'table',
      { class: 'small', 'aria-label': `mean HC of sublayer ${k + 1}: row = from, column = to` },
      el(
        'tr',
        {},
        el('td'),
        ['T', '1', '2'].map((name, at) => el('th', { scope: 'col', class: at ? '' : 'read' }, name)),
      ),
      el(
        'tr',
        {},
        el('th', { scope: 'row', class: 'write' }, 'T'),
        el('td', {}, '0'),
        beta.map(x => cellOf(x)),
      ),
      [0, 1].map(i =>
        el(
          'tr',
          {},
          el('th', { scope: 'row' }, String(i + 1)),
          alpha.slice(3 * i, 3 * i + 3).map(x => cellOf(x)),
        ),
      ),
    ),
  );
}

function showStep() {
  const at = Number(byId('step').value);
  byId('step-out').textContent = at;
  for (const [id, run] of [
    ['uniform', runs.uniform],
    ['one-hot', runs.one_hot],
  ]) {
    byId(id).replaceChildren(...run[at].sublayers.map(hc));
    byId(`${id}-words`).textContent =
      `step ${at}: loss ${shown(run[at].loss, 3)}; mean coefficients over the tokens, row = from, column = to`;
  }
  const angles = run => run.map(moment => degrees(moment.sublayers[SUBLAYERS - 1].cosine));
  const losses = run => run.map(moment => moment.loss);
  const both = of => [
    { name: 'uniform', kind: 'two', values: of(runs.uniform) },
    { name: 'one-hot', kind: 'one', values: of(runs.one_hot) },
  ];
  byId('charts').replaceChildren(
    chart({
      title: `angle between the streams before T${sub(SUBLAYERS)}, degrees`,
      xName: 'step',
      at,
      series: both(angles),
    }),
    chart({ title: 'loss, nats per token', xName: 'step', at, series: both(losses) }),
  );
}

function play() {
  if (timer !== null) {
    clearInterval(timer);
    timer = null;
  } else {
    if (Number(byId('step').value) === last) byId('step').value = 0;
    timer = setInterval(() => {
      byId('step').value = Number(byId('step').value) + 1;
      showStep();
      if (Number(byId('step').value) === last) play();
    }, 120);
  }
  byId('play').textContent = timer === null ? 'play' : 'pause';
}

function again() {
  seed += 1;
  showUnfolded('one-stream', 1);
  showUnfolded('two-streams', 2);
}

byId('step').max = last;
byId('step').addEventListener('input', showStep);
byId('play').addEventListener('click', play);
byId('again').addEventListener('click', again);
again();
showStep();
