// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests that need nothing but cargo.
