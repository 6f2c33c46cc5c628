// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that devices use too, while the processor uses it.

use crate::device::Device;
use crate::error::Result;
use chrmem_uapi::abi;

/// What the processor does with memory that devices use too.
///
/// ```no_run
/// let device = chrmem::Device::open("/dev/chrmem0")?;
/// let access = device.sync(.., chrmem::Direction::ReadWrite)?;
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It reads what devices have written.
    Read,
    /// It writes what devices will read.
    Write,
    /// Both.
    ReadWrite,
}

impl Direction {
    /// The direction as `SYNC_*` bits.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Read => abi::SYNC_READ,
            Self::Write => abi::SYNC_WRITE,
            Self::ReadWrite => abi::SYNC_READ | abi::SYNC_WRITE,
        }
    }
}

/// An access by the processor to memory that devices use too: [`Device::sync`] begins it, and it ends
/// when this is dropped.
///
/// ```no_run
/// use chrmem::{Device, Direction};
///
/// let device = Device::open("/dev/chrmem0")?;
/// let memory = device.map(..4096)?;
/// let access = device.sync(..4096, Direction::Write)?;
/// memory.copy_from(0, b"for the hardware")?;
/// access.end()?;
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct CpuAccess<'a> {
    device: &'a Device,
    /// The first byte and the byte after the last.
    range: (u64, u64),
    direction: Direction,
    ended: bool,
}

impl<'a> CpuAccess<'a> {
    /// Begins an access.
    pub(crate) fn begin(
        device: &'a Device,
        range: (u64, u64),
        direction: Direction,
    ) -> Result<Self> {
        device.say_sync(range, direction.bits(), "begin")?;
        Ok(Self {
            device,
            range,
            direction,
            ended: false,
        })
    }

    /// Ends the access, and tells if that failed, which dropping it does not.
    ///
    /// # Errors
    ///
    /// `NODEV` if the device has been destroyed meanwhile.
    ///
    /// ```no_run
    /// use chrmem::{Device, Direction};
    ///
    /// let device = Device::open("/dev/chrmem0")?;
    /// device.sync(.., Direction::Read)?.end()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn end(mut self) -> Result<()> {
        self.say_end()
    }

    fn say_end(&mut self) -> Result<()> {
        self.ended = true;
        let flags = self.direction.bits() | abi::SYNC_END;
        self.device.say_sync(self.range, flags, "end")
    }
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Nobody is left who could be told; the device is gone then.
            let _ = self.say_end();
        }
    }
}
