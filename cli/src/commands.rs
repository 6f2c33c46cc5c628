// SPDX-License-Identifier: MIT OR Apache-2.0

//! One file a subcommand.

pub(crate) mod bench;
pub(crate) mod cat;
pub(crate) mod cdi;
pub(crate) mod changes;
pub(crate) mod clear;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod destroy;
pub(crate) mod doctor;
pub(crate) mod fill;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod maps;
pub(crate) mod notify;
pub(crate) mod read;
pub(crate) mod reset;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod write;
