// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boots of the VM in which its tests run.

use std::thread;

use anyhow::{anyhow, ensure, Context, Result};
use duct::cmd;

use crate::arch::Arch;
use crate::count::Count;
use crate::job::Job;
use crate::programs::Programs;
use crate::setup::Lab;
use crate::tee::Tee;
use crate::vm::Args;
use crate::{elsewhere, kernel, report};

/// One boot of the VM in which the VM tests run.
pub(crate) struct Boot {
    /// What reports and the tests call it.
    pub(crate) name: &'static str,
    /// More for the kernel's command line.
    append: &'static str,
    /// Which part of the tests it is for, if not for all: `1/2` and `2/2` are halves.
    part: Option<&'static str>,
    /// How many seconds the tests may take.
    limit: u64,
}

/// What the tests are told as well, where the environment says it.
const PASSED_ON: &[&str] = &["CHRMEM_SEED", "CHRMEM_STEPS"];

impl Boot {
    /// What the VM is to be, with the kernel called `kernel`.
    pub(crate) fn args(&self, arch: &'static Arch, kernel: &str) -> Args {
        Args {
            arch,
            kernel: kernel.into(),
            append: self.append.into(),
            timeout: self.limit,
            ..Args::default()
        }
    }

    /// What its lines begin with.
    fn label(&self) -> String {
        match self.part {
            Some(part) => format!("{} {part}", self.name),
            None => self.name.into(),
        }
    }

    /// What the tests are told, as `NAME=VALUE`.
    fn variables(&self) -> Vec<String> {
        let given = PASSED_ON
            .iter()
            .filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
        let part = self.part.map(|part| format!("CHRMEM_PART={part}"));
        let boot = format!("CHRMEM_BOOT={}", self.name);
        given.chain(part).chain([boot]).collect()
    }
}

/// As users boot the kernel.
pub(crate) const PLAIN: Boot = Boot {
    name: "plain",
    append: "",
    part: None,
    limit: 2400,
};

/// With what the distribution's kernel has to find mistakes with. New memory is not zeroed unless it is asked for, and what
/// is freed is overwritten. The memory is that of two nodes.
pub(crate) const HARDENED: Boot = Boot {
    name: "hardened",
    append: "slab_debug=FZPU page_poison=1 init_on_alloc=0 init_on_free=1 kfence.sample_interval=1 panic_on_warn=1 numa=fake=2",
    part: None,
    limit: 3000,
};

/// The kernel with sanitizers.
pub(crate) const fn debug(part: Option<&'static str>) -> Boot {
    Boot {
        name: "debug",
        append: "",
        part,
        limit: 4800,
    }
}

/// The boots for the kernel called `kernel`.
fn boots(kernel: &str) -> &'static [Boot] {
    match kernel {
        kernel::STOCK => &[PLAIN, HARDENED],
        kernel::DEBUG => &const { [debug(Some("1/2")), debug(Some("2/2"))] },
        _ => &[PLAIN],
    }
}

/// Runs the VM tests, with the driver loaded, in all boots for the kernel at the same time: with sanitizers a test keeps hardly more
/// than one of the host's processors busy, and without them nothing is lost by it.
pub(crate) fn run_all(
    lab: &Lab,
    kernel: &str,
    programs: &Programs,
    filter: &[String],
) -> Result<Vec<Count>> {
    let boots: Vec<_> = boots(kernel)
        .iter()
        .map(|boot| (boot, boot.args(lab.arch, kernel)))
        .collect();
    let mut runs = Vec::new();
    for (boot, args) in &boots {
        // Programs of another architecture list nothing here.
        let listed = match lab.arch.is_foreign() {
            true => None,
            false => Some(list(programs, boot, filter)?),
        };
        ensure!(
            listed != Some(0) || !filter.is_empty(),
            "there are no VM tests for {}",
            boot.label()
        );
        if listed != Some(0) {
            let job = prepare(lab, args, boot, programs, filter)?;
            let (kernel, label) = (lab.kernel.name(), boot.label());
            println!("\n     Running the VM tests on {kernel}, {label}");
            runs.push((*boot, listed, job));
        }
    }
    at_once(runs, |(boot, listed, job)| {
        boot_tests(lab, kernel, boot, listed, job, filter.is_empty()).unwrap_or_else(Count::broken)
    })
}

/// Has runs of the VM under way at the same time; gives what they give, in order.
pub(crate) fn at_once<T: Send, R: Send>(
    runs: Vec<T>,
    run: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let run = &run;
        let start = |it| scope.spawn(move || run(it));
        let threads: Vec<_> = runs.into_iter().map(start).collect();
        let end = |thread: thread::ScopedJoinHandle<'_, R>| {
            thread
                .join()
                .map_err(|_| anyhow!("a run of the VM panicked"))
        };
        threads.into_iter().map(end).collect()
    })
}

/// How many tests of these names a boot has.
fn list(programs: &Programs, boot: &Boot, filter: &[String]) -> Result<u64> {
    let tests = programs.commands.first().context("there are no VM tests")?;
    let words = ["--list"]
        .into_iter()
        .chain(filter.iter().map(String::as_str));
    let command = boot
        .variables()
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .fold(cmd(tests, words), |command, (name, value)| {
            command.env(name, value)
        });
    let text = command.read()?;
    Ok(text.lines().filter(|line| line.ends_with(": test")).count() as u64)
}

/// How many tests a program is about to run, as it says itself: `running 3 tests`.
fn running(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| {
        let (count, rest) = line.strip_prefix("running ")?.split_once(' ')?;
        rest.starts_with("test").then(|| count.parse().ok())?
    })
}

/// A boot that runs the tests.
fn prepare<'a>(
    lab: &'a Lab,
    args: &'a Args,
    boot: &Boot,
    programs: &Programs,
    filter: &[String],
) -> Result<Job<'a>> {
    let mut job = Job::new(args, lab, &programs.commands)?;
    job.examples(&programs.examples)?;
    // What they say of failures belongs to what they print.
    let (variables, all) = (boot.variables(), "exec \"$@\" 2>&1");
    let words = ["sh", "-c", all, "sh", "env"].into_iter();
    let words = words.chain(variables.iter().map(String::as_str));
    let words = words.chain(["chrmem-vm-tests", "--test-threads=1"]);
    job.command(words.chain(filter.iter().map(String::as_str)))?;
    Ok(job)
}

/// Boots, and runs the tests: all that there are, or some.
fn boot_tests(
    lab: &Lab,
    kernel: &str,
    boot: &Boot,
    listed: Option<u64>,
    job: Job<'_>,
    all: bool,
) -> Result<Count> {
    let output = Tee::of(&boot.label());
    let outcome = job.run(output.clone())?;
    let mut count = Count::default();
    let text = output.text();
    text.lines().for_each(|line| count.add(line));
    let run = match kernel {
        kernel::STOCK => boot.name,
        kernel => kernel,
    };
    let run = match lab.arch.is_foreign() {
        true => format!("{}-{run}", lab.arch.name),
        false => run.to_owned(),
    };
    report::keep(&run, &text)?;
    let label = boot.label();
    let listed = listed.or_else(|| running(&text)).unwrap_or_default();
    let what = format!("VM tests ({label})");
    let ran = count.all();
    let page = kernel::page_size(kernel);
    let left_out = elsewhere::left_out(lab.arch.processor, page.unwrap_or(4096));
    let all = all && (kernel == kernel::STOCK || page.is_some());
    count.leave_out(&what, &text, &left_out, all);
    count.judge(&what, outcome.status == 0);
    if ran < listed {
        eprintln!("error: of {listed} {what}, {ran} ran");
        count.failed += listed - ran;
    }
    if let Err(error) = outcome.verdict() {
        eprintln!("error: {label}: {error:#}");
        count.failed += 1;
    }
    Ok(count)
}
