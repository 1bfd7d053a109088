// Line charts.
import { el } from './elements.mjs';
import { shown } from './numbers.mjs';

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [420, 190, 52, 26, 10, 12];

// Values of at least `least` on a logarithmic axis are powers of ten, as text.
function label(value, logarithmic) {
  if (!logarithmic) return shown(value);
  const power = Math.round(Math.log10(value));
  return power === 0 ? '1' : `1e${power}`.replace('-', '−');
}

function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const step = Math.max(1, Math.ceil((high - low) / 5));
    return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => low + i * step);
  }
  return [low, (low + high) / 2, high];
}

// A chart of series { name, kind, values } over x = `from`, `from` + 1, ..., or evenly up to `to`; `at`
// marks an x. On a
// logarithmic axis smaller values than `least` are drawn at it.
export function chart({
  series,
  title,
  xName,
  from = 0,
  to = null,
  at = null,
  logarithmic = false,
  least = 1e-9,
  range = null,
}) {
  const place = logarithmic ? x => Math.log10(Math.max(x, least)) : x => x;
  const all = series.flatMap(s => s.values.map(place)).filter(Number.isFinite);
  let [low, high] = range ?? [Math.min(...all), Math.max(...all)];
  if (logarithmic) [low, high] = [Math.floor(low), Math.ceil(high)];
  if (high - low < 1e-9) high = low + 1;
  const count = Math.max(...series.map(s => s.values.length));
  const x = i => LEFT + (WIDTH - LEFT - RIGHT) * (count > 1 ? i / (count - 1) : 0.5);
  const y = v => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (Math.max(low, Math.min(high, v)) - low)) / (high - low);
  const words = (px, py, text, anchor = 'middle') => el('text', { x: px, y: py, 'text-anchor': anchor }, text);
  const grid = ticks(low, high, logarithmic).flatMap(v => [
    el('line', { x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v), class: 'grid' }),
    words(LEFT - 6, y(v) + 4, label(logarithmic ? 10 ** v : v, logarithmic), 'end'),
  ]);
  const lines = series.map(s =>
    el('polyline', {
      points: s.values.map((v, i) => `${x(i).toFixed(1)},${y(place(v)).toFixed(1)}`).join(' '),
      class: `line ${s.kind}`,
    }),
  );
  const last = to ?? from + count - 1;
  const marks =
    at === null
      ? []
      : [
          el('line', { x1: x(at - from), x2: x(at - from), y1: TOP, y2: HEIGHT - BOTTOM, class: 'at' }),
          ...series
            .filter(s => Number.isFinite(s.values[at - from]))
            .map(s =>
              el('circle', { cx: x(at - from), cy: y(place(s.values[at - from])), r: 4, class: `dot ${s.kind}` }),
            ),
        ];
  return el(
    'figure',
    { class: 'chart' },
    el(
      'figcaption',
      {},
      title,
      ' ',
      series.map(s => el('span', { class: `key ${s.kind}` }, s.name)),
    ),
    el(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': title },
      grid,
      lines,
      marks,
      words(LEFT, HEIGHT - 6, shown(from)),
      words(WIDTH - RIGHT, HEIGHT - 6, shown(last), 'end'),
      words((LEFT + WIDTH) / 2, HEIGHT - 6, xName),
    ),
  );
}
