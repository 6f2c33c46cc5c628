// SPDX-License-Identifier: MIT OR Apache-2.0

//! What has changed in tracked windows.

use crate::device::Device;
use crate::error::Result;
use crate::wait;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What a look at a device's tracked windows found: [`Device::changes`] gives it.
///
/// ```no_run
/// let device = chrmem::Device::open("/dev/chrmem-frames")?;
/// let changes = device.changes(0)?;
/// let bytes: u64 = changes.ranges.iter().map(|it| it.end - it.start).sum();
/// println!("{bytes} bytes have been written since the device was made");
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The generation that this look is complete up to: give it to the next.
    pub generation: u64,
    /// Bytes of the device that may have changed, in order: whole pages, but for the ends of the range that was asked about. Each lies in
    /// one window.
    pub ranges: Vec<Range<u64>>,
}

impl Changes {
    /// Whether nothing has changed.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// let before = device.changes(0)?.generation;
    /// assert!(device.changes(before)?.is_empty());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// Changes of a device's tracked windows as they come: [`Device::watch_changes`] makes it.
///
/// As an iterator, it waits for the next change for ever, and gives an error again and again where there is one: after the
/// first, stop.
///
/// ```no_run
/// for changes in chrmem::Device::open("/dev/chrmem-frames")?.watch_changes(0) {
///     for range in changes?.ranges {
///         println!("changed: bytes {}..{}", range.start, range.end);
///     }
/// }
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct WatchChanges<'a> {
    device: &'a Device,
    /// The first byte, and the byte after the last if it was given.
    range: (u64, Option<u64>),
    since: u64,
    /// Whether it has looked: whatever has changed since makes the device readable.
    looked: bool,
}

impl<'a> WatchChanges<'a> {
    pub(crate) fn new(device: &'a Device, range: (u64, Option<u64>), since: u64) -> Self {
        Self {
            device,
            range,
            since,
            looked: false,
        }
    }

    /// What has changed since the last look. If nothing has, waits until something does, or for as long as `timeout` says, if
    /// it says: `None` if the time is over.
    ///
    /// # Errors
    ///
    /// As [`Device::changes`]. `NODEV` if the device was destroyed, also while waiting.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// let mut watch = device.watch_changes(0);
    /// while let Some(changes) = watch.next_within(Some(Duration::from_secs(1)))? {
    ///     println!("{:?}", changes.ranges);
    /// }
    /// println!("no change in a second");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn next_within(&mut self, timeout: Option<Duration>) -> Result<Option<Changes>> {
        // What is too long for a clock is forever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.looked {
                let left =
                    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if !wait::readable(self.device, left)
                    .map_err(|errno| self.device.refused("wait for a change of", errno))?
                {
                    return Ok(None);
                }
            }
            let (start, end) = self.range;
            let end = match end {
                Some(end) => end,
                // It stays what it is.
                None => *self.range.1.insert(self.device.info()?.size),
            };
            let changes = self.device.changes_in(start..end, self.since)?;
            (self.since, self.looked) = (changes.generation, true);
            if !changes.is_empty() {
                return Ok(Some(changes));
            }
        }
    }
}

impl Iterator for WatchChanges<'_> {
    type Item = Result<Changes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_within(None).transpose()
    }
}
