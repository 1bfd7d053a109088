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

    /// The connection and the layer, with their parameters.
    pub(super) fn build(&self, mut b: Builder) -> (Box<dyn Connection>, Linear, Params) {
        let dim = self.dim;
        let site = Site {
            index: self.sublayer_index,
            count: self.sublayer_index + 2,
            dim,
            norm: NormKind::LayerNorm,
            eps: self.eps,
        };
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
        let tape = Tape::new();
        tape.bind(params);
        let flat = self.flat();
        let zeros = tape.constant(flat, &vec![0.0; flat.len()]);
        connection.expand(zeros).hidden.shape()
    }
}
