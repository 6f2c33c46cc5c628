// SPDX-License-Identifier: MIT OR Apache-2.0

//! Not written yet.

fn main() {}
