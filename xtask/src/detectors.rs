// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether the sanitizer kernel sees mistakes: each of a test module's must be reported, in words that end a run of the tests.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};
use fs_err as fs;

use crate::boot::at_once;
use crate::driver;
use crate::job::Job;
use crate::setup::Lab;
use crate::tee::Tee;
use crate::trouble::is_trouble;
use crate::vm::Args;
use crate::workspace;

/// Where the module is.
const SOURCE: &str = "tests/detectors";

/// How many seconds the mistakes of one boot may take.
const LIMIT: u64 = 1800;

/// A mistake, and what tells of it.
struct Mistake {
    name: &'static str,
    sign: Sign,
}

/// What tells of a mistake.
enum Sign {
    /// A line in the kernel's log that has this in it. The system goes on as before.
    Log(&'static str),
    /// The same, but what told of it has then ended its work, or the system has.
    Last(&'static str),
    /// This test fails.
    Test(&'static str),
}

/// The mistakes, in the order of the module's.
const MISTAKES: &[Mistake] = &[
    told("read_after_free", Sign::Log("KASAN: slab-use-after-free")),
    told("write_past_slab", Sign::Log("KASAN: slab-out-of-bounds")),
    told(
        "write_past_vmalloc",
        Sign::Log("KASAN: vmalloc-out-of-bounds"),
    ),
    told("free_twice", Sign::Log("KASAN: double-free")),
    told("read_freed_page", Sign::Log("KASAN: use-after-free")),
    told("read_past_static", Sign::Log("KASAN: global-out-of-bounds")),
    told(
        "sleep_under_spinlock",
        Sign::Log("sleeping function called from invalid context"),
    ),
    told("free_armed_timer", Sign::Log("ODEBUG: free active")),
    told(
        "lose_object",
        Sign::Test("sanitizers::no_memory_is_unreferenced"),
    ),
    told(
        "lose_page",
        Sign::Test("sanitizers::no_page_is_the_driver_s"),
    ),
    told(
        "lock_in_both_orders",
        Sign::Last("possible circular locking dependency"),
    ),
    told(
        "return_with_lock",
        Sign::Last("lock held when returning to user space"),
    ),
    told("free_held_lock", Sign::Last("held lock freed")),
    told("mutex_under_spinlock", Sign::Last("Invalid wait context")),
    told("overflow", Sign::Last("rust_kernel: panicked")),
    told("index_unchecked", Sign::Last("rust_kernel: panicked")),
    told("put_page_twice", Sign::Last("kernel BUG at")),
    told(
        "in_c_shift_too_far",
        Sign::Log("UBSAN: shift-out-of-bounds"),
    ),
    told("in_c_delete_twice", Sign::Log("list_del corruption")),
    told(
        "in_c_free_page_in_a_page_table",
        Sign::Last("kernel BUG at mm/page_table_check.c"),
    ),
];

const fn told(name: &'static str, sign: Sign) -> Mistake {
    Mistake { name, sign }
}

/// Makes every mistake, and says of each whether it was reported, in the order in which they were made.
pub(crate) fn run(lab: &Lab, programs: &[PathBuf]) -> Result<Vec<bool>> {
    let module = build(lab)?;
    let numbers = 0..MISTAKES.len();
    let (alone, together): (Vec<_>, Vec<_>) =
        numbers.partition(|number| matches!(MISTAKES[*number].sign, Sign::Last(_)));
    let boots: Vec<_> = [together]
        .into_iter()
        .chain(alone.into_iter().map(|one| vec![one]))
        .collect();
    let args = Args {
        kernel: crate::kernel::DEBUG.into(),
        timeout: LIMIT,
        ..Args::default()
    };
    let mut results = Vec::new();
    for pair in boots.chunks(2) {
        let prepare = |boot: &Vec<usize>| job(lab, &args, programs, &module, boot);
        let jobs: Vec<_> = pair.iter().map(prepare).collect::<Result<_>>()?;
        let ends = at_once(jobs, make)?;
        for (boot, end) in pair.iter().zip(ends) {
            let (log, output) = end?;
            for &number in boot {
                let mistake = &MISTAKES[number];
                let reported = mistake.is_reported(number, &log, &output);
                println!(
                    "test detectors::{} ... {}",
                    mistake.name,
                    if reported { "ok" } else { "FAILED" }
                );
                results.push(reported);
            }
        }
    }
    Ok(results)
}

impl Mistake {
    /// Whether it is, in the kernel's log or in what the tests printed.
    fn is_reported(&self, number: usize, log: &str, output: &str) -> bool {
        match self.sign {
            Sign::Log(sign) | Sign::Last(sign) => after(log, number)
                .lines()
                .any(|line| line.contains(sign) && is_trouble(line)),
            Sign::Test(name) => output
                .lines()
                .any(|line| line.contains(name) && line.ends_with("FAILED")),
        }
    }
}

/// What the log says of a mistake: up to the next one.
fn after(log: &str, number: usize) -> &str {
    let marked = |text: &str| format!("chrmem: {text}");
    let Some((_, rest)) = log.split_once(&marked(&format!("mistake {number}\n"))) else {
        return "";
    };
    rest.split(&marked("mistake")).next().unwrap_or_default()
}

/// Builds the module.
fn build(lab: &Lab) -> Result<PathBuf> {
    let output = workspace::target()?
        .join("detectors")
        .join(lab.kernel.release());
    fs::create_dir_all(&output)?;
    driver::make_other(lab, SOURCE, &output, &output.join("log"))?;
    Ok(output.join("detectors.ko"))
}

/// A boot in which some of the mistakes are made.
fn job<'a>(
    lab: &'a Lab,
    args: &'a Args,
    programs: &[PathBuf],
    module: &Path,
    numbers: &[usize],
) -> Result<Job<'a>> {
    let mut job = Job::new(args, lab, programs)?;
    job.add("detectors.ko", &fs::read(module)?)?;
    job.add("detectors.sh", include_bytes!("../guest/detectors.sh"))?;
    let is_for_tests = |number: &usize| matches!(MISTAKES[*number].sign, Sign::Test(_));
    let tests = if numbers.iter().any(is_for_tests) {
        "sanitizers::"
    } else {
        ""
    };
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    // What the tests say of what they find is not for who reads this run's output.
    let quietly = "exec sh detectors.sh \"$@\" 2> /dev/null";
    let command = ["sh", "-c", quietly, "sh", tests].into_iter();
    job.command(command.chain(numbers.iter().map(String::as_str)))?;
    Ok(job)
}

/// Boots. Gives the kernel's log and the tests' output.
fn make(job: Job<'_>) -> Result<(String, String)> {
    let output = Tee::silent();
    let outcome = job.run(output.clone())?;
    let log = String::from_utf8_lossy(&fs::read(&outcome.console)?).replace('\r', "");
    fs::remove_file(&outcome.console)?;
    ensure!(
        !outcome
            .faults
            .iter()
            .any(|fault| fault.contains("did not end")),
        "there was no time for all of the mistakes"
    );
    Ok((log, output.text()))
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn each_mistake_has_its_own_part_of_the_log() {
        let log = "[1] chrmem: mistake 1\n[2] KASAN: a\n[3] chrmem: mistake 10\n[4] KASAN: b\n[5] chrmem: mistakes made\nc\n";
        assert_eq!(after(log, 1), "[2] KASAN: a\n[3] ");
        assert_eq!(after(log, 10), "[4] KASAN: b\n[5] ");
        assert_eq!(after(log, 2), "");
    }
}
