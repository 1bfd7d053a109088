// Numbers as they are shown and typed.

// A number as it is shown: at most `digits` decimals, a true minus sign.
export function shown(x, digits = 2) {
  if (!Number.isFinite(x)) return '∞';
  if (Math.abs(x) >= 1e4) return x.toExponential(0).replace('e+', 'e').replace('-', '−');
  const text = String(Number(x.toFixed(digits)));
  return Number(text) === 0 && x !== 0 ? '~0' : text.replace('-', '−');
}

// Entries are not larger.
export const LIMIT = 99;

// A typed number; null where it is none or too large.
export function typed(text) {
  const plain = text.trim().replace('−', '-').replace(',', '.');
  const fraction = plain.match(/^(-?\d+)\/(\d+)$/);
  const value = fraction ? fraction[1] / fraction[2] : plain === '' ? NaN : Number(plain);
  return Math.abs(value) <= LIMIT ? value : null;
}

// A subscript in digits of its own.
export function sub(number) {
  return String(number).replace(/\d/g, digit => '₀₁₂₃₄₅₆₇₈₉'[digit]);
}

// The nearest multiple of a step.
export function rounded(x, step) {
  return Number((Math.round(x / step) * step).toFixed(6));
}

// The same numbers for the same seed, about normal.
export function noise(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
