//! One connection around a layer, `T(x) = gelu(x Wᵀ)`: the subject of the files of kind
//! `connection`.

use engine::{
    params::{Builder, Init, Params},
    shape::Shape,
    tape::Tape,
};
use nn::{
    connection::{Connection, ConnectionConfig, Site},
    linear::Linear,
    norm::NormKind,
    settings,
};

settings! {
    /// The configuration of such a file.
    pub(super) struct Around {
        pub(super) batch: usize,
        pub(super) seq: usize,
        pub(super) dim: usize,
        pub(super) eps: f32,
        pub(super) connection: ConnectionConfig,
        pub(super) sublayer_index: usize,
    }
}

impl Around {
    /// Says what is wrong with the configuration.
    pub(super) fn validate(&self) -> Result<(), String> {
        // Of use for initialisation, which the file replaces, and at the ends of a network,
        // where some parts of a connection have nothing to do: here is neither end.
        const MOST_SUBLAYERS: usize = 20_000;
        let spec = self.connection.spec();
        spec.validate(self.dim)
            .map_err(|message| format!("connection: {message}"))?;
        let index = self.sublayer_index;
        match index {
            ..=MOST_SUBLAYERS => Ok(()),
            _ => Err(format!(
                "sublayer_index is {index}, expected at most {MOST_SUBLAYERS}"
            )),
        }
    }

    /// The place of the sublayer, neither end of its network.
    pub(super) fn site(&self) -> Site {
        Site {
            index: self.sublayer_index,
            count: self.sublayer_index + 2,
            dim: self.dim,
            norm: NormKind::LayerNorm,
            eps: self.eps,
        }
    }

    /// The number of streams if the sublayer reads with weights that the one before has predicted.
    pub(super) fn delayed_read(&self) -> Option<usize> {
        match &self.connection {
            ConnectionConfig::SinglePassMhc(of) => Some(of.0.rate),
            ConnectionConfig::Hyper(of) if of.delayed_reads => Some(of.rate),
            _ => None,
        }
    }

    /// Shapes of what the connection carries beside its state, in order.
    pub(super) fn memory(&self) -> Vec<Shape> {
        match &self.connection {
            ConnectionConfig::DeltaAttentionResidual(_) => {
                vec![self.flat(); self.sublayer_index + 1]
            }
            _ => {
                let read = |n| Shape::from([self.batch, self.seq, n, 1]);
                self.delayed_read().map(read).into_iter().collect()
            }
        }
    }

    /// The connection and the layer, with their parameters.
    pub(super) fn build(&self, mut b: Builder) -> (Box<dyn Connection>, Linear, Params) {
        let (dim, site) = (self.dim, self.site());
        let spec = self.connection.spec();
        let connection = b.scope("connection", |b| spec.build(site, b));
        let sublayer = Linear::new(&mut b, "sublayer", dim, dim, Init::Zeros);
        (connection, sublayer, b.finish())
    }

    /// The shape of an embedding.
    pub(super) fn flat(&self) -> Shape {
        [self.batch, self.seq, self.dim].into()
    }

    /// The shape of the state.
    pub(super) fn state(&self, connection: &dyn Connection, params: &Params) -> Shape {
        if let ConnectionConfig::TwoLane(of) = &self.connection
            && of.has_lanes_before(self.site())
        {
            return [self.batch, self.seq, 2, self.dim].into();
        }
        let tape = Tape::new();
        tape.bind(params);
        let flat = self.flat();
        let zeros = tape.constant(flat, &vec![0.0; flat.len()]);
        connection.expand(zeros).hidden.shape()
    }
}
