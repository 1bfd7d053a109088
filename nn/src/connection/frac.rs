//! Frac-connections (Zhu et al., 2025, arXiv 2503.14125): a hidden vector of the usual
//! width, cut into m fractions that are connected as the streams of hyper-connections.
//!
//! The state is `H = reshape(h, [m, d / m])`. The sublayer reads m mixtures of the
//! fractions, concatenated, and each fraction takes its own piece of the output:
//!
//! ```text
//! x  = concat(Yᵀ H)
//! Ĥ  = Aᵀ H + diag(B) split(T(x))
//! ```
//! with `[Y | A]` `[m, 2m]`, the row the source, and B `[m]`, all static (SFC) or with a
//! part predicted from each fraction (DFC), `s tanh(norm(H) W) + static` with the norm over
//! d / m. At the start W = 0, Y = A = I and B = 1: the network is pre-norm's.

use super::{
    Connection, Cost, PredictorNorm, Site, Spec, State, Sublayer, check_streams, expect_number,
    streams::{
        ops::{Slots, read, write},
        predictor::PredictorForm,
        slot_coefficients::{SlotCoefficients, SlotSizes},
        slots::WriteForm,
    },
};
use engine::params::{Builder, Init};

settings! {
    /// Frac-connections, static or dynamic: the state `[.., d]` as m fractions `H [.., m, d / m]`,
    /// `x = concat(Yᵀ H)`, `Ĥ = Aᵀ H + diag(B) split(T(x))` with `[Y | A]` `[m, 2m]` and B `[m]`,
    /// to which the dynamic form adds `s tanh(norm(H) W)`.
    ///
    /// Source: Zhu et al., Frac-Connections: Fractional Extension of Hyper-Connections, 2025,
    /// arXiv 2503.14125.
    pub struct FracConfig {
        /// Number of fractions m; they divide the width.
        pub fractions: usize = 4,
        /// A part of the coefficients is predicted from the fractions.
        pub dynamic: bool = true,
        /// The prediction goes through tanh.
        pub tanh: bool = true,
        /// The norm before the prediction.
        pub norm: PredictorNorm = PredictorNorm::default(),
        /// Initial scales of the predicted parts.
        pub scale_init: f32 = 0.01,
    }
}

impl Spec for FracConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Frac::new(self, site, b))
    }

    fn label(&self) -> String {
        let kind = if self.dynamic { "DFC" } else { "SFC" };
        let mut label = format!("{kind} x{}", self.fractions);
        if self.dynamic && !self.tanh {
            label.push_str(" w/o tanh");
        }
        label
    }

    fn citation(&self) -> &'static str {
        "Zhu et al., Frac-Connections: Fractional Extension of Hyper-Connections, 2025, arXiv \
         2503.14125"
    }

    fn validate(&self, dim: usize) -> Result<(), String> {
        if self.fractions == 0 || !dim.is_multiple_of(self.fractions) {
            return Err(format!(
                "fractions is {}, expected a divisor of dim {dim}",
                self.fractions
            ));
        }
        check_streams("fractions", self.fractions)?;
        expect_number("scale_init", self.scale_init)
    }
}

/// The frac-connection of one sublayer.
#[derive(Debug)]
struct Frac {
    config: FracConfig,
    dim: usize,
    coefficients: SlotCoefficients,
}

impl Frac {
    fn new(config: &FracConfig, site: Site, b: &mut Builder) -> Self {
        let m = config.fractions;
        let form = PredictorForm {
            norm: config.norm,
            eps: site.eps,
            tanh: config.tanh,
        };
        let sizes = SlotSizes {
            width: site.dim / m,
            alpha: [m, 2 * m].into(),
            beta: [m].into(),
            scale_each: false,
        };
        let start = [Init::Values(two_identities(m)), Init::Ones];
        let dynamic = config.dynamic.then_some((form, config.scale_init));
        Self {
            config: config.clone(),
            dim: site.dim,
            coefficients: SlotCoefficients::register(b, &sizes, start, dynamic),
        }
    }
}

/// `[I | I]`, `[m, 2m]`.
fn two_identities(m: usize) -> Vec<f32> {
    let mut alpha = vec![0.0; 2 * m * m];
    for (i, row) in alpha.chunks_exact_mut(2 * m).enumerate() {
        row[i] = 1.0;
        row[m + i] = 1.0;
    }
    alpha
}

impl Connection for Frac {
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let m = self.config.fractions;
        let slots = Slots::of_fractions("frac", hidden, m, m);
        let coefficients = self.coefficients.of(slots, hidden, 1.0);
        let input = read(slots, hidden, coefficients.alpha);
        coefficients.show(hidden);
        let output = sublayer.pre_normed(input);
        let form = WriteForm::Diagonal;
        State::new(write(slots, form, hidden, coefficients, output))
    }

    /// Read and mix, `2 d m` each, and write, `2 d`; the predictors `2 d (2 m + 1)` and
    /// their norm about 8 per element.
    fn cost(&self) -> Cost {
        let (m, d) = (self.config.fractions, self.dim);
        let (predictor, coefficients) = self.coefficients.cost(m, d / m, 2 * m + 1);
        Cost::new(4 * d * m + 2 * d + predictor, 2 * d + coefficients)
    }
}
