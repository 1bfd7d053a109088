// The matrix HC of a sublayer (Eq. 1) as a table of entries.
import { el } from './elements.mjs';
import { sub } from './numbers.mjs';

// The table of sublayer k, counted from 0, of n streams; `cell(key, label)` makes the cell of an entry.
export function hcMatrix(k, n, cell) {
  const t = `T${sub(k + 1)}`;
  const streams = Array.from({ length: n }, (_, i) => i);
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
