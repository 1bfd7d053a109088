//! Floating-point operations of connections against those of the plain formulas, done with numbers
//! that count.

use engine::{params::Builder, rng::Key, scalar::Real};
use nn::{
    connection::{
        ConnectionConfig, DeepDeltaConfig, GatedResidualConfig, HyperConfig, MhcConfig,
        MhcV4Config, PredictorNorm, SinglePassMhcConfig, Site, TwoLaneConfig,
        plain::{Around, Carried, apply},
    },
    norm::NormKind,
};
use std::{
    cell::Cell,
    iter::Sum,
    ops::{Add, Div, Mul, Neg, Sub},
};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// A number of which every operation adds to [`COUNT`] but those with 0 and 1: means that are not
/// subtracted, weights that norms do not have.
#[derive(Clone, Copy, Debug)]
struct Counted(f64);

fn counted(value: f64, operations: usize) -> Counted {
    COUNT.set(COUNT.get() + operations);
    Counted(value)
}

impl From<f64> for Counted {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl Add for Counted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        counted(
            self.0 + other.0,
            usize::from(self.0 != 0.0 && other.0 != 0.0),
        )
    }
}

impl Sub for Counted {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        counted(self.0 - other.0, usize::from(other.0 != 0.0))
    }
}

impl Mul for Counted {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        counted(
            self.0 * other.0,
            usize::from(self.0 != 1.0 && other.0 != 1.0),
        )
    }
}

impl Div for Counted {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        counted(self.0 / other.0, 1)
    }
}

impl Neg for Counted {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Counted {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self(0.0), Add::add)
    }
}

impl Real for Counted {
    fn value(self) -> f64 {
        self.0
    }

    fn mapped(self, value: f64, _: f64) -> Self {
        counted(value, 4)
    }
}

/// Operations of the plain formula, and as they are counted, for a token and a sublayer in the middle.
fn operations(connection: &ConnectionConfig, dim: usize) -> Option<[usize; 2]> {
    let site = Site {
        index: 3,
        count: 8,
        dim,
        norm: NormKind::RmsNorm,
        eps: 1e-5,
    };
    let mut b = Builder::new(Key::new(1));
    let built = connection.spec().build(site, &mut b);
    let params = b.finish();
    let values = |count: usize| -> Vec<Counted> {
        (0..count)
            .map(|i| Counted((i as f64 + 0.5).sin()))
            .collect()
    };
    let slab = values(params.slab().len());
    let around = Around {
        index: site.index,
        dim,
        eps: site.eps,
        param: &|name| &slab[params.part(name).expect(name).range.clone()],
        sublayer: &|_| values(dim),
    };
    use ConnectionConfig as Of;
    let (width, memory) = match connection {
        Of::Hyper(of) => (
            of.rate * dim,
            vec![values(of.rate); usize::from(of.delayed_reads)],
        ),
        Of::SinglePassMhc(of) => (of.0.rate * dim, vec![values(of.0.rate)]),
        Of::MhcV4(of) => (of.rate * dim, vec![]),
        Of::GatedResidual(of) => (of.rate * dim, vec![]),
        Of::Mhc(of) => (of.rate * dim, vec![]),
        Of::MhcLite(of) => (of.rate * dim, vec![]),
        Of::KromHc(of) => (of.rate * dim, vec![]),
        Of::IdentityHc(of) => (of.rate * dim, vec![]),
        Of::Cayley(of) => (of.rate * dim, vec![]),
        Of::Ohc(of) => (of.rate * dim, vec![]),
        Of::Jpmhc(of) => (of.rate * dim, vec![]),
        Of::DeepDelta(of) => (of.channels * dim, vec![]),
        Of::Altup(of) => (of.blocks * dim, vec![]),
        Of::VirtualWidth(of) => (of.slots * dim / of.fractions, vec![]),
        Of::TwoLane(of) if of.has_lanes_before(site) => (2 * dim, vec![]),
        Of::DeltaAttentionResidual(_) => (dim, vec![values(dim); site.index + 1]),
        _ => (dim, vec![]),
    };
    COUNT.set(0);
    let state = values(width);
    apply(connection, &around, &Carried { state, memory })?;
    Some([COUNT.get(), built.cost().flops])
}

/// Settings other than the defaults.
fn others() -> Vec<ConnectionConfig> {
    let hyper = |config| ConnectionConfig::Hyper(config);
    let gated = |rate, rank| {
        let rank = Some(rank);
        ConnectionConfig::GatedResidual(GatedResidualConfig { rate, rank })
    };
    let deep_delta = |channels| {
        ConnectionConfig::DeepDelta(DeepDeltaConfig {
            channels,
            ..DeepDeltaConfig::default()
        })
    };
    let v4 = |rate, sinkhorn_iters| MhcV4Config {
        rate,
        sinkhorn_iters,
        ..MhcV4Config::default()
    };
    vec![
        hyper(HyperConfig {
            rate: 2,
            dynamic: false,
            ..HyperConfig::default()
        }),
        hyper(HyperConfig {
            rate: 8,
            delayed_reads: true,
            norm: PredictorNorm::RmsNorm,
            ..HyperConfig::default()
        }),
        ConnectionConfig::Mhc(MhcConfig {
            rate: 2,
            sinkhorn_iters: 3,
            write_gain_end: 0.5,
            ..MhcConfig::default()
        }),
        ConnectionConfig::MhcV4(v4(8, 1)),
        ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(v4(3, 20))),
        gated(2, 50),
        gated(1, 1),
        deep_delta(1),
        deep_delta(8),
        ConnectionConfig::TwoLane(TwoLaneConfig {
            first_block: Some(0),
            parallel: false,
        }),
    ]
}

#[test]
fn operations_are_those_of_the_formulas() {
    let mut found = 0;
    for connection in ConnectionConfig::all().into_iter().chain(others()) {
        let Some([expected, got]) = operations(&connection, 240) else {
            continue;
        };
        found += 1;
        // Sums of n terms count n or n - 1, functions a few; blocks and lanes that are read one-hot and
        // not mixed are computed as if they were.
        let most = match connection {
            ConnectionConfig::Altup(_) | ConnectionConfig::TwoLane(_) => 2.7,
            _ => 1.25,
        };
        let ratio = got as f64 / expected as f64;
        assert!(
            (0.75..most).contains(&ratio),
            "{connection:?}: {got} for {expected}"
        );
    }
    assert_eq!(found, 30);
}
