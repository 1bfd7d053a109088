// The page of lessons 1 and 2.
import { backward, differences, forward, statistics } from './token.mjs';
import { noise, shown, sub } from './numbers.mjs';
import { byId, el, entry, letters, recorded, tint } from './elements.mjs';

const lesson = recorded('token');
let { parts, G } = structuredClone(lesson);
let values = {};
let gradients = {};
const updates = [];

const four = x => shown(x, 4);
const STREAMS = ['stream 1', 'stream 2'];
const FROM = ['from 1', 'from 2'];
const TO = ['A_m', 'to 1', 'to 2'];
const CHANNELS = ['1', '2', '3', '4'];
const CHANNEL_ROWS = CHANNELS.map(k => `channel ${k}`);
const OUT_ROWS = CHANNELS.map(k => `row ${k}`);

// The number at a place of a scalar, a vector or a matrix that is shown as rows and columns.
function at(value, r, c) {
  return Array.isArray(value) ? (Array.isArray(value[0]) ? value[r][c] : value[c]) : value;
}

function put(object, name, r, c, x) {
  if (!Array.isArray(object[name])) object[name] = x;
  else if (Array.isArray(object[name][0])) object[name][r][c] = x;
  else object[name][c] = x;
}

function table(caption, rows, columns, cell, kind = 'small') {
  return el(
    'figure',
    {},
    el('figcaption', {}, letters(caption)),
    el(
      'table',
      { class: kind, 'aria-label': caption },
      el(
        'tr',
        {},
        el('td'),
        columns.map(name => el('th', { scope: 'col' }, letters(name))),
      ),
      rows.map((name, r) =>
        el(
          'tr',
          {},
          el('th', { scope: 'row' }, letters(name)),
          columns.map((_, c) => cell(r, c)),
        ),
      ),
    ),
  );
}

// Numbers that are typed or dragged: a part of the token, or G.
function given(caption, rows, columns, name, object = () => parts) {
  return table(
    caption,
    rows,
    columns,
    (r, c) => {
      const made = entry({
        label: `${caption}: ${rows[r]}, ${columns[c]}`,
        key: `${name}.${r}.${c}`,
        value: at(object()[name], r, c),
        change: x => {
          put(object(), name, r, c, x);
          update();
        },
      });
      updates.push(() => made.show(at(object()[name], r, c)));
      return el('td', {}, made.input);
    },
    '',
  );
}

// Numbers that follow. `how(r, c)` says where one comes from.
function computed(caption, rows, columns, read, how, key, digits = 4) {
  return table(caption, rows, columns, (r, c) => {
    const td = el('td', { 'data-key': `${key}.${r}.${c}` });
    if (how) {
      const tell = () => {
        byId('how').replaceChildren(...letters(how(r, c)));
      };
      td.tabIndex = 0;
      td.addEventListener('pointerenter', tell);
      td.addEventListener('focus', tell);
    }
    let before = null;
    updates.push(() => {
      const x = read(r, c);
      td.textContent = shown(x, digits);
      td.dataset.value = x;
      td.setAttribute('aria-label', `${caption}: ${rows[r]}, ${columns[c]}: ${shown(x, digits)}`);
      tint(td, x, 3);
      td.classList.toggle('moved', before !== null && Math.abs(x - before) > 1e-9);
      before = x;
    });
    return td;
  });
}

const value = (caption, rows, columns, name, how) =>
  computed(caption, rows, columns, (r, c) => at(values[name], r, c), how, name);

function gradient(caption, rows, columns, name, how) {
  return el(
    'div',
    { class: 'pair' },
    computed(caption, rows, columns, (r, c) => at(gradients[name].exact, r, c), how, `gradient.${name}`),
    computed(
      'finite differences',
      rows,
      columns,
      (r, c) => at(gradients[name].difference, r, c),
      null,
      `difference.${name}`,
    ),
  );
}

const terms = (a, b) =>
  a
    .map((x, i) => `${four(x)} × ${four(b[i])}`)
    .join(' + ')
    .replaceAll('+ −', '− ');
const columnOf = (m, j) => m.map(row => row[j]);

// Where numbers come from.
const HOW = {
  normed: (r, c) => {
    const { mean, deviation } = statistics(parts.H[r]);
    return `H̄${sub(r + 1)}, channel ${c + 1} = (${four(parts.H[r][c])} − mean ${four(mean)}) / deviation ${four(deviation)} = ${four(values.normed[r][c])}`;
  },
  z: (r, c) =>
    `stream ${r + 1}: ${c < 3 ? ['m', 'r 1', 'r 2'][c] : 'beta'} = ${terms(values.normed[r], c < 3 ? columnOf(parts.W, c) : parts.Wb)} = ${four(c < 3 ? values.z[r][c] : values.zb[r])}`,
  alpha: (r, c) =>
    `${c === 0 ? `A_m[${r + 1}]` : `A_r[${r + 1}, ${c}]`} = s_alpha tanh(z) + static = ${four(parts.sa)} × tanh(${four(values.z[r][c])}) + ${four(parts.A[r][c])} = ${four(values.alpha[r][c])}`,
  beta: (_, c) =>
    `B${sub(c + 1)} = s_beta tanh(z) + static = ${four(parts.sb)} × tanh(${four(values.zb[c])}) + ${four(parts.B[c])} = ${four(values.beta[c])}`,
  h0: (_, c) =>
    `h0, channel ${c + 1} = ${terms(columnOf(values.alpha, 0), columnOf(parts.H, c))} = ${four(values.h0[c])}`,
  mixed: (r, c) =>
    `H'${sub(r + 1)}, channel ${c + 1}: column ${r + 1} of A_r = ${terms(columnOf(values.alpha, r + 1), columnOf(parts.H, c))} = ${four(values.mixed[r][c])}`,
  output: (_, c) => `T h0, channel ${c + 1} = tanh(${terms(parts.L[c], values.x)}) = ${four(values.output[c])}`,
  next: (r, c) =>
    `Ĥ${sub(r + 1)}, channel ${c + 1} = B${sub(r + 1)} × output + H' = ${four(values.beta[r])} × ${four(values.output[c])} + ${four(values.mixed[r][c])} = ${four(values.next[r][c])}`,
  dMixed: (r, c) => `dH'${sub(r + 1)} is dĤ${sub(r + 1)} itself: ${four(G[r][c])}`,
  dOutput: (_, c) =>
    `do, channel ${c + 1} = ${terms(values.beta, columnOf(G, c))} = ${four(gradients.output.exact[c])}`,
  dBeta: (_, c) =>
    `dB${sub(c + 1)} = ⟨o, dĤ${sub(c + 1)}⟩ = ${terms(values.output, G[c])} = ${four(gradients.beta.exact[c])}`,
  dAlpha: (r, c) =>
    c === 0
      ? `dA_m[${r + 1}] = ⟨H${sub(r + 1)}, dh0⟩ = ${terms(parts.H[r], gradients.h0.exact)} = ${four(gradients.alpha.exact[r][0])}`
      : `dA_r[${r + 1}, ${c}] = ⟨H${sub(r + 1)}, dH'${sub(c)}⟩ = ${terms(parts.H[r], G[c - 1])} = ${four(gradients.alpha.exact[r][c])}`,
  dL: (r, c) =>
    `dW, row ${r + 1}, channel ${c + 1} = (1 − o²) do × norm(h0) = ${four(1 - values.output[r] ** 2)} × ${four(gradients.output.exact[r])} × ${four(values.x[c])} = ${four(gradients.L.exact[r][c])}`,
  dStatic: (r, c) => `the static part is added, so it gets dA whole: ${four(gradients.alpha.exact[r][c])}`,
};

const NAMES = ['mixed', 'output', 'beta', 'L', 'h0', 'alpha', 'A', 'sa', 'sb', 'W', 'Wb', 'H'];

function update() {
  values = forward(parts);
  const exact = backward(parts, G);
  gradients = Object.fromEntries(
    NAMES.map(name => [name, { exact: exact[name], difference: differences(parts, G, name) }]),
  );
  updates.forEach(show => show());
  const flat = x => (Array.isArray(x) ? x.flatMap(flat) : [x]);
  const apart = NAMES.flatMap(name => {
    const other = flat(gradients[name].difference);
    return flat(gradients[name].exact).map((x, i) => Math.abs(x - other[i]));
  });
  byId('agreement').textContent = `${apart.length} gradients; they and the finite differences differ by ${Math.max(
    ...apart,
  )
    .toExponential(0)
    .replace('e-', 'e−')} at most.`;
}

function load(next) {
  ({ parts, G } = structuredClone(next));
  update();
}

// Eq. 14: the state and the layer as they are, the connection at its start.
function atStart() {
  const zeros = m => m.map(row => (Array.isArray(row) ? zeros(row) : 0));
  return {
    parts: {
      ...parts,
      A: [
        [1, 1, 0],
        [0, 0, 1],
      ],
      B: [1, 1],
      W: zeros(parts.W),
      Wb: zeros(parts.Wb),
      sa: 0.01,
      sb: 0.01,
    },
    G,
  };
}

let seed = 0;
function random() {
  const normal = noise(++seed);
  const all = x => (Array.isArray(x) ? x.map(all) : Math.round(100 * normal()) / 100);
  return { parts: Object.fromEntries(Object.entries(parts).map(([name, x]) => [name, all(x)])), G: all(G) };
}

function hc(r, c) {
  if (r === 0) return c === 0 ? 0 : values.beta[c - 1];
  return values.alpha[r - 1][c];
}

byId('given').append(
  given('H: the streams', STREAMS, CHANNELS, 'H'),
  given('static part (A_m | A_r)', FROM, TO, 'A'),
  given('static B', ['B'], ['1', '2'], 'B'),
  given('(W_m | W_r)', CHANNEL_ROWS, ['W_m', 'W_r 1', 'W_r 2'], 'W'),
  given('W_beta', ['W_beta'], CHANNELS, 'Wb'),
  given('s_alpha', ['s_alpha'], [''], 'sa'),
  given('s_beta', ['s_beta'], [''], 'sb'),
);
byId('normed').append(value('H̄', STREAMS, CHANNELS, 'normed', HOW.normed));
byId('coefficients').append(
  computed(
    'H̄ (W_m | W_r | W_beta)',
    STREAMS,
    ['m', 'r 1', 'r 2', 'beta'],
    (r, c) => (c < 3 ? values.z[r][c] : values.zb[r]),
    HOW.z,
    'z',
  ),
  value('A_m | A_r of this token', FROM, TO, 'alpha', HOW.alpha),
  value('B of this token', ['B'], ['1', '2'], 'beta', HOW.beta),
);
byId('hc').append(
  computed(
    'HC: row = from, column = to',
    ['T output', 'stream 1', 'stream 2'],
    ['T input', 'to 1', 'to 2'],
    hc,
    null,
    'hc',
  ),
);
byId('width').append(
  value('h0', ['h0'], CHANNELS, 'h0', HOW.h0),
  value("H'", ["H' 1", "H' 2"], CHANNELS, 'mixed', HOW.mixed),
);
byId('layer').append(
  given('W of the layer', OUT_ROWS, CHANNELS, 'L'),
  value('T h0', ['T h0'], CHANNELS, 'output', HOW.output),
);
byId('depth').append(value('Ĥ', ['Ĥ 1', 'Ĥ 2'], CHANNELS, 'next', HOW.next));
byId('above').append(
  given('dĤ = G', ['dĤ 1', 'dĤ 2'], CHANNELS, 'G', () => ({
    get G() {
      return G;
    },
    set G(x) {
      G = x;
    },
  })),
);
byId('d-write').append(
  gradient("dH'", ["dH' 1", "dH' 2"], CHANNELS, 'mixed', HOW.dMixed),
  gradient('do', ['do'], CHANNELS, 'output', HOW.dOutput),
  gradient('dB', ['dB'], ['1', '2'], 'beta', HOW.dBeta),
);
byId('d-layer').append(
  gradient('dW of the layer', OUT_ROWS, CHANNELS, 'L', HOW.dL),
  gradient('dh0', ['dh0'], CHANNELS, 'h0'),
);
byId('d-read').append(gradient('dA_m | dA_r', FROM, TO, 'alpha', HOW.dAlpha));
byId('d-predictors').append(
  gradient('d of the static (A_m | A_r)', FROM, TO, 'A', HOW.dStatic),
  gradient('ds_alpha', ['ds_alpha'], [''], 'sa'),
  gradient('ds_beta', ['ds_beta'], [''], 'sb'),
  gradient('d(W_m | W_r)', CHANNEL_ROWS, ['W_m', 'W_r 1', 'W_r 2'], 'W'),
  gradient('dW_beta', ['dW_beta'], CHANNELS, 'Wb'),
);
byId('d-streams').append(gradient('dH', STREAMS, CHANNELS, 'H'));
byId('lesson').addEventListener('click', () => load(lesson));
byId('start').addEventListener('click', () => load(atStart()));
byId('random').addEventListener('click', () => load(random()));
update();
