// SPDX-License-Identifier: MIT OR Apache-2.0

//! One run of the VM: what goes in, what comes out, and whether all went well.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use duct::Handle;
use fs_err as fs;
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr, OptionalActions};

use crate::progress::{tail, Step};
use crate::setup::Lab;
use crate::vm::Args;
use crate::{cache, driver, interrupt, machine, trouble};

/// How long the guest may take until its first own program runs.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take to power off.
const END_LIMIT: Duration = Duration::from_secs(30);

/// A run that is being prepared.
pub(crate) struct Job<'a> {
    args: &'a Args,
    lab: &'a Lab,
    /// The directory whose contents the guest has in /lab, inside the run's own.
    dir: tempfile::TempDir,
    interactive: bool,
}

/// How a run ended.
pub(crate) struct Outcome {
    /// The command's exit status.
    pub(crate) status: u8,
    /// What went wrong beside it.
    pub(crate) faults: Vec<String>,
    /// The kernel's log.
    pub(crate) console: PathBuf,
}

impl Outcome {
    /// An error if anything but the command went wrong; only then is the kernel's log worth keeping.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Some(first) = self.faults.first() else {
            return Ok(());
        };
        for fault in &self.faults[1..] {
            eprintln!("error: {fault}");
        }
        let log = String::from_utf8_lossy(&fs::read(&self.console)?).replace('\r', "");
        bail!(
            "{first}\nThe kernel's log says (all of it: {}):\n{}",
            self.console.display(),
            trouble::excerpt(&log)
        );
    }
}

/// What the threads that listen to the guest report.
enum Event {
    /// A line of `guest/init`.
    Said(String),
    /// A line of the kernel's log that should not be there.
    Trouble(String),
    /// The connection is gone, and so is the guest.
    Closed,
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
            said("QEMU", &self.path("qemu.log")),
            said("The kernel", &guest.console)
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

    /// Starts QEMU and connects to it.
    fn start(&self) -> Result<Guest> {
        let mut listeners = Vec::new();
        for name in machine::PORTS.iter().chain(&[machine::CONSOLE]) {
            let path = self.path(name);
            if path.exists() {
                fs::remove_file(&path)?;
            }
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen on {}", path.display()))?;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
        let step = Step::new(format!("booting Linux {}", self.lab.kernel.version), None);
        let qemu = machine::qemu(self.lab, self.args, self.dir.path(), self.interactive)?;
        let qemu = match self.interactive {
            true => qemu,
            false => qemu
                .stdin_null()
                .stderr_to_stdout()
                .stdout_path(self.path("qemu.log")),
        };
        let qemu = Machine {
            handle: qemu.unchecked().start()?,
        };
        let mut streams = Vec::new();
        for listener in &listeners {
            streams.push(
                qemu.accept(listener)
                    .with_context(|| format!("QEMU failed:\n{}", tail(&self.path("qemu.log"))))?,
            );
        }
        let [control, stdin, stdout, stderr, console] = <[UnixStream; 5]>::try_from(streams)
            .ok()
            .context("not five connections")?;
        let log = cache::logs()?.join(format!("console-{}.log", std::process::id()));
        let (sender, events) = channel();
        listen_to_control(control, sender.clone());
        let console_thread = listen_to_console(console, &log, sender)?;
        Ok(Guest {
            qemu,
            step: Some(step),
            events,
            stdin,
            stdout,
            stderr,
            console: log,
            console_thread,
        })
    }
}

/// QEMU, which does not outlive this value.
struct Machine {
    handle: Handle,
}

impl Machine {
    /// The connection that QEMU makes.
    fn accept(&self, listener: &UnixListener) -> Result<UnixStream> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            ensure!(
                self.handle.try_wait()?.is_none(),
                "it ended before it connected"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself, which is not an error.
        let _ = self.handle.kill();
    }
}

/// A guest under way.
struct Guest {
    qemu: Machine,
    step: Option<Step>,
    events: Receiver<Event>,
    stdin: UnixStream,
    stdout: UnixStream,
    stderr: UnixStream,
    console: PathBuf,
    console_thread: JoinHandle<()>,
}

impl Guest {
    /// Waits until the guest's first own program runs; false if the guest ends instead.
    fn boot(&mut self) -> Result<bool> {
        let limit = Instant::now() + BOOT_LIMIT;
        loop {
            match self
                .events
                .recv_timeout(limit.saturating_duration_since(Instant::now()))
            {
                Ok(Event::Said(line)) if line == "ready" => {
                    self.step = None;
                    return Ok(true);
                }
                Ok(Event::Said(line)) => bail!("the guest says `{line}` before it is ready"),
                Ok(Event::Trouble(_)) => {}
                Ok(Event::Closed) | Err(_) => return Ok(false),
            }
        }
    }

    /// Passes the command's data on until the guest is off.
    fn run(
        self,
        limit: Duration,
        stdout: impl Write + Send + 'static,
        interactive: bool,
    ) -> Result<Outcome> {
        let terminal = interactive
            .then(|| tcgetattr(std::io::stdin()))
            .transpose()?;
        if !interactive {
            send(self.stdin);
        }
        let copies = [
            copy(self.stdout, stdout),
            copy(self.stderr, std::io::stderr()),
        ];
        let mut deadline = (!interactive).then(|| Instant::now() + limit);
        let mut status = None;
        let mut faults = Vec::new();
        let mut ended = false;
        loop {
            let event = match deadline {
                Some(deadline) => self
                    .events
                    .recv_timeout(deadline.saturating_duration_since(Instant::now())),
                None => self.events.recv().map_err(Into::into),
            };
            match event {
                Ok(Event::Said(line)) => match line.split_once(' ') {
                    Some(("fault", text)) => faults.push(text.to_owned()),
                    Some(("exit", number)) => {
                        status = Some(number.parse().context("the guest's exit status")?);
                        deadline = Some(Instant::now() + END_LIMIT);
                    }
                    _ if line == "end" => ended = true,
                    _ => bail!("the guest says `{line}`"),
                },
                Ok(Event::Trouble(line)) => faults.push(format!("the kernel says: {line}")),
                Err(RecvTimeoutError::Timeout) => {
                    faults.push(match status {
                        None => format!(
                            "the command did not end within {} s (--timeout)",
                            limit.as_secs()
                        ),
                        Some(_) => format!(
                            "the guest did not power off within {} s",
                            END_LIMIT.as_secs()
                        ),
                    });
                    break;
                }
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // QEMU's end closes its connections, and with that these threads.
        if ended {
            self.qemu.handle.wait_timeout(END_LIMIT)?;
        }
        drop(self.qemu);
        for thread in copies {
            let _ = thread.join();
        }
        let _ = self.console_thread.join();
        if let Some(terminal) = terminal {
            tcsetattr(std::io::stdin(), OptionalActions::Now, &terminal)?;
        }
        // What the kernel said last may have come after the last look.
        faults.extend(self.events.try_iter().filter_map(|event| match event {
            Event::Trouble(line) => Some(format!("the kernel says: {line}")),
            _ => None,
        }));
        if !ended && faults.is_empty() {
            faults.push("the guest ended in the middle of the run".into());
        }
        Ok(Outcome {
            status: status.unwrap_or(1),
            faults,
            console: self.console,
        })
    }
}

/// Reports each line of `guest/init`.
fn listen_to_control(stream: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if events.send(Event::Said(line)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Closed);
    });
}

/// Keeps the kernel's log, and reports the first line of trouble in it: the others follow from that one.
fn listen_to_console(
    stream: UnixStream,
    log: &Path,
    events: Sender<Event>,
) -> Result<JoinHandle<()>> {
    fs::create_dir_all(log.parent().context("a log without a directory")?)?;
    let mut file = fs::File::create(log)?;
    Ok(thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        let mut reported = false;
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            let _ = file.write_all(&line);
            let text = String::from_utf8_lossy(&line);
            if !reported && trouble::is_trouble(&text) {
                reported = true;
                let _ = events.send(Event::Trouble(text.trim_end().to_owned()));
            }
            line.clear();
        }
    }))
}

/// Passes our standard input on to the guest.
fn send(mut stream: UnixStream) {
    // Nobody waits for this thread: input that the command does not read stays where it is.
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut stream);
        // Half a close: after a whole one, QEMU does not read what is still on its way.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut [0]);
    });
}

/// Passes on what comes from the guest, at once.
fn copy(mut from: UnixStream, mut to: impl Write + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // When nobody reads it any more, the command still runs to its end.
            let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
        }
    })
}
