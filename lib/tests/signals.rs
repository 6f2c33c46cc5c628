// SPDX-License-Identifier: MIT OR Apache-2.0

//! What becomes of a program's own handling of SIGBUS, where the library has a handler, and where it needs none.
//!
//! Each case is this program once more, which ends by a signal or in its handler.
#![allow(
    unsafe_code,
    reason = "handlers of signals, and faults: the test is about them"
)]

use chrmem::{MapOptions, Mapping};
use libtest_mimic::{Arguments, Trial};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    if let Some((_, role)) = ROLES.iter().find(|(name, _)| role.as_deref() == Some(name)) {
        role();
        return ExitCode::SUCCESS;
    }
    let trials: [(_, fn()); 5] = [
        ("a_program_that_maps_no_hardware_gets_no_handler", || {
            assert!(run("no-handler").success());
        }),
        ("a_program_s_own_faults_are_its_own", || {
            assert_eq!(run("own-handler").code(), Some(OWN));
            assert_eq!(run("own-simple-handler").code(), Some(OWN));
        }),
        ("without_a_handler_a_fault_ends_the_program", || {
            assert_eq!(run("fault").signal(), Some(libc::SIGBUS));
            assert_eq!(run("fault-by-default").signal(), Some(libc::SIGBUS));
            assert_eq!(run("fault-ignored").signal(), Some(libc::SIGBUS));
        }),
        ("a_signal_that_is_sent_does_what_it_did", || {
            assert_eq!(run("sent-by-default").signal(), Some(libc::SIGBUS));
            assert!(run("sent-ignored").success());
            assert_eq!(run("sent-to-own-handler").code(), Some(OWN));
        }),
        ("a_handler_for_once_is_called_once", || {
            assert_eq!(run("handler-for-once").signal(), Some(libc::SIGBUS));
        }),
    ];
    let trials = trials.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

const ROLES: [(&str, fn()); 10] = [
    ("no-handler", || {
        let before = action();
        let anonymous = Mapping::anonymous(5000).expect("memory");
        anonymous.write(5, &1_u8).expect("memory");
        let file = memfd_create("file", MemfdFlags::CLOEXEC).expect("a memfd");
        ftruncate(&file, 4096).expect("a size");
        let mapping = MapOptions::new().map_file(&file).expect("a mapping");
        assert_eq!(mapping.read::<u8>(0).expect("a byte"), 0);
        assert_eq!(action().sa_sigaction, before.sa_sigaction);
        // What could be a device's memory is something else.
        let _device = map_device();
        assert_ne!(action().sa_sigaction, before.sa_sigaction);
    }),
    ("own-handler", || {
        handle_by_own(libc::SA_SIGINFO);
        let _device = map_device();
        fault();
    }),
    ("own-simple-handler", || {
        handle_by_own(0);
        let _device = map_device();
        fault();
    }),
    ("fault", || {
        let _device = map_device();
        fault();
    }),
    ("fault-by-default", || {
        handle(libc::SIG_DFL, 0);
        let _device = map_device();
        fault();
    }),
    ("fault-ignored", || {
        handle(libc::SIG_IGN, 0);
        let _device = map_device();
        fault();
    }),
    ("sent-by-default", || {
        handle(libc::SIG_DFL, 0);
        let _device = map_device();
        send();
    }),
    ("sent-ignored", || {
        handle(libc::SIG_IGN, 0);
        let _device = map_device();
        send();
        // It stays ignored.
        send();
    }),
    ("sent-to-own-handler", || {
        handle_by_own(libc::SA_SIGINFO);
        let _device = map_device();
        send();
    }),
    ("handler-for-once", || {
        extern "C" fn once(_: libc::c_int) {
            static IS_CALLED: AtomicBool = AtomicBool::new(false);
            if IS_CALLED.swap(true, Ordering::Relaxed) {
                // SAFETY: ends the program at once.
                unsafe { libc::_exit(OWN) };
            }
        }
        let handler: extern "C" fn(libc::c_int) = once;
        handle(handler as libc::sighandler_t, libc::SA_RESETHAND);
        let _device = map_device();
        // The fault comes again after the handler has returned.
        fault();
    }),
];

/// The status that the programs' own handlers end with.
const OWN: i32 = 55;

/// How this program ends in another role.
fn run(role: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(role).status().expect("it runs")
}

/// Maps what the library takes for a device's memory.
fn map_device() -> Mapping {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/zero")
        .expect("/dev/zero");
    let device = MapOptions::new()
        .range(..4096)
        .map_file(&file)
        .expect("a mapping");
    assert_eq!(device.read::<u64>(8).expect("a value"), 0);
    device
}

/// What is done about SIGBUS.
fn action() -> libc::sigaction {
    // SAFETY: the call fills the structure, which may be all zeroes.
    unsafe {
        let mut action = std::mem::zeroed();
        assert_eq!(
            libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut action),
            0
        );
        action
    }
}

/// Has something done about SIGBUS.
fn handle(handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: the handlers here are as their flags say, and do nothing but what handlers may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        assert_eq!(
            libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// Has a handler end the program.
fn handle_by_own(flags: libc::c_int) {
    extern "C" fn simple(_: libc::c_int) {
        // SAFETY: ends the program at once.
        unsafe { libc::_exit(OWN) };
    }
    extern "C" fn full(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel hands over what it tells of the signal.
        let told = unsafe { (*info).si_signo };
        // SAFETY: ends the program at once.
        unsafe { libc::_exit(if told == signal { OWN } else { 1 }) };
    }
    let handlers: (extern "C" fn(_), extern "C" fn(_, _, _)) = (simple, full);
    match flags & libc::SA_SIGINFO {
        0 => handle(handlers.0 as libc::sighandler_t, flags),
        _ => handle(handlers.1 as libc::sighandler_t, flags),
    }
}

/// Accesses a page of a file behind its end, by a mapping that the library knows nothing of.
fn fault() {
    let file = memfd_create("file", MemfdFlags::CLOEXEC).expect("a memfd");
    // SAFETY: the range does not lie in the file, on purpose: the access raises SIGBUS.
    let memory = unsafe { MapOptions::new().range(0..4096).map_plain(file.as_fd()) };
    let value = memory.expect("a mapping").read::<u8>(5);
    panic!("{value:?} behind the end of a file");
}

/// Sends SIGBUS to this program.
fn send() {
    // SAFETY: has the kernel send a signal.
    assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0);
}
