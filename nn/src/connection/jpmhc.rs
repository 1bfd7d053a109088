//! JPmHC (Sengupta et al., 2026, arXiv 2602.18308): reads and writes by matrices of softmaxes, and
//! an orthogonal mix by two steps of the iterative Cayley transform.
//!
//! ```text
//! x⃗      = LayerNorm(vec(H))                       over all n d numbers, with a weight
//! H_pre  = softmax of each row of mat(x⃗ phi_pre)          n x n
//! H_post = softmax of each column of mat(x⃗ phi_post)      n x n
//! W      = skew(x⃗ phi_res)
//! H_res  = Y_s,  Y_0 = I + a W,  Y_{t+1} = I + a/2 W (I + Y_t)
//! H      = H_res H + H_post (1 ⊗ T(mean of the rows of H_pre H))
//! ```
//! without biases, a = `step` = 0.1 and s = `iterations` = 2. So the n weights of the read are the
//! mean of n softmaxes, those of the write the sum of n: 1 for every stream where the logits are 0.
//! Each n columns of `phi_pre` belong to a row of `H_pre`, of `phi_post` to a column of `H_post`.
//! See [`constrained`](super::constrained) for the rest.

use super::{
    Connection, Expansion, Site, Spec,
    constrained::{Form, Settings, kernels::Rule},
    reduction::Reduction,
};
use engine::params::Builder;

settings! {
    /// JPmHC: hyper-connections whose sublayers read the mean of n softmax-weighted states and write
    /// with the sum of n softmaxes, `H_pre` and `H_post` being n x n matrices of logits `x⃗ phi`, x⃗
    /// the layer norm of the flattened state; and the mix `H_res`: `iterations` steps of `Y = I + a/2 W
    /// (I + Y)` from `I + a W`, a = `step`, W skew-symmetric with its `rate (rate - 1) / 2` numbers
    /// predicted. No biases, and projections normal with standard deviation 0.02 at first: where all
    /// are zero, streams that are alike stay so.
    ///
    /// Source: Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal Hyper-Connections, 2026,
    /// arXiv 2602.18308.
    pub struct JpmHcConfig {
        /// Number of streams n, the expansion rate.
        pub rate: usize = 4,
        /// Steps of the iterative Cayley transform (2 in the paper).
        pub iterations: usize = 2,
        /// The step size a of the transform (0.1 in the paper).
        pub step: f32 = 0.1,
        /// The reduction of the streams at the end.
        pub reduction: Reduction = Reduction::default(),
    }
}

impl JpmHcConfig {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::CayleySteps {
                iterations: self.iterations,
            },
            form: Form::JpmHc {
                mix_scale: self.step / 2.0,
            },
            reduction: self.reduction,
            expansion: Expansion::Copies,
            write_gain_end: 1.0,
        }
    }
}

impl Spec for JpmHcConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("JPmHC x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal Hyper-Connections, 2026, \
         arXiv 2602.18308"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if !(self.step.is_finite() && self.step > 0.0) {
            return Err(format!("step is {}, expected a positive number", self.step));
        }
        self.settings().validate()
    }
}
