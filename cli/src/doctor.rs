// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why chrmem does not work on a machine, and what to do about it.

mod build;
mod devices;
mod kernel;
mod machine;
mod module;

pub(crate) use machine::Machine;

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It cannot be told, or does not matter as things are.
    Note,
    /// Something does not work because of it.
    Wrong,
}

/// What was found about one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it is about.
    pub(crate) about: &'static str,
    /// How it is.
    pub(crate) state: State,
    /// What was found.
    pub(crate) what: String,
    /// What to do, if something is to be done.
    pub(crate) cure: Option<String>,
}

impl Finding {
    /// All is well.
    fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            state: State::Ok,
            what: what.into(),
            cure: None,
        }
    }

    /// It does not matter.
    fn note(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            state: State::Note,
            ..Self::ok(about, what)
        }
    }

    /// Something is wrong.
    fn wrong(about: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            state: State::Wrong,
            cure: Some(cure.into()),
            ..Self::ok(about, what)
        }
    }
}

/// Looks at everything, in the order in which it is to be mended.
pub(crate) fn examine(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![
        kernel::processor(machine),
        kernel::version(machine),
        kernel::rust(machine),
        module::module(machine),
        module::lockdown(machine),
        build::headers(machine),
        module::configfs(machine),
    ];
    findings.extend(devices::devices(machine));
    findings
}
