// Elements of the pages: tags, entries that are typed or dragged, small matrices.
import { LIMIT, rounded, shown, typed } from './numbers.mjs';

const SVG = new Set(['svg', 'path', 'g', 'circle', 'rect', 'text', 'marker', 'defs', 'line', 'polyline', 'tspan']);

// An element with attributes, listeners (`on...`) and children.
export function el(tag, attributes = {}, ...children) {
  const made = SVG.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat());
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

export function recorded(id) {
  return JSON.parse(byId(id).textContent);
}

// Text in which A_m, W_beta, s_alpha, c_{2,1} and their like have subscripts.
export function letters(text) {
  const greek = { alpha: 'α', beta: 'β' };
  return text
    .split(/([AWs]_(?:alpha|beta|[mr])|c_\{[^}]*\})/)
    .map((part, at) => {
      const below = part.slice(2).replace(/[{}]/g, '');
      return at % 2 ? el('span', {}, part[0], el('sub', {}, greek[below] ?? below)) : part;
    });
}

// Colours a cell by its value: `scale` has the full colour.
export function tint(cell, value, scale = 2) {
  cell.style.setProperty('--share', `${Math.round(55 * Math.min(1, Math.abs(value) / scale))}%`);
  cell.classList.toggle('negative', value < 0);
}

// Lets a pointer change a value by moving sideways: `read()` is where it starts, `write(x)` is told
// of every step, `click()` of a press without a movement.
export function draggable(element, { read, write, click = () => {}, perPixel = 0.01 }) {
  element.addEventListener('pointerdown', down => {
    if (down.button !== 0) return;
    const from = read();
    let moved = false;
    const move = event => {
      const distance = event.clientX - down.clientX;
      if (!moved && Math.abs(distance) < 4) return;
      if (!moved) element.setPointerCapture(down.pointerId);
      moved = true;
      event.preventDefault();
      write(Math.max(-LIMIT, Math.min(LIMIT, rounded(from + distance * perPixel, 0.05))));
    };
    const end = () => {
      element.removeEventListener('pointermove', move);
      if (!moved) click();
    };
    element.addEventListener('pointermove', move);
    element.addEventListener('pointerup', end, { once: true });
    element.addEventListener('pointercancel', end, { once: true });
  });
}

// A number that is typed, dragged sideways, or moved with the arrow keys. `refuse(text)` is told of a
// text that is no number, when the entry is left.
export function entry({ label, key, value, change, refuse = () => {}, attributes = {} }) {
  const input = el('input', {
    type: 'text',
    inputmode: 'decimal',
    role: 'spinbutton',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-label': label,
    'data-key': key,
    title: label,
    class: 'entry',
    ...attributes,
  });
  let now = value;
  const show = x => {
    now = x;
    if (document.activeElement !== input || !input.dataset.typing) input.value = shown(x);
    input.setAttribute('aria-valuenow', x);
    tint(input, x);
  };
  const set = x => {
    show(x);
    change(x);
  };
  input.addEventListener('input', () => {
    input.dataset.typing = 'yes';
    const x = typed(input.value);
    input.setAttribute('aria-invalid', x === null);
    if (x !== null) {
      now = x;
      tint(input, x);
      change(x);
    }
  });
  const leave = () => {
    if (input.getAttribute('aria-invalid') === 'true') refuse(input.value);
    delete input.dataset.typing;
    input.removeAttribute('aria-invalid');
    show(now);
  };
  input.addEventListener('change', leave);
  input.addEventListener('blur', leave);
  input.addEventListener('keydown', event => {
    const step = { ArrowUp: 0.1, ArrowDown: -0.1, PageUp: 1, PageDown: -1 }[event.key];
    if (event.key === 'Enter') {
      leave();
      input.select();
    }
    if (!step) return;
    event.preventDefault();
    delete input.dataset.typing;
    set(rounded(now + step, 0.1));
  });
  draggable(input, {
    read: () => now,
    write: x => {
      delete input.dataset.typing;
      set(x);
    },
    click: () => input.select(),
  });
  show(value);
  return { input, show };
}

// A small matrix of numbers; a vector is one row, or with `upright` one column.
export function matrixOf(rows, name, kind = '') {
  const table = el(
    'table',
    { class: `small ${kind}` },
    rows.map(row =>
      el(
        'tr',
        {},
        row.map(x => el('td', {}, shown(x))),
      ),
    ),
  );
  return el('span', { class: 'named' }, table, el('small', {}, letters(name)));
}

// Buttons for one less and one more of `what`, in the element of an id.
export function stepper(id, { value, least, most, what, change }) {
  const button = (text, to, name) => {
    const made = el('button', { 'aria-label': name }, text);
    made.disabled = to < least || to > most;
    made.addEventListener('click', () => {
      change(to);
      byId(id).children[text === '+' ? 2 : 0].focus();
    });
    return made;
  };
  byId(id).replaceChildren(
    button('−', value - 1, `one ${what} fewer`),
    el('output', {}, String(value)),
    button('+', value + 1, `one ${what} more`),
  );
}
