// SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT

//! The contract between the chrmem driver and user space: ioctl numbers, structures and flags.
//!
//! [`abi`] is the very file that the kernel module compiles; `include/linux/chrmem.h` says the
//! same in C, and a test of this crate compiles that header and compares the two.

#![no_std]

pub mod abi;
