// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers around what the `kernel` crate lacks, and around what differs from one series of kernels to the next.
//!
//! Every unsafe line of the driver is here, and nothing here knows what the driver is for: each file could be
//! submitted to the kernel, but for `bytes`, which says of the structures of the driver's ioctl interface what
//! only unsafe code can say.

#![deny(clippy::arithmetic_side_effects)]

mod arch;
pub(crate) mod atomic;
pub(crate) mod bytes;
pub(crate) mod cache;
pub(crate) mod capability;
pub(crate) mod chrdev;
pub(crate) mod class;
pub(crate) mod configfs;
pub(crate) mod debugfs;
pub(crate) mod dma;
pub(crate) mod dmabuf;
pub(crate) mod encryption;
pub(crate) mod errno;
pub(crate) mod folio;
mod helpers;
pub(crate) mod inode;
pub(crate) mod iomem;
pub(crate) mod iov;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod pci;
pub(crate) mod revocable;
mod rwsem;
mod splice;
pub(crate) mod task;
pub(crate) mod threads;
pub(crate) mod vma;
mod vmap;
pub(crate) mod wait;
