// SPDX-License-Identifier: GPL-2.0

//! Access to memory that can be taken away while it is used, because its hardware goes.
//!
//! The `kernel` crate's `Revocable` lets nobody sleep who has access, which a fault does that finds no memory for a page
//! table.

use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

use super::{
    iomem::IoMapping,
    rwsem::{
        Reading,
        RwSemaphore,
        Writing, //
    }, //
};

/// The right to access some memory, and to map it for processes.
///
/// Once [`revoke`](Self::revoke) has returned, nobody has it, and nobody gets it any more: what processes have mapped then can
/// be taken away for good.
#[pin_data]
pub(crate) struct Revocable {
    #[pin]
    state: RwSemaphore<State>,
}

pub(super) struct State {
    is_revoked: bool,
    /// Where the kernel has the memory mapped, if it is a device's.
    mapping: Option<IoMapping>,
}

impl State {
    /// Where the kernel has the memory mapped, if it is a device's.
    pub(super) fn mapping(&self) -> Option<&IoMapping> {
        self.mapping.as_ref()
    }
}

/// What belonged to memory that was revoked. Others can have it once this is dropped: nobody must have it mapped then.
#[must_use]
pub(crate) struct Revoked {
    _mapping: Option<IoMapping>,
}

impl Revocable {
    /// A right that everybody has.
    pub(super) fn new(mapping: Option<IoMapping>) -> Result<Arc<Self>> {
        let state = State {
            is_revoked: false,
            mapping,
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- RwSemaphore::new(state, c"Revocable::state", static_lock_class!()),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The right, among others who have it; `None` if it was revoked. Whoever has it must not ask for it again, nor access
    /// memory of user space.
    pub(super) fn access(&self) -> Option<Reading<'_, State>> {
        Some(self.state.read()).filter(|state| !state.is_revoked)
    }

    /// The right, while nobody else has it; `None` if it was revoked.
    pub(super) fn access_alone(&self) -> Option<Writing<'_, State>> {
        Some(self.state.write()).filter(|state| !state.is_revoked)
    }

    /// Waits until nobody has the right, and lets nobody have it from now on; `None` if it was revoked before.
    pub(crate) fn revoke(&self) -> Option<Revoked> {
        let mut state = self.access_alone()?;
        state.is_revoked = true;
        Some(Revoked {
            _mapping: state.mapping.take(),
        })
    }

    /// Whether it was revoked.
    pub(crate) fn is_revoked(&self) -> bool {
        self.state.read().is_revoked
    }
}
