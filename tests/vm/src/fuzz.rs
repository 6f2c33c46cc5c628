// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random callers: whatever they ask for, in whatever order, each gets an answer of the table, the kernel
//! has nothing to complain of, what is mapped is what is read, and nothing is left of them.
//!
//! Each run has a device of random windows, and some processes that use it at the same time, without
//! waiting for each other; so a run's calls follow from its number, but how they meet does not.
//! `campaign.rs` tells how to run more of it, and how to run one again that failed.

mod caller;

use crate::campaign::{Campaign, Say};
use crate::kmsg::Mark;
use crate::scale::scaled;
use crate::sequence::Sequence;
use crate::sys::{Child, End, Map, PAGE};
use crate::trouble::is_trouble;
use crate::{boot, driver, folder, held, memory, plan};
use caller::Caller;
use fastrand::Rng;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

crate::tests! {
    whatever_is_asked_for_has_an_answer
}

/// How long a run may take. On the kernel with sanitizers it takes seconds, and many times as long if the host is busy.
const LIMIT: Duration = Duration::from_secs(120);

fn whatever_is_asked_for_has_an_answer() {
    let campaign = Campaign {
        name: "fuzz",
        steps: scaled(15_000) as u64,
        run_steps: 1000,
        run: &run,
    };
    let runs = || campaign.run("inputs", "random calls of the fuzzer");
    let users = driver::users();
    if boot::has_sanitizers() {
        // Page owner records tell which pages the driver holds: none may be left.
        held::leaving_nothing(runs);
    } else {
        loses_no_page_a_call(campaign.steps(), runs);
    }
    assert_eq!(driver::users(), users);
}

/// Asserts that calls do not lose one page in eight, or [`memory::SWING`] bytes in all if that is more. Fewer are lost in what the rest of the system does meanwhile, and are found by the
/// sanitizers alone.
fn loses_no_page_a_call(calls: u64, body: impl FnOnce()) {
    let before = memory::settled();
    body();
    let most = calls.saturating_mul(PAGE as u64 / 8).max(memory::SWING);
    let less = before.saturating_sub(memory::settled());
    assert!(less < most, "{less} bytes less after {calls} calls");
}

/// Runs a sequence: false if something is wrong.
fn run(sequence: &Sequence, say: Say) -> bool {
    let talk = say == Say::All;
    let mut random = Rng::with_seed(sequence.setup);
    let windows = plan::random(&mut random);
    let processes = random.usize(1..=3);
    if talk {
        eprintln!("{processes} processes, {windows:#?}");
    }
    let log = Mark::now();
    let folder = plan::build("fuzz", &windows);
    let page = Map::common();
    let at_rest = page.number();
    let mut children: Vec<Child> = (0..processes)
        .map(|me| {
            Child::start(|| {
                say.obey();
                let mut caller = Caller::new(&folder, &windows, talk);
                for step in &sequence.steps {
                    if *step as usize % processes == me {
                        caller.step(*step);
                    }
                }
                meet(at_rest, processes as u32);
                caller.compare();
                // Nobody goes before all have looked.
                meet(at_rest, 2 * processes as u32);
            })
        })
        .collect();
    let deadline = Instant::now() + LIMIT;
    let mut well = true;
    loop {
        let ends: Vec<_> = children.iter_mut().map(Child::end).collect();
        well &= ends.iter().flatten().all(|end| *end == End::Status(0));
        if !well || ends.iter().all(Option::is_some) {
            break;
        }
        if Instant::now() > deadline {
            eprintln!("it does not end");
            well = false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(children);
    if well && folder.is_live() && folder.shown().mappings.0 != 0 {
        eprintln!("mappings are left: {:?}", folder.shown());
        well = false;
    }
    drop(folder);
    folder::remove_all();
    for line in log.all() {
        if is_trouble(&line) {
            eprintln!("the kernel says: {line}");
            well = false;
        }
    }
    well
}

/// Waits until so many have come here.
fn meet(number: &AtomicU32, count: u32) {
    number.fetch_add(1, Ordering::AcqRel);
    let deadline = Instant::now() + LIMIT;
    while number.load(Ordering::Acquire) < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(200));
    }
}
