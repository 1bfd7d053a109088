// The page of lesson 6.
import { unfold } from './network.mjs';
import { coefficients, saturated } from './dynamic.mjs';
import { shown, sub } from './numbers.mjs';
import { byId, el, letters, recorded, tint } from './elements.mjs';
import { chart } from './chart.mjs';

const run = recorded('dynamic');
const tokens = [...run.text];
const NAMES = [
  'A_m, stream 1',
  'A_r, 1 to 1',
  'A_r, 1 to 2',
  'A_m, stream 2',
  'A_r, 2 to 1',
  'A_r, 2 to 2',
  'B, stream 1',
  'B, stream 2',
];
let site = 0;
let which = 0;
let token = 12;

const settings = () => ({
  predictors: 10 ** Number(byId('predictors').value),
  scales: Number(byId('scales').value),
  tanh: byId('tanh').checked,
});
const of = (k, at) => coefficients(run.sites[k], at, k === site ? settings() : {});
const flat = ({ alpha, beta }) => [...alpha, ...beta];
const printed = letter => (letter === '\n' ? '↵' : letter === ' ' ? '␣' : letter);

function hc({ alpha, beta }) {
  const cell = x => {
    const td = el('td', { 'data-value': x }, shown(x, 3));
    tint(td, x);
    return td;
  };
  return el(
    'table',
    { class: 'small', 'aria-label': 'row = from, column = to' },
    el(
      'tr',
      {},
      el('td'),
      ['T', '1', '2'].map((name, at) => el('th', { scope: 'col', class: at ? '' : 'read' }, name)),
    ),
    el('tr', {}, el('th', { scope: 'row', class: 'write' }, 'T'), el('td', {}, '0'), beta.map(cell)),
    [0, 1].map(i => el('tr', {}, el('th', { scope: 'row' }, String(i + 1)), alpha.slice(3 * i, 3 * i + 3).map(cell))),
  );
}

const letterButtons = () => [...document.querySelectorAll('#text button')];

function showText() {
  const values = tokens.map((_, at) => flat(of(site, at))[which]);
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const widest = Math.max(...values.map(x => Math.abs(x - mean)), 1e-9);
  letterButtons().forEach((button, at) => {
    tint(button, values[at] - mean, widest);
    button.setAttribute('aria-label', `letter ${at + 1}, ${printed(tokens[at])}: ${shown(values[at], 3)}`);
    button.setAttribute('aria-pressed', at === token);
    button.tabIndex = at === token ? 0 : -1;
  });
  byId('spread').replaceChildren(
    chart({
      title: `${NAMES[which]} at every letter`,
      xName: 'letter',
      from: 1,
      at: token + 1,
      series: [
        { name: 'this letter', kind: 'one', values },
        {
          name: 'static',
          kind: 'two',
          values: values.map(() => flat({ alpha: run.sites[site].A, beta: run.sites[site].B })[which]),
        },
      ],
    }),
  );
}

function showToken() {
  byId('chosen').replaceChildren(
    ...letters(
      `Letter ${token + 1}, “${printed(tokens[token])}”, at ${byId('site').selectedOptions[0].textContent}: ${NAMES[which]} is ${shown(flat(of(site, token))[which], 3)}.`,
    ),
  );
  byId('hc').replaceChildren(hc(of(site, token)));
  byId('statics').replaceChildren(hc({ alpha: run.sites[site].A, beta: run.sites[site].B }));
  const network = run.sites.map((_, k) => {
    const { alpha, beta } = of(k, token);
    return { read: [alpha[0], alpha[3]], mix: [alpha.slice(1, 3), alpha.slice(4, 6)], write: beta };
  });
  const names = ['x', ...network.map((_, k) => `T${sub(k + 1)}`)];
  byId('unfolded').replaceChildren(
    el(
      'tr',
      {},
      el('td'),
      names.map(name => el('th', { scope: 'col' }, name)),
    ),
    ...unfold(network).map((row, k) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, k < network.length ? `T${sub(k + 1)}` : 'sum'),
        row.slice(0, k + 1).map(x => {
          const td = el('td', { 'data-value': x }, shown(x, 1));
          tint(td, x, 4);
          return td;
        }),
      ),
    ),
  );
}

function showReach() {
  const { predictors, scales, tanh } = settings();
  byId('predictors-out').textContent = shown(predictors, 2);
  byId('scales-out').textContent = shown(scales, 1);
  const statics = run.sites[site].A;
  const reach = Math.max(...tokens.flatMap((_, at) => of(site, at).alpha.map((x, i) => Math.abs(x - statics[i]))));
  const s = Math.abs(scales * run.sites[site].sa);
  byId('reach').replaceChildren(
    ...letters(
      tanh
        ? `No coefficient of A_m or A_r can leave its static value by more than |s_alpha| = ${shown(s, 3)}; the farthest is at ${shown(reach, 3)}. Saturated, with next to no gradient left: ${shown(100 * saturated(run.sites[site], predictors), 0)} %.`
        : `Without tanh there is no bound: the farthest coefficient is ${shown(reach, 3)} from its static value, and s_alpha is ${shown(s, 3)}.`,
    ),
  );
  const z = Array.from({ length: 61 }, (_, i) => (i - 30) / 10);
  byId('curve').replaceChildren(
    chart({
      title: 'what becomes of H̄ W: s tanh(W × factor), and without tanh',
      xName: 'H̄ W',
      from: -3,
      to: 3,
      series: [
        { name: 'now', kind: 'one', values: z.map(x => s * (tanh ? Math.tanh(predictors * x) : predictors * x)) },
      ],
      range: [-2 * Math.max(s, 0.05), 2 * Math.max(s, 0.05)],
    }),
  );
}

function update() {
  showText();
  showToken();
  showReach();
}

byId('site').append(
  ...run.sites.map((_, k) => el('option', { value: k }, `T${sub(k + 1)} (${k % 2 ? 'ffn' : 'attention'})`)),
);
byId('which').append(...NAMES.map((name, at) => el('option', { value: at }, name)));
byId('text').append(
  ...tokens.flatMap((letter, at) => {
    const button = el(
      'button',
      {
        class: at > 0 && at % run.window === 0 ? 'cut' : '',
        onclick: () => {
          token = at;
          update();
        },
      },
      printed(letter),
    );
    return letter === '\n' ? [button, el('br')] : [button];
  }),
);
byId('text').addEventListener('keydown', event => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || !tokens[token + step]) return;
  event.preventDefault();
  token += step;
  update();
  letterButtons()[token].focus();
});
byId('about').textContent = run.about;
byId('site').addEventListener('change', event => {
  site = Number(event.target.value);
  update();
});
byId('which').addEventListener('change', event => {
  which = Number(event.target.value);
  update();
});
for (const id of ['predictors', 'scales', 'tanh']) byId(id).addEventListener('input', update);
byId('reset').addEventListener('click', () => {
  byId('predictors').value = 0;
  byId('scales').value = 1;
  byId('tanh').checked = true;
  update();
});
update();
