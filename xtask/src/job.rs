// SPDX-License-Identifier: MIT OR Apache-2.0

//! One run of the VM: what goes into it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use fs_err as fs;
use rustix::termios::tcgetwinsize;

use crate::guest::{Guest, Outcome};
use crate::progress::{tail, Step};
use crate::root::Root;
use crate::setup::Lab;
use crate::vm::Args;
use crate::{driver, interrupt, machine, workspace};

/// What QEMU says, in the run's directory.
const QEMU_LOG: &str = "qemu.log";

/// A run that is being prepared.
pub(crate) struct Job<'a> {
    args: &'a Args,
    lab: &'a Lab,
    /// What the guest's programs are, if not the lab's.
    root: Option<&'a Root>,
    /// The directory whose contents the guest has in /lab, inside the run's own.
    dir: tempfile::TempDir,
    interactive: bool,
}

impl<'a> Job<'a> {
    /// Prepares a run: builds the driver, and puts it and the programs where the guest will find them.
    pub(crate) fn new(args: &'a Args, lab: &'a Lab, programs: &[PathBuf]) -> Result<Self> {
        // In the system's own place for such: the path of a socket can't be long.
        let dir = tempfile::Builder::new().prefix("chrmem-").tempdir()?;
        interrupt::remove_on_exit(dir.path());
        fs::create_dir_all(dir.path().join("lab/bin"))?;
        machine::make_hardware(dir.path())?;
        let mut job = Self {
            args,
            lab,
            root: None,
            dir,
            interactive: true,
        };
        job.add("init", include_bytes!("../guest/init"))?;
        rustix::fs::chmod(job.path("lab/init"), 0o755.into())?;
        fs::copy(driver::build(lab)?, job.path("lab/chrmem.ko"))?;
        for program in programs {
            let name = program.file_name().context("a program without a name")?;
            fs::copy(program, job.path("lab/bin").join(name))?;
        }
        Ok(job)
    }

    /// Adds a file to the guest's /lab.
    pub(crate) fn add(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        Ok(fs::write(self.path("lab").join(name), contents)?)
    }

    /// Adds what the documentation's commands name: the examples, the C header, and the library's examples, compiled.
    pub(crate) fn examples(&mut self, rust: &[PathBuf]) -> Result<()> {
        let files = workspace::files()?
            .into_iter()
            .filter(|file| file.starts_with("examples/") || file.starts_with("uapi/include/"));
        for file in files {
            self.copy(&workspace::dir().join(&file), Path::new(&file))?;
        }
        for program in rust {
            let name = program.file_name().context("a program without a name")?;
            self.copy(program, &Path::new("examples/rust").join(name))?;
        }
        Ok(())
    }

    /// Copies a file to a path in the guest's /lab.
    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.path("lab").join(to);
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(from, to)?;
        Ok(())
    }

    /// Gives the guest another tree than the lab's.
    pub(crate) fn root(&mut self, root: &'a Root) {
        self.root = Some(root);
    }

    /// Says which command to run, instead of a shell for the user.
    pub(crate) fn command<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) -> Result<()> {
        let line = shlex::try_join(words).context("the command can't be passed on")?;
        self.interactive = false;
        self.add("command", format!("exec {line}\n").as_bytes())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Boots and runs. The command's standard output goes to `stdout`, its standard error to ours.
    pub(crate) fn run(mut self, stdout: impl Write + Send + 'static) -> Result<Outcome> {
        ensure!(
            !self.interactive
                || (std::io::stdin().is_terminal() && std::io::stdout().is_terminal()),
            "without a command, `vm` needs a terminal for the guest's shell"
        );
        self.settings()?;
        let mut guest = self.start()?;
        if !guest.boot()? {
            // A slow host is no reason to fail, a kernel that complains is.
            ensure!(
                !guest.ends_in_trouble(),
                "the kernel does not boot.\n{}",
                self.words(&guest)
            );
            eprintln!(
                "lab: trying once more, because the guest did not boot.\n{}",
                self.words(&guest)
            );
            drop(guest);
            guest = self.start()?;
            if !guest.boot()? {
                bail!("the guest does not boot.\n{}", self.words(&guest));
            }
        }
        guest.run(
            Duration::from_secs(self.args.timeout),
            stdout,
            self.interactive,
        )
    }

    /// The last words of QEMU and of the kernel in it.
    fn words(&self, guest: &Guest) -> String {
        let said = |who: &str, log: &Path| match tail(log) {
            text if text.trim().is_empty() => format!("{who} said nothing."),
            text => format!("{who} said:\n{text}"),
        };
        format!(
            "{}\n{}",
            said("QEMU", &self.path(QEMU_LOG)),
            said("The kernel", guest.console())
        )
    }

    /// Writes what `guest/init` reads.
    fn settings(&mut self) -> Result<()> {
        let flag = |set: bool| if set { "1" } else { "" };
        let size = tcgetwinsize(std::io::stdout())
            .ok()
            .filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let text = [
            ("LOAD", flag(!self.args.no_load).to_owned()),
            ("PARAMS", self.args.params.clone()),
            ("INTERACTIVE", flag(self.interactive).to_owned()),
            ("SOURCE", self.lab.kernel.source()),
            (
                "FIRMWARE",
                flag(self.lab.arch.machine.has_firmware).to_owned(),
            ),
            ("SHARE", flag(self.args.share.is_some()).to_owned()),
            ("ROWS", size.map_or(24, |size| size.ws_row).to_string()),
            ("COLUMNS", size.map_or(80, |size| size.ws_col).to_string()),
            (
                "TERMINAL",
                std::env::var("TERM").unwrap_or_else(|_| "linux".into()),
            ),
        ];
        let mut file = String::new();
        for (name, value) in text {
            file += &format!("{name}={}\n", shlex::try_quote(&value)?);
        }
        self.add("settings", file.as_bytes())
    }

    /// Starts the guest.
    fn start(&self) -> Result<Guest> {
        let step = Step::new(format!("booting {}", self.lab.kernel.name()), None);
        let root = self.root.unwrap_or(&self.lab.guest);
        let qemu = machine::qemu(self.lab, root, self.args, self.dir.path(), self.interactive)?;
        let qemu = match self.interactive {
            true => qemu,
            false => qemu
                .stdin_null()
                .stderr_to_stdout()
                .stdout_path(self.path(QEMU_LOG)),
        };
        Guest::start(&qemu, self.dir.path(), step)
            .with_context(|| format!("QEMU failed:\n{}", tail(&self.path(QEMU_LOG))))
    }
}
