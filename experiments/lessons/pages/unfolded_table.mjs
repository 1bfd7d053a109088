// The table of C.
import { byId, el, tint } from './elements.mjs';
import { shown, sub } from './numbers.mjs';

// Builds the table for `count` sublayers. `rest([k, j])` is told of the cell that is pointed at or in focus,
// `leave()` when it no longer is, `choose([k, j])` of a cell that is clicked.
export function buildUnfolded(count, { rest, leave, choose }) {
  const names = ['x', ...Array.from({ length: count }, (_, k) => `T${sub(k + 1)}`)];
  const cell = (k, j) => {
    if (j > k) return el('td', { class: 'none' });
    const pick = () => rest([k, j]);
    return el('td', {
      id: `c-${k}-${j}`,
      tabindex: k + j === 0 ? '0' : '-1',
      onpointerenter: pick,
      onpointerleave: leave,
      onfocus: pick,
      onblur: leave,
      onclick: () => {
        choose([k, j]);
        pick();
      },
      onkeydown: event => step(event, k, j),
    });
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
}

// One cell is in the order of the tab key; arrow keys go on from it.
function step(event, k, j) {
  const ways = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  const [down, right] = ways[event.key] ?? [0, 0];
  if (!down && !right) return;
  event.preventDefault();
  const next = byId(`c-${k + down}-${j + right}`);
  if (!next) return;
  byId(`c-${k}-${j}`).tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// Shows the numbers of C.
export function showUnfolded(c) {
  const last = c.length - 1;
  c.forEach((row, k) =>
    row.slice(0, k + 1).forEach((value, j) => {
      const td = byId(`c-${k}-${j}`);
      td.textContent = shown(value);
      td.dataset.value = value;
      const who = k < last ? `sublayer ${k + 1} reads` : 'the final sum holds';
      const what = j === 0 ? 'the embedding' : `the output of sublayer ${j}`;
      td.setAttribute('aria-label', `${who} ${shown(value)} times ${what}`);
      td.classList.toggle('hole', Math.abs(value) < 0.005);
      tint(td, value);
    }),
  );
}
