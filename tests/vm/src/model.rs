// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random operations on a device against the same on a plain model: every byte, count, position and
//! error, through every way in, by several processes that take turns.
//!
//! Each run has a device of its own, whose windows are of any kind, size, place, cache and access mode.
//! `campaign.rs` tells how to run more of it, and how to run one again that failed.

mod actor;
mod plain;

use crate::campaign::{Campaign, Say};
use crate::scale::scaled;
use crate::sequence::Sequence;
use crate::sys::{Child, End, Map};
use crate::{folder, plan};
use actor::{Actor, SHARED};
use fastrand::Rng;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

crate::tests! {
    the_device_is_as_the_model_says
}

/// How long a run may take, which is a second or two unless the host is busy.
const LIMIT: Duration = Duration::from_secs(60);

fn the_device_is_as_the_model_says() {
    Campaign {
        name: "model",
        steps: scaled(60_000) as u64,
        run_steps: 4000,
        run: &run,
    }
    .run("operations", "compared with a plain model");
}

/// Runs a sequence: false if the device is not as the model says.
fn run(sequence: &Sequence, say: Say) -> bool {
    let talk = say == Say::All;
    let mut random = Rng::with_seed(sequence.setup);
    let windows = plan::random(&mut random);
    let processes = random.usize(1..=3);
    if talk {
        eprintln!("{processes} processes, {windows:#?}");
    }
    let folder = plan::build("model", &windows);
    let files = SHARED.map(|flags| folder.open_as(flags));
    let page = Map::common();
    let turn = page.number();
    turn.store(0_u32.wrapping_sub(processes as u32), Ordering::Release);
    let mut children: Vec<Child> = (0..processes)
        .map(|me| {
            Child::start(|| {
                say.obey();
                let who = (me, processes);
                let mut actor = Actor::new(windows.clone(), folder.node(), &files, who, turn, talk);
                for step in &sequence.steps {
                    actor.step(*step);
                }
                actor.end();
            })
        })
        .collect();
    let mut well = all_end_well(&mut children);
    drop(children);
    drop(files);
    if well && folder.shown().mappings.0 != 0 {
        eprintln!("mappings are left: {:?}", folder.shown());
        well = false;
    }
    drop(folder);
    if !well {
        folder::remove_all();
    }
    well
}

/// Waits for the end of all; false as soon as one ends badly, for which the others would wait for ever.
fn all_end_well(children: &mut [Child]) -> bool {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        let ends: Vec<_> = children.iter_mut().map(Child::end).collect();
        if ends.iter().all(|end| *end == Some(End::Status(0))) {
            return true;
        }
        if ends.iter().flatten().any(|end| *end != End::Status(0)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("it does not end within {LIMIT:?}");
    false
}
