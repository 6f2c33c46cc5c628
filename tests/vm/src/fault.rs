// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults that the kernel can be told to have: one allocation that finds no memory, one copy between a process and the kernel
//! that fails.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To allocate memory.
    Memory,
    /// To copy to or from a process.
    Copy,
}

impl Kind {
    /// What a system call answers that fails for this.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Memory => Errno::NOMEM,
            Self::Copy => Errno::FAULT,
        }
    }

    /// Has the kernel count, and fail, what is of this kind and nothing else.
    pub(crate) fn choose(self) {
        self.choose_in(0..u64::MAX);
    }

    /// The same, of what is done by a function of the kernel's.
    pub(crate) fn choose_in_function(self, name: &str) {
        self.choose_in(function(name));
    }

    /// The same, of what is done by code at one of these addresses, somewhere up the stack.
    fn choose_in(self, code: Range<u64>) {
        for (injector, kind) in [
            ("failslab", Self::Memory),
            ("fail_page_alloc", Self::Memory),
            ("fail_usercopy", Self::Copy),
        ] {
            let (depth, code) = match kind == self {
                true => ("32", code.clone()),
                // No stack is looked at, which is to say: no stack is right but where all are.
                false => ("0", 1..1),
            };
            set(injector, "verbose", "0");
            set(injector, "stacktrace-depth", depth);
            set(injector, "require-start", &format!("{:#x}", code.start));
            set(injector, "require-end", &format!("{:#x}", code.end));
        }
        // By itself the kernel only fails what it may not wait for, and no single pages.
        set("failslab", "ignore-gfp-wait", "N");
        set("fail_page_alloc", "ignore-gfp-wait", "N");
        set("fail_page_alloc", "ignore-gfp-highmem", "N");
        set("fail_page_alloc", "min-order", "0");
    }
}

/// The addresses of a function of the kernel's.
fn function(name: &str) -> Range<u64> {
    let text = fs::read_to_string("/proc/kallsyms").expect("/proc");
    // `ffffffff81000000 T _text`
    let symbols = text.lines().map(|line| {
        let address = u64::from_str_radix(&line[..16], 16).expect("an address");
        (address, &line[19..])
    });
    let start = symbols.clone().find(|(_, other)| *other == name);
    let (start, _) = start.unwrap_or_else(|| panic!("the kernel has no {name}"));
    let after = symbols.map(|(address, _)| address);
    let end = after.filter(|address| *address > start).min();
    start..end.expect("a symbol after it")
}

/// Sets what an injector does.
fn set(injector: &str, name: &str, value: &str) {
    let path = format!("/sys/kernel/debug/{injector}/{name}");
    fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A fault that this thread is to have, or none.
pub(crate) struct Fault {
    /// Which of those that there could be, counted from 1.
    nth: Option<u32>,
    happened: Cell<bool>,
    file: OwnedFd,
}

impl Fault {
    /// No fault.
    pub(crate) fn none() -> Self {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open("/proc/thread-self/fail-nth", flags, Mode::empty());
        Self {
            nth: None,
            happened: Cell::new(false),
            file: file.expect("a kernel that can be told to fail"),
        }
    }

    /// The fault `nth`, counted from 1.
    pub(crate) fn nth(nth: u32) -> Self {
        Self {
            nth: Some(nth),
            ..Self::none()
        }
    }

    /// Makes the call that has the fault.
    pub(crate) fn hits<T>(&self, call: impl FnOnce() -> T) -> T {
        let Some(nth) = self.nth else {
            return call();
        };
        self.arm(nth).expect("fail-nth");
        let answer = call();
        let mut left = [0; 16];
        // What was not hit yet, this read or the write after it can be.
        match rustix::io::pread(&self.file, &mut left, 0) {
            Ok(len) => self.happened.set(&left[..len] == b"0\n"),
            Err(errno) => assert_eq!(errno, Errno::FAULT),
        }
        while let Err(errno) = self.arm(0) {
            assert_eq!(errno, Errno::FAULT);
        }
        answer
    }

    fn arm(&self, nth: u32) -> Result<(), Errno> {
        rustix::io::pwrite(&self.file, nth.to_string().as_bytes(), 0).map(drop)
    }

    /// Whether there was one.
    pub(crate) fn happened(&self) -> bool {
        self.happened.get()
    }
}
