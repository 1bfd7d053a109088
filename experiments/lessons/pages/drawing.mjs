// The network as a drawing: streams from top to bottom, one edge for every coefficient, as wide as
// its magnitude; negative ones are broken lines.
import { el } from './elements.mjs';
import { shares } from './network.mjs';
import { sub } from './numbers.mjs';

const HEAD = 46;
const FOOT = 54;

// The keys of a sublayer's entries, each with its value.
export function entries(sublayer, k) {
  const all = [];
  sublayer.write.forEach((value, j) => all.push([`write.${k}.${j}`, value]));
  sublayer.read.forEach((value, i) => all.push([`read.${k}.${i}`, value]));
  sublayer.mix.forEach((row, i) => row.forEach((value, j) => all.push([`mix.${k}.${i}.${j}`, value])));
  return all;
}

// Sizes of a drawing of `count` sublayers of `n` streams in rows of a height; `unit` is 1 on a
// screen of ordinary size.
export function geometry(count, n, rowHeight, unit) {
  const narrow = n > 2 && unit < 1; // many streams on a phone
  const gap = (narrow ? 21 : n > 2 ? 30 : 36) * unit;
  const x = i => 24 * unit + i * gap;
  const box = { x: x(n - 1) + (narrow ? 46 : 58) * unit, width: 44 * unit, height: 40 * unit };
  return {
    x,
    box,
    unit,
    rowHeight,
    head: HEAD * unit,
    foot: FOOT * unit,
    y: k => HEAD * unit + k * rowHeight,
    width: box.x + box.width + 8 * unit,
    height: (HEAD + FOOT) * unit + count * rowHeight,
  };
}

function route(g, key) {
  const [part, ...numbers] = key.split('.');
  const [k, i, j] = numbers.map(Number);
  const [top, bottom] = [g.y(k), g.y(k + 1)];
  const [middle, bend, left] = [(top + bottom) / 2, 0.34 * g.rowHeight, g.box.x - 3 * g.unit];
  if (part === 'read') {
    const end = middle - 9 * g.unit;
    return `M${g.x(i)},${top} C${g.x(i)},${top + bend} ${left - 34 * g.unit},${end} ${left},${end}`;
  }
  if (part === 'write') {
    const from = middle + 9 * g.unit;
    return `M${left},${from} C${left - 34 * g.unit},${from} ${g.x(i)},${bottom - bend} ${g.x(i)},${bottom - 5 * g.unit}`;
  }
  return `M${g.x(i)},${top} C${g.x(i)},${top + 0.5 * g.rowHeight} ${g.x(j)},${bottom - 0.5 * g.rowHeight} ${g.x(j)},${bottom}`;
}

function arrow(kind) {
  return el(
    'marker',
    {
      id: `arrow-${kind}`,
      viewBox: '0 0 10 10',
      refX: 6,
      refY: 5,
      markerWidth: 10,
      markerHeight: 10,
      markerUnits: 'userSpaceOnUse',
      orient: 'auto',
    },
    el('path', { d: 'M0,0 L10,5 L0,10 Z', class: `arrow ${kind}` }),
  );
}

// The drawing; `hover(key or null)` is told what the pointer rests on, `drag(element, key)` gets
// every edge. Returns the element, `update(network)` and `light(keys or null)`.
export function drawing(network, g, { hover, drag }) {
  const [count, n] = [network.length, network[0].write.length];
  const edges = new Map();
  const layers = { mix: el('g'), write: el('g'), read: el('g') };
  const touch = el('g');
  network.forEach((sublayer, k) =>
    entries(sublayer, k).forEach(([key]) => {
      const kind = key.split('.')[0];
      const edge = el('path', {
        d: route(g, key),
        class: `edge ${kind}`,
        'marker-end': kind === 'mix' ? false : `url(#arrow-${kind})`,
      });
      const wide = el('path', {
        d: route(g, key),
        class: 'touch',
        onpointerenter: () => hover(key),
        onpointerleave: () => hover(null),
      });
      drag(wide, key);
      layers[kind].append(edge);
      touch.append(wide);
      edges.set(key, edge);
    }),
  );
  const text = (x, y, words, kind = '') => el('text', { x, y, class: kind, 'text-anchor': 'middle' }, words);
  const streams = Array.from({ length: n }, (_, i) => i);
  const nodes = Array.from({ length: count + 1 }, (_, k) =>
    streams.map(i => el('circle', { cx: g.x(i), cy: g.y(k), r: 5 * g.unit, class: 'node' })),
  ).flat();
  const boxes = network.map((_, k) => {
    const middle = (g.y(k) + g.y(k + 1)) / 2;
    const kind = k % 2 === 0 ? 'attn' : 'ffn';
    return el(
      'g',
      { class: 'sublayer' },
      el('rect', {
        x: g.box.x,
        y: middle - g.box.height / 2,
        width: g.box.width,
        height: g.box.height,
        rx: 6 * g.unit,
      }),
      text(g.box.x + g.box.width / 2, middle + 1 * g.unit, `T${sub(k + 1)}`, 'name'),
      text(g.box.x + g.box.width / 2, middle + 14 * g.unit, kind, 'kind'),
    );
  });
  const labels = [
    ['A', 'm', 'read', (g.x(n - 1) + g.box.x) / 2 + 2 * g.unit, g.y(0) + 0.26 * g.rowHeight],
    ['B', '', 'write', (g.x(n - 1) + g.box.x) / 2 + 2 * g.unit, g.y(0) + 0.8 * g.rowHeight],
    ['A', 'r', 'mix', g.x(0) - 7 * g.unit, g.y(0) + 0.53 * g.rowHeight],
  ].map(([letter, below, kind, x, y]) => {
    const label = text(x, y, letter, `label ${kind}`);
    if (kind === 'mix') label.setAttribute('text-anchor', 'end');
    label.append(el('tspan', { 'font-size': '70%', dy: '3' }, below));
    return label;
  });
  const centre = (g.x(0) + g.x(n - 1)) / 2;
  const ends = streams.flatMap(i => [
    el('path', { d: `M${centre},${g.head - 28 * g.unit} L${g.x(i)},${g.head}`, class: 'end' }),
    el('path', { d: `M${g.x(i)},${g.y(count)} L${centre},${g.y(count) + 24 * g.unit}`, class: 'end' }),
    ...(n > 1 ? [text(g.x(i) - 11 * g.unit, g.head + 4 * g.unit, String(i + 1), 'kind')] : []),
  ]);
  const svg = el(
    'svg',
    {
      width: g.width,
      height: g.height,
      viewBox: `0 0 ${g.width} ${g.height}`,
      class: 'streams',
      'aria-hidden': 'true',
    },
    el('defs', {}, arrow('read'), arrow('write')),
    ends,
    layers.mix,
    layers.write,
    layers.read,
    nodes,
    boxes,
    labels,
    text(Math.max(centre, 34 * g.unit), g.head - 33 * g.unit, 'embedding', 'kind'),
    el('circle', { cx: centre, cy: g.y(count) + 24 * g.unit, r: 9 * g.unit, class: 'sum' }),
    text(centre, g.y(count) + 28 * g.unit, '+', 'name'),
    text(Math.max(centre, 34 * g.unit), g.y(count) + 47 * g.unit, 'to the head', 'kind'),
    touch,
  );
  return {
    svg,
    update(now) {
      now.forEach((sublayer, k) =>
        entries(sublayer, k).forEach(([key, value]) => {
          const edge = edges.get(key);
          edge.style.strokeWidth = value === 0 ? '' : `${g.unit * Math.min(14, 0.8 + 5 * Math.abs(value))}px`;
          edge.classList.toggle('zero', value === 0);
          edge.classList.toggle('negative', value < 0);
        }),
      );
    },
    light(keys) {
      svg.classList.toggle('dim', keys !== null);
      edges.forEach((edge, key) => edge.classList.toggle('hot', keys !== null && keys.has(key)));
    },
  };
}

// The edges on the way from output j (0: the embedding) into row k of C: k < L is the read of
// sublayer k + 1, L the final sum.
export function way(network, k, j) {
  const held = shares(network, j);
  const keys = new Set();
  if (j > 0) network[j - 1].write.forEach((x, i) => x && keys.add(`write.${j - 1}.${i}`));
  for (let at = j; at < k; at++) {
    network[at].mix.forEach((row, i) =>
      row.forEach((x, to) => held[at - j][i] * x && keys.add(`mix.${at}.${i}.${to}`)),
    );
  }
  if (k < network.length) network[k].read.forEach((x, i) => held[k - j][i] * x && keys.add(`read.${k}.${i}`));
  return keys;
}
