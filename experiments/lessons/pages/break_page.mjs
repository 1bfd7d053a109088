// The page of lesson 8.
import { product } from './network.mjs';
import { shown } from './numbers.mjs';
import { byId, el, entry, letters, recorded } from './elements.mjs';

const { diagnostics, healthy, bugs } = recorded('bugs');

// The line that is right, and the line with the bug.
const LINES = [
  ["H' = A_rᵀ H", "H' = H"],
  ["H' = A_rᵀ H", "H' = A_r H"],
  ['A_m = e_(k mod n)', 'A_m = 1/n'],
  ['A_m = e_(k mod n), k counts sublayers', 'A_m = e_(k mod n), k counts blocks'],
  ['decay(A_m, A_r, B) = 0', 'decay(A_m, A_r, B) = decay(W)'],
  ['norm(Σ_j H_j)', 'Σ_j norm(H_j)'],
  ['H⁰ = copies of the embedding; sum after the last block', 'every block: copies of its input; mean at its end'],
  ['H̄_j = norm(H_j), each stream by itself', 'H̄ = norm(H), all n d numbers at once'],
  ['static_alpha = Parameter([A_m | A_r])', 'static_alpha = concat(A_m, A_r)'],
];

// Readings below 1e-5 were recorded as 0; an alarm at 0 means 0.
const reading = ({ value: x, fires }) =>
  x === 0
    ? fires
      ? '0'
      : '< 1e−5'
    : Math.abs(x) < 1e-3 || Math.abs(x) >= 1e3
      ? x.toExponential(1).replace('-', '−').replace('e-', 'e−').replace('e+', 'e')
      : shown(x, 3);
const fired = list => diagnostics.filter((_, i) => list[i].fires).map(d => d.name);

function choose(at) {
  document.querySelectorAll('#stories > div').forEach(div => {
    div.hidden = Number(div.dataset.bug) !== at;
  });
  document.querySelectorAll('#cases input').forEach(input => {
    input.checked = Number(input.value) === at;
  });
  document
    .querySelectorAll('#all tr[data-bug]')
    .forEach(row => row.classList.toggle('picked', Number(row.dataset.bug) === at));
  const readings = at < 0 ? healthy : bugs[at].readings;
  byId('right').textContent = at < 0 ? '' : LINES[at][0];
  byId('wrong').textContent = at < 0 ? '' : LINES[at][1];
  document.querySelector('.code').hidden = at < 0;
  const names = fired(readings);
  byId('verdict').textContent =
    at < 0 ? 'All green.' : `Alarm: ${names.join(', ')}. The other ${diagnostics.length - names.length} stay green.`;
  byId('readings').replaceChildren(
    el(
      'tr',
      {},
      ['measurement', 'reads', 'correct network', '', 'what it measures'].map(name => el('th', { scope: 'col' }, name)),
    ),
    ...diagnostics.map(({ name, about }, i) =>
      el(
        'tr',
        { class: readings[i].fires ? 'alarm' : '' },
        el('th', { scope: 'row' }, name),
        el('td', { 'data-value': readings[i].value }, reading(readings[i])),
        el('td', {}, reading(healthy[i])),
        el('td', { class: 'mark' }, readings[i].fires ? 'alarm' : 'green'),
        el('td', { class: 'words' }, letters(about)),
      ),
    ),
  );
}

function overview() {
  const row = (name, readings, at) =>
    el(
      'tr',
      { 'data-bug': at, onclick: () => choose(at) },
      el('th', { scope: 'row' }, letters(name)),
      readings.map((r, i) =>
        el(
          'td',
          {
            class: r.fires ? 'alarm' : 'green',
            'aria-label': `${name}, ${diagnostics[i].name}: ${r.fires ? 'alarm' : 'green'}`,
          },
          r.fires ? '!' : '·',
        ),
      ),
    );
  byId('all').replaceChildren(
    el(
      'tr',
      {},
      el('td'),
      diagnostics.map(d => el('th', { scope: 'col' }, d.name)),
    ),
    row('correct', healthy, -1),
    ...bugs.map((bug, at) => row(bug.name, bug.readings, at)),
  );
}

// Why the start hides them

const STATE = [
  [0.5, -1, 2],
  [1.5, 0.25, -0.5],
];
const MIXES = {
  identity: [
    [1, 0],
    [0, 1],
  ],
  symmetric: [
    [0.8, 0.3],
    [0.3, 1.1],
  ],
  any: [
    [0.8, 0.3],
    [-0.2, 1.1],
  ],
};
let mix = structuredClone(MIXES.identity);
let fields = [];

const transpose = m => m[0].map((_, j) => m.map(row => row[j]));

function grid(id, m, beside = m) {
  byId(id).replaceChildren(
    ...m.map((row, i) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, String(i + 1)),
        row.map((x, j) => {
          const td = el(
            'td',
            { 'data-value': x, class: Math.abs(x - beside[i][j]) > 1e-9 ? 'alarm' : '' },
            shown(x, 3),
          );
          return td;
        }),
      ),
    ),
  );
}

function showMix() {
  fields.forEach(([made, i, j]) => made.show(mix[i][j]));
  const right = product(transpose(mix), STATE);
  const wrongs = { transposed: product(mix, STATE), dead: STATE };
  grid('carried', right);
  const told = Object.entries(wrongs).filter(([id, m]) => {
    grid(id, m, right);
    const apart = Math.max(...m.flatMap((row, i) => row.map((x, j) => Math.abs(x - right[i][j]))));
    byId(`${id}-words`).textContent = apart < 1e-9 ? 'test is green' : `off by ${shown(apart, 3)}`;
    return apart >= 1e-9;
  });
  byId('mix-words').replaceChildren(
    ...letters(
      told.length === 2
        ? 'This A_r tells all three apart.'
        : told.length === 1
          ? 'One of the bugs passes with this A_r.'
          : 'With this A_r both bugs pass: nothing is mixed, so nothing can be mixed wrongly.',
    ),
  );
}

byId('cases').append(
  ...[{ name: 'correct' }, ...bugs].map(({ name }, i) =>
    el(
      'label',
      {},
      el('input', { type: 'radio', name: 'bug', value: i - 1, onchange: () => choose(i - 1) }),
      letters(name),
    ),
  ),
);
byId('mix').append(
  el(
    'table',
    { 'aria-label': 'A_r' },
    [0, 1].map(i =>
      el(
        'tr',
        {},
        [0, 1].map(j => {
          const made = entry({
            label: `A_r from stream ${i + 1} to stream ${j + 1}`,
            key: `mix.${i}.${j}`,
            value: mix[i][j],
            change: x => {
              mix[i][j] = x;
              showMix();
            },
          });
          fields.push([made, i, j]);
          return el('td', {}, made.input);
        }),
      ),
    ),
  ),
);
document.querySelectorAll('[data-mix]').forEach(button =>
  button.addEventListener('click', () => {
    mix = structuredClone(MIXES[button.dataset.mix]);
    showMix();
  }),
);
grid('state', STATE);
overview();
choose(0);
showMix();
