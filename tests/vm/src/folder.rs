// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device that is made in configfs.

use crate::driver::{in_bytes, open_node, shown_of, Shown};
use crate::kmsg::Mark;
use chrmem::Device;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The folder that has a folder for each device.
const ROOT: &str = "/sys/kernel/config/chrmem";

/// A device's folder. When dropped, the device is destroyed and the folder goes.
#[derive(Debug)]
pub(crate) struct Folder {
    name: String,
}

/// Whether RAM of which there are pages can have another cache mode than `cached`. On arm64, the kernel has all of it mapped cached.
pub(crate) const RAM_HAS_MODES: bool = !cfg!(target_arch = "aarch64");

/// The settings of a window without a cache mode that the window's memory cannot have.
fn possible(settings: &str) -> String {
    let words = settings.split_whitespace();
    let is_ram = |words: &[&str]| {
        let kind = words.iter().find_map(|word| word.strip_prefix("memory="));
        matches!(kind, None | Some("pages" | "contiguous"))
    };
    let words: Vec<_> = words.collect();
    let drop_mode = !RAM_HAS_MODES && is_ram(&words);
    let kept = words
        .iter()
        .filter(|word| !(drop_mode && word.starts_with("cache=")));
    kept.copied().collect::<Vec<_>>().join(" ")
}

impl Folder {
    /// Makes the folder of a device that is not there yet.
    pub(crate) fn new(name: &str) -> Self {
        Self::make(name).unwrap_or_else(|error| panic!("mkdir {name}: {error}"))
    }

    /// Makes the folder, if the driver lets it.
    pub(crate) fn make(name: &str) -> Result<Self, Errno> {
        make_folder(&Path::new(ROOT).join(name))?;
        Ok(Self { name: name.into() })
    }

    /// Makes and builds a device with these windows: their names and settings.
    pub(crate) fn live(name: &str, windows: &[(&str, &str)]) -> Self {
        let folder = Self::new(name);
        for (window, settings) in windows {
            folder.window(window, settings);
        }
        folder.build();
        folder
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(ROOT).join(&self.name)
    }

    /// Where a window's folder is.
    pub(crate) fn path_of(&self, window: &str) -> PathBuf {
        self.path().join("windows").join(window)
    }

    /// Makes a window with settings such as `size=2pages cache=noncached`. Where all RAM is cached, its cache mode is left out.
    pub(crate) fn window(&self, window: &str, settings: &str) {
        self.window_exactly(window, &possible(settings));
    }

    /// Makes a window with these settings.
    pub(crate) fn window_exactly(&self, window: &str, settings: &str) {
        self.make_window(window)
            .unwrap_or_else(|error| panic!("mkdir {window}: {error}"));
        self.change(window, settings);
    }

    /// Changes a window's settings.
    pub(crate) fn change(&self, window: &str, settings: &str) {
        for setting in in_bytes(settings).split_whitespace() {
            let (attribute, value) = setting.split_once('=').expect("a setting");
            self.set(window, attribute, value)
                .unwrap_or_else(|error| panic!("{window}: {setting}: {error}"));
        }
    }

    /// Makes a window's folder.
    pub(crate) fn make_window(&self, window: &str) -> Result<(), Errno> {
        make_folder(&self.path_of(window))
    }

    /// Removes a window's folder.
    pub(crate) fn remove_window(&self, window: &str) -> Result<(), Errno> {
        rustix::fs::rmdir(self.path_of(window))
    }

    /// Writes one setting of a window.
    pub(crate) fn set(
        &self,
        window: &str,
        attribute: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Errno> {
        write(&self.path_of(window).join(attribute), value.as_ref())
    }

    /// One setting of a window.
    pub(crate) fn get(&self, window: &str, attribute: &str) -> String {
        line(&self.path_of(window).join(attribute))
    }

    /// Writes `live`.
    pub(crate) fn set_live(&self, text: &str) -> Result<(), Errno> {
        write(&self.path().join("live"), text.as_bytes())
    }

    /// Builds the device.
    pub(crate) fn build(&self) {
        self.set_live("1")
            .unwrap_or_else(|error| panic!("{}: live=1: {error}", self.name));
    }

    /// Destroys the device.
    pub(crate) fn destroy(&self) {
        self.set_live("0")
            .unwrap_or_else(|error| panic!("{}: live=0: {error}", self.name));
    }

    /// Removes the folder, which has no windows any more.
    pub(crate) fn remove(&self) -> Result<(), Errno> {
        rustix::fs::rmdir(self.path())
    }

    /// Asserts that the device cannot be built: with this error, for a reason that is one line in
    /// the kernel's log, with all of `words` and the device's name in it. Nothing is left half-made.
    /// Gives the line.
    pub(crate) fn cannot_be_built(&self, errno: Errno, words: &[&str]) -> String {
        let name = self.device_name();
        let words = [&[name.as_str()], words].concat();
        let line = refused(errno, &words, || self.set_live("1"));
        assert!(!self.is_live());
        line
    }

    /// Whether the device is there, in `live` and everywhere else that shows it.
    pub(crate) fn is_live(&self) -> bool {
        let live = match line(&self.path().join("live")).as_str() {
            "1" => true,
            "0" => false,
            other => panic!("live is {other:?}"),
        };
        assert_eq!(self.is_seen(), live, "{}", self.name);
        live
    }

    /// Whether node, debugfs and class have the device: all of them or none.
    pub(crate) fn is_seen(&self) -> bool {
        let places = ["/dev", "/sys/kernel/debug/chrmem", "/sys/class/chrmem"];
        let seen = places.map(|place| Path::new(place).join(self.device_name()).exists());
        assert!(seen == [true; 3] || seen == [false; 3], "{seen:?}");
        seen[0]
    }

    /// What the device is called, whether it is there or not.
    pub(crate) fn device_name(&self) -> String {
        format!("chrmem-{}", self.name)
    }

    /// The path of the device's node.
    pub(crate) fn node(&self) -> String {
        format!("/dev/{}", self.device_name())
    }

    /// Opens the device for reading and writing.
    pub(crate) fn open(&self) -> OwnedFd {
        self.open_as(OFlags::RDWR)
    }

    /// Opens the device.
    pub(crate) fn open_as(&self, flags: OFlags) -> OwnedFd {
        let node = self.node();
        open_node(&node, flags).unwrap_or_else(|error| panic!("{node}: {error}"))
    }

    /// Opens the device as the library does.
    pub(crate) fn device(&self) -> Device {
        Device::try_from(self.open()).expect("a device")
    }

    /// What debugfs shows of the device.
    pub(crate) fn shown(&self) -> Shown {
        shown_of(&self.device_name())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test may have removed it by itself.
        if self.path().exists() {
            let removed = remove(&self.path());
            assert!(
                removed == Ok(()) || std::thread::panicking(),
                "{self:?}: {removed:?}"
            );
        }
    }
}

/// Removes all folders: what a test that was killed may have left.
pub(crate) fn remove_all() {
    for entry in fs::read_dir(ROOT).into_iter().flatten().flatten() {
        if let Err(error) = remove(&entry.path()) {
            eprintln!("{entry:?}: {error}");
        }
    }
}

/// Destroys a device and removes its folder.
fn remove(device: &Path) -> Result<(), Errno> {
    write(&device.join("live"), b"0")?;
    for window in fs::read_dir(device.join("windows"))
        .into_iter()
        .flatten()
        .flatten()
    {
        rustix::fs::rmdir(window.path())?;
    }
    rustix::fs::rmdir(device)
}

/// Asserts that something fails so, for a reason that is one line in the kernel's log, with all of
/// `words` in it. Gives the line.
pub(crate) fn refused<T>(
    errno: Errno,
    words: &[&str],
    act: impl FnOnce() -> Result<T, Errno>,
) -> String {
    let log = Mark::now();
    assert_eq!(act().err(), Some(errno), "{words:?}");
    let lines = log.driver();
    let [line] = &lines[..] else {
        panic!("{} lines, {words:?}: {lines:?}", lines.len());
    };
    for word in words {
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
    line.clone()
}

/// Makes a folder.
pub(crate) fn make_folder(path: &Path) -> Result<(), Errno> {
    rustix::fs::mkdir(path, Mode::RWXU | Mode::RGRP | Mode::XGRP)
}

/// Writes all of a file with one call.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Errno> {
    let count = rustix::io::write(open_node(path, OFlags::WRONLY)?, bytes)?;
    assert_eq!(count, bytes.len(), "{path:?}");
    Ok(())
}

/// The one line that a file has.
fn line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "{path:?}: {text:?}");
    line.to_owned()
}
