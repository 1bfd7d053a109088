// The coefficients of a token at a connection of n = 2 (Eq. 11 to 13). A site has the static A
// (2 x 3, row by row) and B, the scales sa and sb, and for every token z = H̄ [W_m | W_r] (2 x 3) and
// zb = H̄ W_beta.

// `predictors` and `scales` are factors on all W and on both s; without `tanh` the prediction is
// taken as it is.
export function coefficients(site, token, { predictors = 1, scales = 1, tanh = true } = {}) {
  const bound = tanh ? Math.tanh : x => x;
  const of = (statics, s, z) =>
    statics.map((a, at) => a + scales * s * bound(predictors * z[token * statics.length + at]));
  return { alpha: of(site.A, site.sa, site.z), beta: of(site.B, site.sb, site.zb) };
}

// The share of all predictions of a site, over all tokens, that lie beyond 99 % of what tanh allows.
export function saturated(site, predictors) {
  const edge = Math.atanh(0.99);
  return site.z.filter(z => Math.abs(predictors * z) > edge).length / site.z.length;
}
