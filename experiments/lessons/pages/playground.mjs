// The playground: state, and what is shown of it.
import { composed, gains, setValue, unfold, valueOf } from './network.mjs';
import { PRESETS, START, copied, mhc, preNorm, start } from './presets.mjs';
import { recognised } from './patterns.mjs';
import { LIMIT, shown } from './numbers.mjs';
import { byId, draggable, el, entry, letters, recorded, stepper, tint } from './elements.mjs';
import { hcMatrix } from './hc_matrix.mjs';
import { buildUnfolded, showUnfolded } from './unfolded_table.mjs';
import { undoable } from './undo.mjs';
import { drawing, entries, geometry, way } from './drawing.mjs';
import { describeCell, describeEntry } from './descriptions.mjs';
import { crossing, faded, sideBySideNetwork } from './puzzles.mjs';
import { puzzlePanel } from './puzzle_panel.mjs';

const trained = recorded('trained');
let network = preNorm(4);
let shownEntries = new Map();
let figure = null;
const puzzles = puzzlePanel(load);
let chosen = null; // a cell of C, [k, j]
const past = undoable();

const rate = () => network[0].write.length;

function set(key, value) {
  past.keep(network, key);
  refuse('');
  setValue(network, key, value);
  about('');
  update();
  byId('readout').replaceChildren(...describeEntry(network, key));
}

function load(sublayers, words = '') {
  if (JSON.stringify(sublayers) !== JSON.stringify(network)) past.keep(network);
  show(sublayers, words);
}

function show(sublayers, words) {
  network = copied(sublayers);
  refuse('');
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

// Says that a text is refused; nothing where it is empty.
function refuse(text, kept) {
  byId('refused').textContent = text && `“${text}” is not a number from −${LIMIT} to ${LIMIT}: ${shown(kept)} stays.`;
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

// A cell of a matrix HC.
function matrixCell(key, label, hover) {
  const made = entry({
    label,
    key,
    value: valueOf(network, key),
    change: x => set(key, x),
    refuse: text => refuse(text, valueOf(network, key)),
    attributes: { class: `entry ${key.split('.')[0]}` },
  });
  made.input.addEventListener('focus', () => showEntry(key));
  made.input.addEventListener('blur', () => showEntry(null));
  made.input.addEventListener('pointerenter', () => hover(key));
  made.input.addEventListener('pointerleave', () => hover(null));
  shownEntries.set(key, made);
  return el('td', {}, made.input);
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
      network.map((_, k) =>
        el(
          'div',
          {},
          hcMatrix(k, n, (key, label) => matrixCell(key, label, hover)),
        ),
      ),
    ),
  );
  buildUnfolded(count, {
    rest: showCell,
    leave: () => showCell(chosen),
    choose: cell => {
      chosen = cell;
    },
  });
  stepper('rate', {
    value: n,
    least: 1,
    most: 4,
    what: 'stream',
    change: more => load(start(count, more), START),
  });
  stepper('count', { value: count, least: 2, most: 8, what: 'sublayer', change: more => load(resized(more)) });
  update();
  restore();
}

function update() {
  const c = unfold(network);
  network.forEach((one, k) => entries(one, k).forEach(([key, value]) => shownEntries.get(key).show(value)));
  figure.update(network);
  showUnfolded(c);
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
  byId('undo').disabled = past.empty();
  puzzles.check(c, rate());
}

function resized(count) {
  const more = start(count, rate());
  return more.map((one, k) => network[k] ?? one);
}

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
    chosen = [1, 1];
    showCell(chosen);
  },
  can: () => {
    load(sideBySideNetwork());
    chosen = [1, 1];
    showCell(chosen);
  },
  gain: () => load(mhc(4, 2, 1)),
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
  ...[...PRESETS, ...trained.map(run => [`trained ${run.name.replace('x', '×')}`, run.about, () => run.network])].map(
    ([name, words, make]) =>
      el('button', { 'data-about': words, onclick: () => load(make(network.length, rate()), words) }, name),
  ),
);
document.querySelectorAll('[data-set]').forEach(button =>
  button.addEventListener('click', () => {
    load(preNorm(4));
    chosen = [1, 1];
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
byId('undo').addEventListener('click', () => show(past.back(), ''));

// Columns stay in sight; one that is higher than the window stays with its end.
function hold() {
  document.querySelectorAll('.guide, .side').forEach(column => {
    const room = innerHeight - column.offsetHeight - 13;
    column.style.top = `${Math.min(13, room)}px`;
  });
}
const sizes = new ResizeObserver(hold);
document.querySelectorAll('.guide, .side').forEach(column => sizes.observe(column));
let width = innerWidth;
addEventListener('resize', () => {
  hold();
  if (innerWidth !== width) {
    width = innerWidth;
    build();
  }
});
showScene(0);
