// SPDX-License-Identifier: MIT OR Apache-2.0

//! Safe access from user space to chrmem devices: memory that the Linux kernel owns.
//!
//! A [`Device`] is one character device, `/dev/chrmem0` for example. Its offsets are covered by
//! [`Window`]s, each with memory behind it. A [`Mapping`] is a range of one window in this process:
//! its bytes *are* the device's bytes, with no copy and no system call between.
//!
//! ```no_run
//! use chrmem::Device;
//!
//! let device = Device::open("/dev/chrmem0")?;
//! let memory = device.map(..)?;
//! memory.copy_from(0, b"User write to share memory!\0")?;
//! assert_eq!(memory.c_string(0)?, b"User write to share memory!");
//!
//! device.clear()?;
//! assert_eq!(memory.c_string(0)?, b"");
//! # Ok::<(), chrmem::Error>(())
//! ```
//!
//! Whoever else has the device open writes to the same memory, at any time. That is why a mapping
//! gives out no `&[u8]`: every access copies, by volatile loads and stores.

mod device;
mod error;
mod info;
mod mapping;
mod raw;

pub use device::Device;
pub use error::{Error, Result};
pub use info::{Access, CacheMode, Info, MemoryKind, Window};
pub use mapping::Mapping;
/// The kernel's reason in an [`Error`].
pub use rustix::io::Errno;
