// The playground: state, and what is shown of it.
import { composed, gains, setValue, unfold, valueOf } from './network.mjs';
import { mhc, parallel, postNorm, preNorm, start, sublayer, twoHop } from './presets.mjs';
import { recognised } from './patterns.mjs';
import { shown, sub } from './numbers.mjs';
import { byId, draggable, el, entry, letters, recorded, stepper, tint } from './elements.mjs';
import { drawing, entries, geometry, way } from './drawing.mjs';
import { describeCell, describeEntry } from './descriptions.mjs';
import { crossing, faded, sideBySideNetwork } from './puzzles.mjs';
import { puzzlePanel } from './puzzle_panel.mjs';

const trained = recorded('trained');
let network = preNorm(4);
let seed = 0;
let shownEntries = new Map();
let figure = null;
const puzzles = puzzlePanel(load);
let chosen = null; // a cell of C, [k, j]

const copy = layers => layers.map(layer => sublayer(layer.read, layer.mix, layer.write));
const rate = () => network[0].write.length;
function set(key, value) {
  setValue(network, key, value);
  about('');
  update();
  byId('readout').replaceChildren(...describeEntry(network, key));
}

function load(layers, words = '') {
  network = copy(layers);
  chosen = null;
  about(words);
  build();
}

function about(words) {
  byId('about').replaceChildren(...letters(words));
  document
    .querySelectorAll('#presets button')
    .forEach(button => button.setAttribute('aria-pressed', words !== '' && button.dataset.about === words));
}

// Lights up edges of the drawing and the same entries of the matrices; null: all alike.
function light(keys) {
  figure.light(keys);
  shownEntries.forEach(({ input }, key) => input.classList.toggle('hot', keys !== null && keys.has(key)));
}

function showEntry(key) {
  light(key === null ? null : new Set([key]));
  if (key === null) return restore();
  byId('readout').replaceChildren(...describeEntry(network, key));
}

function showCell(cell) {
  document.querySelectorAll('#unfolded .picked').forEach(td => td.classList.remove('picked'));
  if (cell === null) {
    light(null);
    return restore();
  }
  const [k, j] = cell;
  byId(`c-${k}-${j}`).classList.add('picked');
  light(way(network, k, j));
  byId('readout').replaceChildren(...describeCell(network, k, j));
}

function restore() {
  if (chosen) showCell(chosen);
  else
    byId('readout').replaceChildren(
      el(
        'p',
        { class: 'faint' },
        'Rest on a number, a line or a cell of C to read it. By keyboard: Tab to C, then the arrow keys.',
      ),
    );
}

// The network and its matrices

function unit() {
  return (parseFloat(getComputedStyle(document.documentElement).fontSize) / 16) * (innerWidth < 820 ? 0.76 : 1);
}

function hcMatrix(k, hover) {
  const n = rate();
  const t = `T${sub(k + 1)}`;
  const streams = Array.from({ length: n }, (_, i) => i);
  const cell = (key, label) => {
    const made = entry({
      label,
      key,
      value: valueOf(network, key),
      change: x => set(key, x),
      attributes: { class: `entry ${key.split('.')[0]}` },
    });
    made.input.addEventListener('focus', () => showEntry(key));
    made.input.addEventListener('blur', () => showEntry(null));
    made.input.addEventListener('pointerenter', () => hover(key));
    made.input.addEventListener('pointerleave', () => hover(null));
    shownEntries.set(key, made);
    return el('td', {}, made.input);
  };
  return el(
    'table',
    { class: 'hc', 'aria-label': `matrix HC of sublayer ${k + 1}: row = from, column = to` },
    el(
      'tr',
      {},
      el('th', { class: 'corner' }, 'from╲to'),
      el('th', { scope: 'col', class: 'read' }, t),
      streams.map(j => el('th', { scope: 'col' }, String(j + 1))),
    ),
    el(
      'tr',
      {},
      el('th', { scope: 'row', class: 'write' }, t),
      el('td', { class: 'fixed' }, '0'),
      streams.map(j => cell(`write.${k}.${j}`, `B of sublayer ${k + 1}: its output to stream ${j + 1}`)),
    ),
    streams.map(i =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, String(i + 1)),
        cell(`read.${k}.${i}`, `A_m of sublayer ${k + 1}: what it reads of stream ${i + 1}`),
        streams.map(j =>
          cell(`mix.${k}.${i}.${j}`, `A_r of sublayer ${k + 1}: from stream ${i + 1} to stream ${j + 1}`),
        ),
      ),
    ),
  );
}

function build() {
  const [count, n, u] = [network.length, rate(), unit()];
  shownEntries = new Map();
  const g = geometry(count, n, (Math.max(124, (n + 2) * 30 + 20) * u) / (innerWidth < 820 ? 0.76 : 1), u);
  let timer = 0;
  const hover = key => {
    clearTimeout(timer);
    if (document.activeElement?.classList.contains('entry')) return;
    timer = setTimeout(() => showEntry(key), key === null ? 120 : 0);
  };
  figure = drawing(network, g, {
    hover,
    drag: (element, key) =>
      draggable(element, {
        read: () => valueOf(network, key),
        write: x => set(key, x),
        click: () => shownEntries.get(key).input.focus(),
      }),
  });
  const net = byId('net');
  net.dataset.rate = n;
  net.style.setProperty('--row', `${g.rowHeight}px`);
  net.style.setProperty('--head', `${g.head}px`);
  net.replaceChildren(
    figure.svg,
    el(
      'div',
      { class: 'matrices' },
      network.map((_, k) => el('div', {}, hcMatrix(k, hover))),
    ),
  );
  const names = ['x', ...network.map((_, k) => `T${sub(k + 1)}`)];
  const cell = (k, j) => {
    if (j > k) return el('td', { class: 'none' });
    const pick = () => showCell([k, j]);
    return el('td', {
      id: `c-${k}-${j}`,
      tabindex: k + j === 0 ? '0' : '-1',
      onpointerenter: pick,
      onpointerleave: restoreCell,
      onfocus: pick,
      onblur: restoreCell,
      onclick: () => {
        chosen = [k, j];
        pick();
      },
      onkeydown: event => step(event, k, j),
    });
  };
  const restoreCell = () => showCell(chosen);
  // One cell is in the order of the tab key; arrow keys go on from it.
  const step = (event, k, j) => {
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[
      event.key
    ] ?? [0, 0];
    const next = byId(`c-${k + down}-${j + right}`);
    if ((!down && !right) || !next) return;
    event.preventDefault();
    byId(`c-${k}-${j}`).tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  byId('unfolded').replaceChildren(
    el(
      'tr',
      {},
      el('td', { class: 'none' }),
      names.map(name => el('th', { scope: 'col' }, name)),
    ),
    ...names.map((_, k) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, k < count ? `T${sub(k + 1)}` : 'sum'),
        names.map((_, j) => cell(k, j)),
      ),
    ),
  );
  byId('unfolded').classList.toggle('many', count > 5);
  stepper('rate', {
    value: n,
    least: 1,
    most: 4,
    what: 'stream',
    change: more => load(start(count, more), PRESETS[4][1]),
  });
  stepper('count', { value: count, least: 2, most: 8, what: 'sublayer', change: more => load(resized(more)) });
  update();
  restore();
}

function update() {
  const c = unfold(network);
  network.forEach((layer, k) => entries(layer, k).forEach(([key, value]) => shownEntries.get(key).show(value)));
  figure.update(network);
  c.forEach((row, k) =>
    row.slice(0, k + 1).forEach((value, j) => {
      const td = byId(`c-${k}-${j}`);
      td.textContent = shown(value);
      td.dataset.value = value;
      td.setAttribute(
        'aria-label',
        `${k < network.length ? `sublayer ${k + 1} reads` : 'the final sum holds'} ${shown(value)} times ${j === 0 ? 'the embedding' : `the output of sublayer ${j}`}`,
      );
      td.classList.toggle('hole', Math.abs(value) < 0.005);
      tint(td, value);
    }),
  );
  const said = recognised(c);
  byId('patterns').replaceChildren(
    ...(said.length ? said : [['mixed', 'None of the patterns that have a name.']]).map(([name, words]) =>
      el('li', {}, el('b', {}, name), ` ${words}`),
    ),
  );
  const all = composed(network);
  byId('composed').replaceChildren(
    ...all.map(row =>
      el(
        'tr',
        {},
        row.map(x => {
          const td = el('td', { 'data-value': x }, shown(x));
          tint(td, x);
          return td;
        }),
      ),
    ),
  );
  const { forward, backward } = gains(all);
  for (const [id, value] of [
    ['forward', forward],
    ['backward', backward],
  ]) {
    byId(id).textContent = shown(value);
    byId(id).dataset.value = value;
  }
  if (chosen) showCell(chosen);
  puzzles.check(c, rate());
}

function resized(count) {
  const more = start(count, rate());
  return more.map((layer, k) => network[k] ?? layer);
}

// Presets: name, words, network

const even = () => network.length;
const PRESETS = [
  ['pre-norm', 'Pre-norm: n = 1 and ones everywhere (Eq. 15).', () => preNorm(even())],
  [
    'post-norm',
    'Post-norm (Eq. 16): stream and output are divided by s, here √2, as if they were equally long and unrelated.',
    () => postNorm(even()),
  ],
  [
    'parallel',
    'Parallel blocks (Eq. 18, 19): T₁ and T₂ read the same sum, T₃ and T₄ the next. The factors 2 come from adding both streams; the next norm removes them.',
    () => parallel(even()),
  ],
  [
    'two-hop',
    'Two-hop residual (Megalodon): attention’s output waits in stream 2, the feed-forward sublayer reads both, and stream 2 is forgotten.',
    () => twoHop(even()),
  ],
  [
    'paper’s start',
    'The paper’s start (Eq. 14): reads take turns, all else is 1 or the identity. It computes what pre-norm computes.',
    () => start(even(), rate()),
  ],
  [
    'mHC',
    'mHC of random logits: reads and writes are sigmoids, every A_r is doubly stochastic by Sinkhorn. Again for others.',
    () => mhc(even(), Math.max(2, rate()), ++seed),
  ],
  ...trained.map(run => [`trained ${run.name.replace('x', '×')}`, run.about, () => run.network]),
];

// The tour

const SCENES = {
  one: () => load(preNorm(4)),
  weights: () => load(faded()),
  two: () => load(start(4, 2)),
  follow: () => {
    load(crossing());
    chosen = [2, 1];
    showCell(chosen);
  },
  cannot: () => {
    load(preNorm(4));
    chosen = [2, 2];
    showCell(chosen);
  },
  can: () => {
    load(sideBySideNetwork());
    chosen = [2, 2];
    showCell(chosen);
  },
  turn: () => {},
};
let scene = 0;

function showScene(at) {
  const articles = [...document.querySelectorAll('#tour article')];
  scene = Math.max(0, Math.min(articles.length - 1, at));
  articles.forEach((article, i) => {
    article.hidden = i !== scene;
  });
  byId('place').textContent = `${scene + 1} of ${articles.length}`;
  byId('back').disabled = scene === 0;
  byId('next').disabled = scene === articles.length - 1;
  SCENES[articles[scene].dataset.scene]();
}

function tab(name) {
  for (const id of ['tour', 'puzzle']) {
    byId(id).hidden = id !== name;
    byId(`tab-${id}`).setAttribute('aria-selected', id === name);
    byId(`tab-${id}`).tabIndex = id === name ? 0 : -1;
  }
  if (name === 'tour') showScene(scene);
  else puzzles.show();
}

byId('presets').append(
  ...PRESETS.map(([name, words, make]) =>
    el('button', { 'data-about': words, onclick: () => load(make(), words) }, name),
  ),
);
document.querySelectorAll('[data-set]').forEach(button =>
  button.addEventListener('click', () => {
    load(preNorm(4));
    chosen = [2, 2];
    set(button.dataset.set, Number(button.dataset.to));
  }),
);
for (const id of ['tour', 'puzzle']) {
  byId(`tab-${id}`).addEventListener('click', () => tab(id));
  byId(`tab-${id}`).addEventListener('keydown', event => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const other = id === 'tour' ? 'puzzle' : 'tour';
    tab(other);
    byId(`tab-${other}`).focus();
  });
}
byId('to-puzzles').addEventListener('click', () => tab('puzzle'));
byId('back').addEventListener('click', () => showScene(scene - 1));
byId('next').addEventListener('click', () => showScene(scene + 1));
let width = innerWidth;
addEventListener('resize', () => {
  if (innerWidth !== width) {
    width = innerWidth;
    build();
  }
});
showScene(0);
