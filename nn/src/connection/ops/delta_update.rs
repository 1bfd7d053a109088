//! A rank-one erase and write along the direction of a vector.

use crate::shapes::expect;
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, Op},
    shape::Shape,
    simd::{dot, map},
    tape::Var,
};

struct DeltaUpdate {
    rate: usize,
    width: usize,
    eps: f32,
}

const OP: &str = "delta_update";

/// One token of the update.
struct Token<'a> {
    state: &'a [f32],
    direction: &'a [f32],
    beta: f32,
    values: &'a [f32],
    /// `1 / sqrt(|o|² + eps²)`.
    scale: f32,
}

impl DeltaUpdate {
    fn token<'a>(&self, inputs: &[&'a [f32]; 4], row: usize) -> Token<'a> {
        let [state, direction, beta, values] = inputs;
        let of_row = |x: &'a [f32], len: usize| &x[row * len..][..len];
        let direction = of_row(direction, self.width);
        let square = dot(direction, direction) + self.eps * self.eps;
        Token {
            state: of_row(state, self.rate * self.width),
            direction,
            beta: beta[row],
            values: of_row(values, self.rate),
            scale: 1.0 / square.sqrt().max(f32::MIN_POSITIVE),
        }
    }
}

impl Op for DeltaUpdate {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [next] = cx.outputs();
        let len = self.rate * self.width;
        for (row, next) in next.chunks_exact_mut(len).enumerate() {
            let token = self.token(&inputs, row);
            let channels = token.state.chunks_exact(self.width).zip(token.values);
            for (next, (x, value)) in next.chunks_exact_mut(self.width).zip(channels) {
                let error = value - token.scale * dot(token.direction, x);
                let step = token.beta * error * token.scale;
                map(next, false, [x, token.direction], |[x, o]| x + o * step);
            }
        }
    }

    /// With `k = r o`, `e_j = v_j - <k, H_j>` and `g_j = <k, dH'_j>`: `dbeta = sum_j e_j g_j`, `dv_j =
    /// beta g_j`, `dH_j = dH'_j - beta g_j k`, `dk = beta sum_j (e_j dH'_j - g_j H_j)`, `do = r (dk -
    /// k <k, dk>)`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs();
        let (grad, len, d) = (cx.grad(), self.rate * self.width, self.width);
        let [mut to_state, mut to_direction, mut to_beta, mut to_values] =
            [0, 1, 2, 3].map(|i| cx.input_grad(i));
        let mut dk = cx.pool.take(d);
        for (row, grad) in grad.chunks_exact(len).enumerate() {
            let token = self.token(&inputs, row);
            let (beta, r) = (token.beta, token.scale);
            let mut dbeta = 0.0;
            dk.fill(0.0);
            for j in 0..self.rate {
                let here = j * d..(j + 1) * d;
                let (x, dy) = (&token.state[here.clone()], &grad[here.clone()]);
                let error = token.values[j] - r * dot(token.direction, x);
                let along = r * dot(token.direction, dy);
                dbeta += error * along;
                map(&mut dk, true, [dy, x], |[dy, x]| {
                    dy * (beta * error) - x * (beta * along)
                });
                if let Some(to) = &mut to_values {
                    let slot = &mut to.values[row * self.rate + j];
                    *slot = if to.accumulate { *slot } else { 0.0 } + beta * along;
                }
                if let Some(to) = &mut to_state {
                    let out = &mut to.values[row * len..][here];
                    let step = beta * along * r;
                    map(out, to.accumulate, [dy, token.direction], |[dy, o]| {
                        dy - o * step
                    });
                }
            }
            if let Some(to) = &mut to_beta {
                let slot = &mut to.values[row];
                *slot = if to.accumulate { *slot } else { 0.0 } + dbeta;
            }
            if let Some(to) = &mut to_direction {
                let out = &mut to.values[row * d..][..d];
                let along = r * r * dot(token.direction, &dk);
                elementwise::scale(out, to.accumulate, &dk, r);
                elementwise::scale(out, true, token.direction, -r * along);
            }
        }
        cx.pool.give(dk);
    }
}

/// `H'_j = H_j + beta k (v_j - <k, H_j>)` with `k = o / sqrt(|o|² + eps²)`: H `[.., n, d]`, o `[..,
/// d]`, beta `[.., 1]`, v `[.., n]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn delta_update<'t>(
    state: Var<'t>,
    direction: Var<'t>,
    beta: Var<'t>,
    values: Var<'t>,
    eps: f32,
) -> Var<'t> {
    let shape = state.shape();
    let &[ref outer @ .., rate, width] = shape.dims() else {
        let message = format_args!("the state is {shape}, expected [.., n, d]");
        state.tape().fail(OP, message);
    };
    let of_token = |len: usize| Shape::new(&shape.dims()[..=outer.len()]).with_width(len);
    let expected = [
        ("the direction", direction, of_token(width)),
        ("beta", beta, of_token(1)),
        ("the values", values, of_token(rate)),
    ];
    expect(OP, expected);
    let op = DeltaUpdate { rate, width, eps };
    let inputs = [state, direction, beta, values];
    let [next] = state.tape().apply(op, &inputs, [shape]);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    const EPS: f64 = 0.5;

    #[test]
    fn an_update_erases_and_writes_along_its_direction() {
        for (rate, width) in [(1, 5), (2, 16), (3, 7), (4, 19)] {
            Check::new(
                OP,
                vec![
                    CheckInput::normal([3, rate, width], 1.0, 1),
                    CheckInput::normal([3, width], 1.0, 2),
                    CheckInput::normal([3, 1], 1.0, 3),
                    CheckInput::normal([3, rate], 1.0, 4),
                ],
                |_, v| vec![delta_update(v[0], v[1], v[2], v[3], EPS as f32)],
                |x| {
                    let channels = x[0].chunks(width).enumerate().flat_map(|(at, channel)| {
                        let (row, j) = (at / rate, at % rate);
                        let o = &x[1][row * width..][..width];
                        let size = (o.iter().map(|o| o * o).sum::<f64>() + EPS * EPS).sqrt();
                        let along: f64 = o.iter().zip(channel).map(|(o, x)| o / size * x).sum();
                        let step = x[2][row] * (x[3][row * rate + j] - along) / size;
                        let moved = channel.iter().zip(o).map(|(x, o)| x + step * o);
                        moved.collect::<Vec<f64>>()
                    });
                    vec![channels.collect()]
                },
            )
            .run();
        }
    }

    /// Beta 0 changes nothing, 1 replaces the part along the direction, 2 reflects it.
    #[test]
    fn beta_erases_or_reflects() {
        let tape = engine::tape::Tape::new();
        let moved = |beta: f32| {
            let state = tape.constant([1, 1, 2], &[3.0, 5.0]);
            let direction = tape.constant([1, 2], &[2.0, 0.0]);
            let beta = tape.constant([1, 1], &[beta]);
            let values = tape.constant([1, 1], &[0.0]);
            delta_update(state, direction, beta, values, 0.0).value()
        };
        assert_eq!(moved(0.0), [3.0, 5.0]);
        assert_eq!(moved(1.0), [0.0, 5.0]);
        assert_eq!(moved(2.0), [-3.0, 5.0]);
    }
}
