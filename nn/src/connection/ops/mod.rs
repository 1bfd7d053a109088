//! Operations of the connections that are no hyper-connections.

mod channel_scale;
mod delta_update;
mod depth_attention;
mod depth_mix;
mod gated_mean;
mod group_norm;
mod one_hot_read;
mod stream_norm;
mod values;
mod weighted_sum;
mod with_read;

pub use channel_scale::add_scaled_channels;
pub use delta_update::delta_update;
pub use depth_attention::depth_attention;
pub use depth_mix::depth_mix;
pub use gated_mean::gated_mean;
pub use group_norm::group_norm;
pub use one_hot_read::one_hot_read;
pub use stream_norm::stream_norm;
pub use values::{mix_values, values_of};
pub use weighted_sum::weighted_sum;
pub use with_read::with_read;
