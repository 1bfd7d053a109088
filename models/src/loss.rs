//! The loss of a network and its terms.

use engine::tape::Var;
use nn::moe::RouterLosses;

/// The loss that training minimises, and its terms.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'t> {
    /// Output of the network: logits `[.., classes]`, or the predicted noise.
    pub output: Var<'t>,
    /// All terms together.
    pub total: Var<'t>,
    /// The term of the task alone, which is reported and compared: the cross-entropy, or
    /// the squared error of a denoiser.
    pub task: Var<'t>,
    /// The losses of the routers, averaged over the blocks or summed.
    pub router: Option<RouterLosses<'t>>,
}

impl<'t> Loss<'t> {
    /// The loss of the task with what the routers add.
    pub fn new(output: Var<'t>, task: Var<'t>, router: Option<RouterLosses<'t>>) -> Self {
        let total = match router {
            Some(router) => task + router.weighted,
            None => task,
        };
        Self {
            output,
            total,
            task,
            router,
        }
    }
}
