//! The families and libraries whose connections are known: one file each, one line here.

mod deepseek_v4;
mod deepseek_v41;
mod glm5_next;
mod hy_v4;
mod lucidrains;
mod megatron;
mod mhc_lite;
mod motif3;
mod openpangu;
mod qwen4_exp;
mod tokenbender;
mod xing4;

use crate::{
    CheckpointError,
    files::Tensor,
    form::{Eps, Form, Gate, Mix, Predictor},
    parts::Parts,
    settings::{Config, Setting, Values},
    sinkhorn::{Direction, Divisor, Sinkhorn},
    site::Kind,
};

/// All dialects, the most common first.
pub static DIALECTS: &[&Dialect] = &[
    &deepseek_v4::DIALECT,
    &deepseek_v41::DIALECT,
    &glm5_next::DIALECT,
    &hy_v4::DIALECT,
    &openpangu::DIALECT,
    &motif3::DIALECT,
    &xing4::DIALECT,
    &qwen4_exp::DIALECT,
    &lucidrains::HYPER,
    &lucidrains::WITHOUT_TANH,
    &lucidrains::CONSTRAINED,
    &mhc_lite::DIALECT,
    &tokenbender::DIALECT,
    &megatron::DIALECT,
];

/// The way in which one family writes and computes its connections.
#[derive(Debug)]
pub struct Dialect {
    /// The name for `--dialect`.
    pub name: &'static str,
    /// The networks or the library.
    pub title: &'static str,
    /// The source of names and formulas.
    pub source: &'static str,
    /// The names of the family in configurations, in lower case without signs.
    pub(crate) families: &'static [&'static str],
    /// Endings of names of tensors at sites; `*` stands for a role.
    pub(crate) sites: &'static [Ending],
    /// Endings of names at the end of the network.
    pub(crate) heads: &'static [&'static str],
    /// Spellings of roles, with the role.
    pub(crate) roles: &'static [(&'static str, &'static str)],
    /// Roles without which a site is incomplete.
    pub(crate) required: &'static [&'static str],
    /// Roles without which a learned end is incomplete.
    pub(crate) head_required: &'static [&'static str],
    /// The settings.
    pub(crate) settings: &'static [Setting],
    /// Keys of the number of streams.
    pub(crate) streams: &'static [&'static str],
    /// Whether a site of these shapes is of this dialect.
    pub(crate) fits: fn(&Shapes<'_>) -> bool,
    /// The connection of a site.
    pub(crate) form: fn(&mut Parts<'_>, &Values) -> Result<Form, CheckpointError>,
    /// The connection whose read is the learned end.
    pub(crate) head: fn(&mut Parts<'_>, &Values) -> Result<Form, CheckpointError>,
    /// Whether the read of a site acts one site later.
    pub(crate) delayed: fn(&Config<'_>) -> bool,
    /// What the streams become at the end if nothing is learned.
    pub(crate) last: Last,
    /// Whether matrices exist without states of streams.
    pub(crate) fixed: bool,
}

impl Dialect {
    /// Whether matrices exist without states of streams.
    pub fn has_matrices(&self) -> bool {
        self.fixed
    }

    /// The endings of the names of its tensors, roles in braces.
    pub fn names(&self) -> Vec<String> {
        let spellings: Vec<_> = self.roles.iter().map(|(text, _)| *text).collect();
        let roles = format!("{{{}}}", spellings.join(", "));
        let sites = self.sites.iter().map(|ending| ending.text);
        let all = sites.chain(self.heads.iter().copied());
        all.map(|text| text.replace('*', &roles)).collect()
    }
}

/// The end of the names of the tensors of a site.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) text: &'static str,
    pub(crate) kind: Kind,
}

/// What streams become at the end of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// A sum with learned weights.
    Learned,
}

/// The shape of the tensor of a role, if it is there.
pub(crate) type Shapes<'a> = dyn Fn(&str) -> Option<Vec<usize>> + 'a;

const fn attention(text: &'static str) -> Ending {
    let kind = Kind::Attention;
    Ending { text, kind }
}

const fn feed_forward(text: &'static str) -> Ending {
    let kind = Kind::FeedForward;
    Ending { text, kind }
}

const fn any(text: &'static str) -> Ending {
    let kind = Kind::Unknown;
    Ending { text, kind }
}

const STREAMS: &[&str] = &["hc_mult", ".hyper_connection.count"];
const FN: &[(&str, &str)] = &[("fn", "fn"), ("base", "base"), ("scale", "scale")];
const FN_ROLES: &[&str] = &["fn", "base", "scale"];

/// A dialect that is as DeepSeek-V4, to change what differs.
const PLAIN: Dialect = Dialect {
    name: "",
    title: "",
    source: "",
    families: &[],
    sites: &[],
    heads: &[],
    roles: FN,
    required: FN_ROLES,
    head_required: FN_ROLES,
    settings: &[],
    streams: STREAMS,
    fits: |_| true,
    form: deepseek_v4::form,
    head: deepseek_v4::head,
    delayed: |_| false,
    last: Last::Learned,
    fixed: true,
};

/// The Sinkhorn of DeepSeek-V4: softmax of the rows plus eps, columns, and then rows and columns
/// in turn, every divisor with eps.
fn softmax_first(iterations: usize, eps: f64) -> Sinkhorn {
    Sinkhorn {
        clamp: None,
        temperature: 1.0,
        softmax: Some(eps),
        first: Direction::Rows,
        iterations,
        divisor: Divisor::Plus(eps),
    }
}

fn as_it_is(rule: Sinkhorn) -> Mix {
    Mix::Sinkhorn {
        rule,
        transposed: false,
        share: 1.0,
    }
}

/// The parts of a connection whose logits all streams predict: rows, biases and factors.
struct Flat {
    streams: usize,
    rows: Vec<Vec<f64>>,
    base: Vec<f64>,
    scale: [f64; 3],
    eps: Eps,
}

impl Flat {
    fn form(self, read: Gate, write: Gate, mix: Mix) -> Form {
        let predictor = Predictor {
            eps: self.eps,
            norm_per_stream: false,
            per_stream: false,
            before: Vec::new(),
            tanh: false,
            proposals: vec![self.rows],
        };
        Form {
            streams: self.streams,
            views: 1,
            predictor: Some(predictor),
            base: self.base,
            scale: self.scale,
            read,
            write,
            mix,
        }
    }
}

/// The rows of a matrix `[rows, columns]`, times the weight of a norm.
fn rows(matrix: &Tensor, gamma: Option<&[f64]>) -> Vec<Vec<f64>> {
    let columns = matrix.shape.last().copied().unwrap_or(1).max(1);
    let weighted = |row: &[f64]| match gamma {
        Some(gamma) => row.iter().zip(gamma).map(|(w, g)| w * g).collect(),
        None => row.to_vec(),
    };
    matrix.values.chunks_exact(columns).map(weighted).collect()
}

/// The columns of a matrix `[rows, columns]`, times the weight of a norm.
fn columns(matrix: &[f64], columns: usize, gamma: &[f64]) -> Vec<Vec<f64>> {
    let column = |c: usize| {
        let entries = matrix.iter().skip(c).step_by(columns);
        entries.zip(gamma).map(|(w, g)| w * g).collect()
    };
    (0..columns).map(column).collect()
}
