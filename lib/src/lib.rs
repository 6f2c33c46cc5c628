// SPDX-License-Identifier: MIT OR Apache-2.0

//! Safe access from user space to chrmem devices.
