// SPDX-License-Identifier: MIT OR Apache-2.0

//! A guest under way: what comes out of it, and whether all goes well.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use duct::{Expression, Handle};
use fs_err as fs;
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions};

use crate::progress::Step;
use crate::{cache, machine, trouble};

/// How long the guest may take until its first own program runs. It takes ten seconds where the host has nothing else to do,
/// and half a minute with sanitizers.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
/// How long it may take to power off.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How a run ended.
pub(crate) struct Outcome {
    /// The command's exit status.
    pub(crate) status: u8,
    /// What went wrong beside it.
    pub(crate) faults: Vec<String>,
    /// What the command should have removed.
    pub(crate) left: Vec<String>,
    /// The kernel's log.
    pub(crate) console: PathBuf,
}

impl Outcome {
    /// An error if anything but the command went wrong; only then is the kernel's log worth keeping.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Some(first) = self.faults.first() else {
            fs::remove_file(&self.console)?;
            ensure!(self.left.is_empty(), "{}", self.left.join("\nerror: "));
            return Ok(());
        };
        for left in &self.left {
            eprintln!("error: {left}");
        }
        for fault in &self.faults[1..] {
            eprintln!("error: {fault}");
        }
        let log = String::from_utf8_lossy(&fs::read(&self.console)?).replace('\r', "");
        bail!(
            "{first}\nThe kernel's log says (all of it: {}):\n{}",
            self.console.display(),
            excerpt(&log)
        );
    }
}

/// The lines to show: from a little before the first sign of trouble on.
fn excerpt(log: &str) -> String {
    const BEFORE: usize = 3;
    const MOST: usize = 80;
    let lines: Vec<_> = log.lines().collect();
    let start = match lines.iter().position(|line| trouble::is_trouble(line)) {
        Some(first) => first.saturating_sub(BEFORE),
        None => lines.len().saturating_sub(10),
    };
    lines[start..]
        .iter()
        .take(MOST)
        .map(|line| format!("    {line}\n"))
        .collect()
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

/// The guest.
pub(crate) struct Guest {
    qemu: Machine,
    step: Option<Step>,
    events: Receiver<Event>,
    /// What went wrong while it booted.
    faults: Vec<String>,
    stdin: UnixStream,
    stdout: UnixStream,
    stderr: UnixStream,
    console: PathBuf,
    console_thread: Option<JoinHandle<()>>,
}

impl Guest {
    /// Starts QEMU and connects to it; `run` is the run's directory, and `step` ends when the guest has booted.
    pub(crate) fn start(qemu: &Expression, run: &Path, step: Step) -> Result<Self> {
        let mut listeners = Vec::new();
        for name in machine::PORTS.iter().chain(&[machine::CONSOLE]) {
            let path = run.join(name);
            if path.exists() {
                fs::remove_file(&path)?;
            }
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen on {}", path.display()))?;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
        let qemu = Machine {
            handle: qemu.unchecked().start()?,
        };
        let streams: Result<Vec<_>> = listeners.iter().map(|one| qemu.accept(one)).collect();
        let [control, stdin, stdout, stderr, console] = <[UnixStream; 5]>::try_from(streams?)
            .ok()
            .context("not five connections")?;
        static GUESTS: AtomicU32 = AtomicU32::new(1);
        let number = GUESTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("console-{}-{number}.log", std::process::id());
        let log = cache::logs()?.join(name);
        let (sender, events) = channel();
        listen_to_control(control, sender.clone());
        let console_thread = Some(listen_to_console(console, &log, sender)?);
        Ok(Self {
            qemu,
            step: Some(step),
            events,
            faults: Vec::new(),
            stdin,
            stdout,
            stderr,
            console: log,
            console_thread,
        })
    }

    /// The file with the kernel's log.
    pub(crate) fn console(&self) -> &Path {
        &self.console
    }

    /// Waits until the guest's first own program runs; false if the guest ends instead.
    pub(crate) fn boot(&mut self) -> Result<bool> {
        let booted = boot(&self.events, BOOT_LIMIT, &mut self.faults)?;
        if booted {
            self.step = None;
        }
        Ok(booted)
    }

    /// Ends a guest that did not boot: whether its kernel complained, which a slow host alone does not make it do.
    pub(crate) fn ends_in_trouble(&mut self) -> bool {
        // It may have ended by itself, which is not an error.
        let _ = self.qemu.handle.kill();
        if let Some(thread) = self.console_thread.take() {
            let _ = thread.join();
        }
        let mut last = self.events.try_iter();
        !self.faults.is_empty() || last.any(|event| matches!(event, Event::Trouble(_)))
    }

    /// Passes the command's data on until the guest is off.
    pub(crate) fn run(
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
        let (mut faults, mut left) = (self.faults, Vec::new());
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
                    Some(("left", text)) => left.push(text.to_owned()),
                    Some(("exit", number)) => {
                        status = Some(number.parse().context("the guest's exit status")?);
                        deadline = Some(Instant::now() + END_LIMIT);
                    }
                    _ if line == "end" => ended = true,
                    _ => bail!("the guest says `{line}`"),
                },
                Ok(Event::Trouble(line)) => faults.push(complaint(&line)),
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
        let _ = self.console_thread.map(JoinHandle::join);
        if let Some(terminal) = terminal {
            tcsetattr(std::io::stdin(), OptionalActions::Now, &terminal)?;
        }
        // What the kernel said last may have come after the last look.
        faults.extend(self.events.try_iter().filter_map(|event| match event {
            Event::Trouble(line) => Some(complaint(&line)),
            _ => None,
        }));
        if !ended && faults.is_empty() {
            faults.push("the guest ended in the middle of the run".into());
        }
        Ok(Outcome {
            status: status.unwrap_or(1),
            faults,
            left,
            console: self.console,
        })
    }
}

/// A line of the kernel's log as a fault.
fn complaint(line: &str) -> String {
    format!("the kernel says: {line}")
}

/// Waits until the guest is ready, at most for `limit`; false if it ends instead. What the kernel complains of meanwhile is a fault
/// like any later one.
fn boot(events: &Receiver<Event>, limit: Duration, faults: &mut Vec<String>) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Said(line)) if line == "ready" => return Ok(true),
            Ok(Event::Said(line)) => bail!("the guest says `{line}` before it is ready"),
            Ok(Event::Trouble(line)) => faults.push(complaint(&line)),
            Ok(Event::Closed) | Err(_) => return Ok(false),
        }
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

#[cfg(test)]
mod tests {
    use super::{boot, excerpt, listen_to_console, Event, Outcome};
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_complaint_before_the_guest_is_ready_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kernel, console) = UnixStream::pair().unwrap();
        let (sender, events) = channel();
        let thread = listen_to_console(console, &dir.path().join("log"), sender.clone()).unwrap();
        kernel
            .write_all(b"[    0.5] fine\r\n[    0.6] WARNING: CPU: 0 PID: 1 at x\r\n")
            .unwrap();
        drop(kernel);
        thread.join().unwrap();
        sender.send(Event::Said("ready".into())).unwrap();
        let mut faults = Vec::new();
        assert!(boot(&events, Duration::from_secs(10), &mut faults).unwrap());
        assert_eq!(
            faults,
            ["the kernel says: [    0.6] WARNING: CPU: 0 PID: 1 at x"]
        );
    }

    #[test]
    fn what_was_left_is_an_error_without_the_kernel_s_log() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = |faults: &[&str]| {
            let console = dir.path().join("console");
            std::fs::write(&console, "[    0.5] fine\n").unwrap();
            Outcome {
                status: 0,
                faults: faults.iter().map(|it| (*it).to_owned()).collect(),
                left: vec!["the device camera is still there".into()],
                console,
            }
        };
        let error = outcome(&[]).verdict().unwrap_err().to_string();
        assert_eq!(error, "the device camera is still there");
        let error = outcome(&["rmmod"]).verdict().unwrap_err().to_string();
        assert!(error.starts_with("rmmod\nThe kernel's log says"), "{error}");
    }

    #[test]
    fn a_guest_that_ends_or_hangs_has_not_booted() {
        let (sender, events) = channel();
        let mut faults = Vec::new();
        assert!(!boot(&events, Duration::ZERO, &mut faults).unwrap());
        sender.send(Event::Closed).unwrap();
        assert!(!boot(&events, Duration::from_secs(10), &mut faults).unwrap());
        sender.send(Event::Said("exit 0".into())).unwrap();
        assert!(boot(&events, Duration::from_secs(10), &mut faults).is_err());
    }

    #[test]
    fn the_excerpt_begins_shortly_before() {
        let log = "a\nb\nc\nd\nBUG: x\ne\n";
        assert_eq!(excerpt(log), "    b\n    c\n    d\n    BUG: x\n    e\n");
        assert_eq!(excerpt("only\nthis\n"), "    only\n    this\n");
    }
}
