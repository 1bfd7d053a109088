//! Operations of the connections that are no hyper-connections.

mod channel_scale;
mod depth_attention;
mod group_norm;
mod values;
mod weighted_sum;
mod with_read;

pub use channel_scale::add_scaled_channels;
pub use depth_attention::depth_attention;
pub use group_norm::group_norm;
pub use values::{mix_values, values_of};
pub use weighted_sum::weighted_sum;
pub use with_read::with_read;
