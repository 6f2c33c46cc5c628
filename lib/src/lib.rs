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
//! gives out no `&[u8]`: every access copies, or is atomic. If you can guarantee that there is no concurrent writer,
//! use the unsafe [`View::as_slice`].
//!
//! | to | there is |
//! |---|---|
//! | map a window or a range, read-only, private, locked | [`MapOptions`] |
//! | map a file that is no device, safe from its becoming shorter | [`MapOptions::map_file`] |
//! | copy bytes | [`Mapping::copy_to`], [`Mapping::copy_from`], [`Mapping::write_to`] |
//! | read and write values and arrays of them | [`Mapping::read`], [`Mapping::write`], [`Array`] |
//! | load and store atomically | [`Mapping::load`], [`Mapping::store`], [`Mapping::atomic`], [`Array::atomic`] |
//! | do all of that with a part of a mapping | [`View`] |
//! | tell others of a change, and wait for theirs | [`Device::notify`], [`Device::wait`] |
//! | learn that hardware was unplugged under a mapping | [`Mapping::check`], [`Window::gone`] |
//! | learn which pages others have stored into | [`Device::changes`], [`Device::watch_changes`] |
//! | stream records to another process | [`ring`] |
//! | share memory with hardware | [`Device::export`], [`Device::sync`] |
//!
//! A test needs no device: [`Mapping::anonymous`] has the same methods.

mod array;
mod atomic;
mod bell;
mod changes;
mod cpu_access;
mod device;
mod error;
mod file;
mod info;
mod map_options;
mod mapping;
#[cfg(feature = "measure")]
#[doc(hidden)]
pub mod measure;
mod raw;
pub mod ring;
mod view;
mod wait;

pub use array::Array;
pub use atomic::Atomic;
pub use bell::{Bell, EventBell};
pub use changes::{Changes, WatchChanges};
pub use cpu_access::{CpuAccess, Direction};
pub use device::Device;
pub use error::{Error, Result};
pub use info::{Access, CacheMode, Info, MemoryKind, Window};
pub use map_options::{MapOptions, WindowId};
pub use mapping::Mapping;
pub use raw::Word;
/// The kernel's reason in an [`Error`].
///
/// ```
/// let error = chrmem::Device::open("/nowhere").unwrap_err();
/// assert_eq!(error.errno(), Some(chrmem::Errno::NOENT));
/// ```
pub use rustix::io::Errno;
pub use view::View;
/// The crate whose traits say which types a mapping can be read and written as.
///
/// ```
/// use chrmem::zerocopy::little_endian::U32;
///
/// let memory = chrmem::Mapping::anonymous(4096)?;
/// memory.write(10, &U32::new(7))?;
/// # Ok::<(), chrmem::Error>(())
/// ```
pub use zerocopy;
