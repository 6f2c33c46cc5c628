// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine that is examined.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A machine: this one, or one that tests made up.
pub(crate) struct Machine {
    /// The root of its files.
    root: PathBuf,
    /// What `uname -r` prints.
    pub(super) release: String,
    /// What `uname -m` prints.
    pub(super) processor: String,
    /// What `rustc --version` prints, if there is one.
    pub(super) compiler: Option<String>,
}

impl Machine {
    /// The machine that the program runs on.
    pub(crate) fn this() -> Self {
        let uname = rustix::system::uname();
        Self {
            root: "/".into(),
            release: uname.release().to_string_lossy().into_owned(),
            processor: uname.machine().to_string_lossy().into_owned(),
            compiler: compiler(),
        }
    }

    /// Where a file of it is.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether it has a file.
    pub(super) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// What is in a file, if it can be read.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// A file of the running kernel's folder.
    pub(super) fn kernel_file(&self, file: &str) -> PathBuf {
        Path::new("/lib/modules").join(&self.release).join(file)
    }

    /// Whether the module is loaded.
    pub(super) fn is_loaded(&self) -> bool {
        self.has("/sys/module/chrmem")
    }

    /// Whether modprobe would find the module.
    pub(super) fn is_installed(&self) -> bool {
        let list = self
            .text(self.kernel_file("modules.dep"))
            .unwrap_or_default();
        list.lines()
            .filter_map(|line| Path::new(line.split_once(':')?.0).file_name()?.to_str())
            .any(|file| file == "chrmem.ko" || file.starts_with("chrmem.ko."))
    }

    /// The value of an option in the running kernel's configuration, `None` if that is nowhere; an
    /// option that is not set is empty.
    pub(super) fn option(&self, name: &str) -> Option<String> {
        let config = self
            .text(format!("/boot/config-{}", self.release))
            .or_else(|| self.text(self.kernel_file("config")))
            .or_else(|| self.text(self.kernel_file("build/.config")))?;
        let value = config
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        Some(value.unwrap_or_default().trim_matches('"').to_owned())
    }
}

/// What the Rust compiler says of itself.
fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine with some files, which are there for as long as the folder is.
    pub(in crate::doctor) fn made_up(files: &[(&str, &str)]) -> (Machine, tempfile::TempDir) {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let machine = Machine {
            root: root.path().into(),
            release: "7.2.12-amd64".to_owned(),
            processor: "x86_64".to_owned(),
            compiler: Some("rustc 1.85.1 (4eb161250 2025-03-15)".to_owned()),
        };
        (machine, root)
    }

    #[test]
    fn options_are_found_where_distributions_put_them() {
        let text = "CONFIG_RUST=y\n# CONFIG_KUNIT is not set\nCONFIG_NAME=\"a b\"\n";
        for file in [
            "boot/config-7.2.12-amd64",
            "lib/modules/7.2.12-amd64/config",
            "lib/modules/7.2.12-amd64/build/.config",
        ] {
            let (machine, _files) = made_up(&[(file, text)]);
            let option = |name| machine.option(name);
            assert_eq!(option("CONFIG_RUST").as_deref(), Some("y"), "{file}");
            assert_eq!(option("CONFIG_KUNIT").as_deref(), Some(""), "{file}");
            assert_eq!(option("CONFIG_RUS").as_deref(), Some(""), "{file}");
            assert_eq!(option("CONFIG_NAME").as_deref(), Some("a b"), "{file}");
        }
        let (machine, _files) = made_up(&[("boot/config-6.1", text)]);
        assert_eq!(machine.option("CONFIG_RUST"), None);
    }

    #[test]
    fn modprobe_finds_the_module_compressed_or_not() {
        for (line, found) in [
            ("updates/dkms/chrmem.ko:", true),
            ("kernel/drivers/misc/chrmem.ko.xz: kernel/a.ko", true),
            ("kernel/other.ko: updates/chrmem.ko", false),
            ("kernel/notchrmem.ko:", false),
        ] {
            let (machine, _files) = made_up(&[("lib/modules/7.2.12-amd64/modules.dep", line)]);
            assert_eq!(machine.is_installed(), found, "{line}");
        }
    }
}
