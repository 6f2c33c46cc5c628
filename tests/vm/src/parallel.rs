// SPDX-License-Identifier: MIT OR Apache-2.0

//! Large windows, whose memory all processors allocate and zero.

use crate::boot;
use crate::folder::Folder;
use crate::killed::{wait_until, LIMIT};
use crate::kinds::Cgroup;
use crate::kmsg::Mark;
use crate::memory;
use crate::nodes::{self, nodes, places};
use crate::sys::{set_memory_policy, Child, End, Map, PAGE};
use rustix::io::Errno;
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

crate::tests! {
    all_processors_share_a_large_window
    a_builder_with_one_processor_has_no_threads
    a_small_window_is_not_shared
    a_large_window_is_charged_to_its_builder
    a_large_window_beyond_the_cgroup_s_limit_leaves_nothing
    each_page_of_a_large_window_is_zero_and_its_own
    a_large_window_follows_its_builder_s_memory_policy
    the_log_tells_how_much_is_ready_until_the_builder_is_killed
    a_processor_goes_offline_meanwhile
}

/// From this size on, windows are shared.
const LARGE: usize = 256 << 20;

/// A device that is being built by a process that waits for most pieces of its memory, until it is let go on.
struct Building {
    child: Child,
    folder: Folder,
    cgroup: Cgroup,
}

impl Building {
    /// Begins. The builder first calls `prepare`.
    fn start(size: usize, prepare: impl FnOnce()) -> Self {
        let cgroup = Cgroup::new("max");
        // Whoever asks for more than this waits up to 2 seconds each time.
        cgroup.set("memory.high", "64M");
        let folder = Folder::new("parallel");
        folder.window("a", &format!("size={size}"));
        let child = Child::start(|| {
            cgroup.enter();
            prepare();
            folder.build();
        });
        Self {
            child,
            folder,
            cgroup,
        }
    }

    /// The numbers of the builder's threads.
    fn threads(&self) -> BTreeSet<String> {
        let folder = format!("/proc/{}/task", self.child.id());
        let entries = fs::read_dir(folder).expect("a process");
        entries
            .map(|entry| entry.expect("a thread").file_name())
            .map(|name| name.into_string().expect("a number"))
            .collect()
    }

    /// Waits until so many bytes are there.
    fn wait_for(&self, bytes: usize) {
        wait_until(|| self.cgroup.used() > bytes as u64);
    }

    /// Lets it go on, and waits until the device is there.
    fn finish(&mut self) {
        self.cgroup.set("memory.high", "max");
        assert_eq!(self.child.wait(LIMIT), End::Status(0));
        assert!(self.folder.is_live());
    }
}

/// The allocations of huge folios by processes of the tests and their threads, until dropped.
struct Allocations;

impl Allocations {
    const TRACING: &'static str = "/sys/kernel/tracing";

    fn trace() -> Self {
        let mount = Command::new("mount")
            .args(["-t", "tracefs", "none", Self::TRACING])
            .status();
        assert!(mount.expect("mount runs").success());
        Self::set("trace", "");
        Self::set("events/kmem/mm_page_alloc/filter", "order == 9");
        Self::set("events/kmem/mm_page_alloc/enable", "1");
        Self
    }

    fn set(name: &str, value: &str) {
        fs::write(format!("{}/{name}", Self::TRACING), value).expect(name);
    }

    /// The thread and the processor of each.
    fn all(&self) -> Vec<(String, String)> {
        let trace = fs::read_to_string(format!("{}/trace", Self::TRACING)).expect("tracefs");
        // `          chrmem-321     [001] .....    12.345678: mm_page_alloc: page=…`
        let lines = trace.lines().filter(|line| line.contains("mm_page_alloc:"));
        lines
            .map(|line| {
                let (task, rest) = line.split_once('[').expect("a processor");
                let (processor, _) = rest.split_once(']').expect("a processor");
                let (_, thread) = task.trim().rsplit_once('-').expect("a thread");
                (thread.to_owned(), processor.to_owned())
            })
            .collect()
    }
}

impl Drop for Allocations {
    fn drop(&mut self) {
        Self::set("events/kmem/mm_page_alloc/enable", "0");
        Self::set("events/kmem/mm_page_alloc/filter", "0");
        let umount = Command::new("umount").arg(Self::TRACING).status();
        assert!(umount.expect("umount runs").success());
    }
}

fn processors() -> usize {
    sched_getaffinity(None).expect("processors").count() as usize
}

fn all_processors_share_a_large_window() {
    let allocations = Allocations::trace();
    let mut building = Building::start(LARGE, || ());
    // Each of the threads allocates some of it, on a processor of its own.
    wait_until(|| {
        let threads = building.threads();
        let mine = allocations.all().into_iter();
        let (found, processors): (BTreeSet<_>, BTreeSet<_>) =
            mine.filter(|(thread, _)| threads.contains(thread)).unzip();
        found.len() == self::processors() && processors.len() == found.len()
    });
    assert_eq!(building.threads().len(), processors());
    building.finish();
}

fn a_builder_with_one_processor_has_no_threads() {
    let mut building = Building::start(LARGE, || {
        let mut set = CpuSet::new();
        set.set(0);
        sched_setaffinity(None, &set).expect("a processor");
    });
    building.wait_for(80 << 20);
    assert_eq!(building.threads().len(), 1);
    building.finish();
}

fn a_small_window_is_not_shared() {
    let mut building = Building::start(LARGE - PAGE, || ());
    building.wait_for(80 << 20);
    assert_eq!(building.threads().len(), 1);
    building.finish();
}

fn a_large_window_is_charged_to_its_builder() {
    let cgroup = Cgroup::new("max");
    let folder = Folder::new("parallel");
    folder.window("a", &format!("size={LARGE}"));
    let before = cgroup.used();
    cgroup.run(|| folder.build());
    let used = cgroup.used() - before;
    let all = LARGE as u64;
    assert!((all..all + all / 100).contains(&used), "{used}");
    folder.destroy();
    wait_until(|| cgroup.used() < before + (1 << 20));
}

fn a_large_window_beyond_the_cgroup_s_limit_leaves_nothing() {
    let cgroup = Cgroup::new("200M");
    for settings in ["", "track=1"] {
        let folder = Folder::new("parallel");
        folder.window("a", &format!("size={LARGE} {settings}"));
        let before = (cgroup.used(), memory::settled());
        cgroup.run(|| assert_eq!(folder.set_live("1"), Err(Errno::NOMEM), "{settings}"));
        assert!(!folder.is_live());
        wait_until(|| cgroup.used() < before.0 + (1 << 20));
        wait_until(|| memory::free() + (8 << 20) > before.1);
        // Others have more.
        folder.build();
    }
}

/// The last part is no multiple of anything.
fn each_page_of_a_large_window_is_zero_and_its_own() {
    let size = LARGE + (2 << 20) + 77 * PAGE;
    for settings in ["", "track=1"] {
        memory::dirty(0x5a);
        let window = format!("size={size} {settings}");
        let folder = Folder::live("parallel", &[("a", &window)]);
        let map = Map::shared(folder.open(), size).expect("a mapping");
        for at in (0..size).step_by(PAGE) {
            let ends = [map.load(at), map.load(at + PAGE - 4)];
            assert_eq!(ends, [0, 0], "{settings}: page at {at}");
            map.store(at, at as u32 | 1);
        }
        for at in (0..size).step_by(PAGE) {
            assert_eq!(map.load(at), at as u32 | 1, "{settings}");
        }
    }
}

/// The lab's processors are all of node 0, and the last node has the most free memory.
fn a_large_window_follows_its_builder_s_memory_policy() {
    // That kernel knows nothing of nodes.
    if boot::has_sanitizers() {
        return;
    }
    // Drops what else there is in memory.
    memory::settled();
    let nodes = nodes();
    let roomiest = nodes.iter().copied().max_by_key(|node| nodes::free(*node));
    let node = roomiest.expect("a node");
    let look = |settings: &str| {
        let window = format!("size={LARGE} {settings}");
        let folder = Folder::live("parallel", &[("a", &window)]);
        let map = Map::shared(folder.open(), LARGE).expect("a mapping");
        assert_eq!(
            places(&map),
            [(node.to_string(), LARGE / PAGE)],
            "{settings}"
        );
    };
    for settings in ["", "track=1"] {
        look(&format!("node={node} {settings}"));
        set_memory_policy(Some(node));
        look(settings);
        set_memory_policy(None);
    }
}

fn the_log_tells_how_much_is_ready_until_the_builder_is_killed() {
    let free = memory::settled();
    let log = Mark::now();
    let mut building = Building::start(LARGE, || ());
    let mut lines = Vec::new();
    let deadline = std::time::Instant::now() + LIMIT;
    while lines.len() < 2 {
        assert!(std::time::Instant::now() < deadline, "{lines:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
        lines.extend(log.driver());
    }
    let ready = |line: &String| {
        let rest = line.strip_prefix("chrmem-parallel: window a: ")?;
        rest.strip_suffix(" of 256 MiB ready")?.parse().ok()
    };
    let ready: Vec<u32> = lines.iter().filter_map(ready).collect();
    assert_eq!(ready.len(), lines.len(), "{lines:?}");
    assert!(ready[0] < ready[1] && ready[1] < 256, "{lines:?}");
    building.child.signal(libc::SIGKILL);
    assert_eq!(building.child.wait(LIMIT), End::Signal(libc::SIGKILL));
    assert!(!building.folder.is_live());
    let lines = log.driver();
    assert!(
        lines.iter().any(|line| line.contains("killed")),
        "{lines:?}"
    );
    // Neither memory nor threads.
    wait_until(|| building.cgroup.used() < 1 << 20);
    wait_until(|| memory::free() + (8 << 20) > free);
    building.cgroup.set("memory.high", "max");
    // Somebody else has all the time.
    building.folder.build();
}

fn a_processor_goes_offline_meanwhile() {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    if fs::metadata(ONLINE).is_err() {
        return;
    }
    let mut building = Building::start(LARGE, || ());
    building.wait_for(80 << 20);
    fs::write(ONLINE, "0").expect("offline");
    building.finish();
    building.folder.destroy();
    building.folder.build();
    fs::write(ONLINE, "1").expect("online");
    assert_eq!(processors(), 2);
}
