// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests of the driver, from user space, in a VM: as root, with the driver loaded and without
//! parameters.
//!
//! Each test is a process of its own, so that one that hangs or dies takes no other with it, and
//! leaves the machine as it found it, but for what is in the device. They load and unload the driver,
//! so that only one runs at a time. Only the last, `lockdown`, leaves a machine for which there is no way back.
//!
//! `CHRMEM_BOOT` says which boot of the lab it is (`plain`, `hardened`, `debug`): with sanitizers there are other tests.
//! `CHRMEM_PART` says which part of them is to run (all).
//! `CHRMEM_KO` says where the module is (`/lab/chrmem.ko`), `CHRMEM_SEED` where the random callers
//! start, `CHRMEM_HW` where the host's files are that devices have for memory (`/hw`). More that random
//! tests take from the environment is told in `campaign.rs`.

mod boot;
mod btf;
mod cache;
mod campaign;
mod clients;
mod coherence;
mod commands;
mod configfs;
mod counts;
mod destroy;
mod dirty;
mod dmabuf;
mod driver;
mod elsewhere;
mod examples;
mod fault;
mod faults;
mod folder;
mod frames;
mod fuzz;
mod guide;
mod hardware;
mod held;
mod importers;
mod io;
mod ioctl;
mod iomem;
mod kcore;
mod killed;
mod kinds;
mod kmsg;
mod large;
mod lean;
mod library;
mod lifetime;
mod load;
mod lockdown;
mod map;
mod matrix;
mod memory;
mod model;
mod modprobe;
mod node;
mod nodes;
mod options;
mod oracle;
mod orders;
mod pagemap;
mod pagetable;
mod parallel;
mod pci;
mod peers;
mod plan;
mod poison;
mod poll;
mod races;
mod report;
mod revoke;
mod ring;
mod rounds;
mod sanitizers;
mod scale;
mod security;
mod seek;
mod sequence;
mod splice;
mod strangers;
mod sys;
mod track;
#[path = "../../../xtask/src/trouble.rs"]
mod trouble;
mod windows;

use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{kill_process_group, setpgid, Pid, Signal};
use std::process::ExitCode;
use sys::{Child, End};

/// A test: its name and what it does, which panics if something is wrong.
type Test = (&'static str, fn());

/// The tests of a file, in order.
macro_rules! tests {
    (in $list:ident: $($name:ident)*) => {
        pub(crate) const $list: &[crate::Test] = &[$((stringify!($name), $name)),*];
    };
    ($($name:ident)*) => {
        crate::tests! { in TESTS: $($name)* }
    };
}
use tests;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut files = vec![
        ("node", node::TESTS),
        ("io", io::TESTS),
        ("seek", seek::TESTS),
        ("ioctl", ioctl::TESTS),
        ("map", map::TESTS),
        ("coherence", coherence::TESTS),
        ("large", large::TESTS),
        ("orders", orders::TESTS),
        ("counts", counts::TESTS),
        ("poll", poll::TESTS),
        ("lifetime", lifetime::TESTS),
        ("load", load::TESTS),
        ("rounds", rounds::TESTS),
        ("library", library::TESTS),
        ("commands", commands::TESTS),
        ("options", options::TESTS),
        ("ring", ring::TESTS),
        ("clients", clients::TESTS),
        ("splice", splice::TESTS),
        ("strangers", strangers::TESTS),
        ("examples", examples::TESTS),
        ("oracle", oracle::TESTS),
        ("fuzz", fuzz::TESTS),
        ("sequence", sequence::TESTS),
        ("model", model::TESTS),
        ("configfs", configfs::TESTS),
        ("windows", windows::TESTS),
        ("destroy", destroy::TESTS),
        ("matrix", matrix::TESTS),
        ("revoke", revoke::TESTS),
        ("races", races::TESTS),
        ("track", track::TESTS),
        ("kinds", kinds::TESTS),
        ("nodes", nodes::TESTS),
        ("cache", cache::TESTS),
        ("frames", frames::TESTS),
        ("dmabuf", dmabuf::TESTS),
        ("hardware", hardware::TESTS),
        ("importers", importers::TESTS),
        ("peers", peers::TESTS),
        ("killed", killed::TESTS),
        ("parallel", parallel::TESTS),
        ("security", security::TESTS),
    ];
    if boot::has_sanitizers() {
        files.push(("faults", faults::TESTS));
    } else {
        // Sanitizers keep records beside all memory, and their kernel does not describe its types.
        files.push(("lean", lean::TESTS));
        // Nor does it note which pages are written.
        files.push(("dirty", dirty::TESTS));
        files.push(("cache", cache::SEEN_IN_PAGE_TABLES));
        files.push(("frames", frames::SEEN_IN_PAGE_TABLES));
    }
    let of_file = |(file, tests): &(&str, &'static [Test])| -> Vec<Trial> {
        let trials = tests
            .iter()
            .map(|(name, test)| Trial::test(format!("{file}::{name}"), || run(*test)));
        trials.collect()
    };
    let pages =
        guide::tests().map(|(page, test)| Trial::test(format!("guide::{page}"), || run(test)));
    let mut trials: Vec<Trial> = files
        .iter()
        .map(of_file)
        .chain([pages.collect()])
        .enumerate()
        .filter(|(number, _)| boot::is_for(*number))
        .flat_map(|(_, trials)| trials)
        .collect();
    // Memory that has failed stays lost.
    trials.extend(of_file(&("poison", poison::TESTS)));
    if boot::has_sanitizers() {
        // The last look is at whatever ran before.
        trials.extend(of_file(&("sanitizers", sanitizers::TESTS)));
    }
    // After it, no module can be loaded: ours is not signed.
    trials.extend(of_file(&("lockdown", lockdown::TESTS)));
    let left_out = elsewhere::left_out(std::env::consts::ARCH, sys::PAGE);
    let trials = trials.into_iter().map(|trial| {
        let is_left_out = left_out.iter().any(|(name, _)| *name == trial.name());
        trial.with_ignored_flag(is_left_out)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    report::print();
    conclusion.exit_code()
}

/// Runs a test in a process of its own.
fn run(test: impl FnOnce()) -> Result<(), Failed> {
    let mut child = Child::start(|| {
        // What the test starts is in its group, and ends with it.
        setpgid(None, None).expect("a group of its own");
        test();
    });
    let limit = campaign::limit().unwrap_or_else(boot::limit);
    let end = child.wait(limit);
    let group = Pid::from_raw(child.id()).expect("a process number");
    // Where nothing is left in the group, there is nobody to end.
    let _ = kill_process_group(group, Signal::KILL);
    if end == End::Status(0) {
        return Ok(());
    }
    folder::remove_all();
    driver::restore();
    Err(match end {
        End::Status(status) => format!("exit status {status}: see above").into(),
        End::Signal(libc::SIGKILL) => format!("did not end in {limit:?}").into(),
        End::Signal(signal) => format!("died of signal {signal}").into(),
        End::Stuck => "hangs in the kernel".into(),
    })
}
