//! Networks: configuration and assembly, no numerics of their own.
//!
//! Adding one: a file whose configuration is a [`Network`](network::Network), its `pub mod` and
//! its line in [`model`]; `docs/adding_a_model.md` shows it.

pub mod accounting;
pub mod block;
pub mod config;
pub mod dit;
pub mod loss;
pub mod network;
pub mod transformer;
pub mod vit;
pub mod weights;

/// The choice among networks.
pub mod model {
    use crate::{
        config::ConfigError, dit::DitConfig, network::Network, transformer::TransformerConfig,
        vit::VitConfig,
    };
    use nn::kinds;
    use serde::Serialize;
    use std::ops::{Deref, DerefMut};

    macro_rules! networks {
        ($($(#[$doc:meta])* $variant:ident($config:ty),)*) => {
            /// Any network; in files, `type` names it. A [`Network`] in every respect.
            #[derive(Clone, Debug, PartialEq, Serialize)]
            #[serde(tag = "type", rename_all = "lowercase")]
            pub enum ModelConfig {
                $($(#[$doc])* $variant($config),)*
            }

            kinds!(ModelConfig, "lowercase", $($variant($config)),*);

            impl Deref for ModelConfig {
                type Target = dyn Network;

                fn deref(&self) -> &Self::Target {
                    match self {
                        $(Self::$variant(config) => config,)*
                    }
                }
            }

            impl DerefMut for ModelConfig {
                fn deref_mut(&mut self) -> &mut Self::Target {
                    match self {
                        $(Self::$variant(config) => config,)*
                    }
                }
            }
        };
    }

    networks! {
        /// A decoder of tokens.
        Transformer(TransformerConfig),
        /// A classifier of images.
        Vit(VitConfig),
        /// A denoiser of images of classes.
        Dit(DitConfig),
    }

    impl Default for ModelConfig {
        fn default() -> Self {
            Self::Transformer(TransformerConfig::default())
        }
    }

    impl ModelConfig {
        /// The decoder, if it is one.
        ///
        /// # Errors
        /// If the network is another one.
        pub fn transformer(&self) -> Result<&TransformerConfig, ConfigError> {
            match self {
                Self::Transformer(config) => Ok(config),
                other => Err(ConfigError(format!(
                    "type is {}, but text needs a transformer",
                    other.kind()
                ))),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_network_is_called_in_messages_as_in_files() {
            let networks = [
                ModelConfig::default(),
                ModelConfig::Vit(VitConfig::default()),
                ModelConfig::Dit(DitConfig::default()),
            ];
            for network in networks {
                let json = serde_json::to_value(&network).expect("JSON");
                assert_eq!(json["type"], network.kind());
            }
        }
    }
}

/// The page is compiled and run like any other example.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding_a_connection.md")]
struct AddingAConnection;
