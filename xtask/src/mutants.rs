// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask mutants`: whether the tests would notice.
//!
//! Each file in `tests/mutants` is a patch that puts one defect into the driver, or into the library. Its first lines say which test must
//! notice that, and in which kernel: `Defect:`, `Test:`, `Kernel:` (`hardened` or `debug`; the stock one, if it is left out). The patched driver
//! is built beside the real one and loaded instead of it, or the tests with the patched library run instead of the real ones, and
//! the test must fail, or the kernel complain. Before that, the same tests must pass with all as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use duct::cmd;
use fs_err as fs;

use crate::arch::Arch;
use crate::job::Job;
use crate::setup::{self, Lab};
use crate::tee::Tee;
use crate::vm::Args;
use crate::{boot, driver, kernel, programs, recipe, report, trouble, workspace};

/// Where the patches are.
const DIR: &str = "tests/mutants";

/// How many seconds one boot may take.
const LIMIT: u64 = 1200;

/// Mutants of this name's kernel need the stock one with all that it has to find mistakes with.
const HARDENED: &str = boot::HARDENED.name;

/// The program that has the tests.
const TESTS: &str = "chrmem-vm-tests";

/// All as it is.
const ORIGINAL: &str = "original";

/// A defect, and what must notice it.
#[derive(Clone, Debug, PartialEq)]
struct Mutant {
    name: String,
    defect: String,
    test: String,
    kernel: String,
    /// Whether the defect is in the library.
    in_library: bool,
}

impl Mutant {
    /// Reads the first lines of a patch.
    fn parse(name: &str, patch: &str) -> Result<Self> {
        let head: Vec<_> = patch
            .lines()
            .take_while(|line| !line.starts_with("--- "))
            .collect();
        let field = |key: &str| {
            head.iter()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
        };
        let mutant = Self {
            name: name.into(),
            defect: field("Defect:").context("no line `Defect: …`")?.into(),
            test: field("Test:").context("no line `Test: …`")?.into(),
            kernel: field("Kernel:").unwrap_or("stock").into(),
            in_library: patch.lines().any(|line| line.starts_with("--- a/lib/")),
        };
        ensure!(
            mutant.test.contains("::") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "a test is called FILE::NAME, and a mutant in small letters and dashes"
        );
        Ok(mutant)
    }
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// The test failed.
    TestFailed,
    /// The kernel complained, or ended.
    Kernel(String),
    /// Nobody noticed.
    Survived,
    /// It cannot be told.
    Unknown(String),
}

/// Runs the mutants with these names, or all.
pub(crate) fn run(names: &[String]) -> Result<ExitCode> {
    let all = read(&workspace::dir().join(DIR))?;
    for name in names {
        ensure!(
            all.iter().any(|mutant| mutant.name == *name),
            "there is no {DIR}/{name}.patch"
        );
    }
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|mutant| names.is_empty() || names.contains(&mutant.name))
        .collect();
    let arch = Arch::native();
    let tests = vec![
        programs::chrmem(arch)?,
        programs::tests(arch, kernel::STOCK)?,
    ];
    let mut kernels: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in &chosen {
        kernels.entry(&mutant.kernel).or_default().push(mutant);
    }
    let (mut killed, mut survived, mut failed) = (0, 0, 0);
    for (kernel, mutants) in kernels {
        // The boots are those of `cargo xtask test`.
        let (kernel, boot) = match kernel {
            HARDENED => (kernel::STOCK, boot::HARDENED),
            kernel::DEBUG => (kernel, boot::debug(None)),
            kernel => (kernel, boot::PLAIN),
        };
        let args = Args {
            no_load: true,
            timeout: LIMIT,
            ..boot.args(arch, kernel)
        };
        let lab = setup::lab(arch, kernel)?;
        let fates = fates(&lab, &args, boot.name, &tests, &mutants)?;
        for (mutant, fate) in mutants.iter().zip(fates) {
            let by = match &fate {
                Fate::TestFailed => format!("killed    by {}", mutant.test),
                Fate::Kernel(line) => {
                    format!("killed    by the kernel, in {}: {line}", mutant.test)
                }
                Fate::Survived => format!("SURVIVED  {}: a test is missing", mutant.test),
                Fate::Unknown(why) => format!("FAILED    {why}"),
            };
            println!("{:24} {:60} {by}", mutant.name, mutant.defect);
            match fate {
                Fate::TestFailed | Fate::Kernel(_) => killed += 1,
                Fate::Survived => survived += 1,
                Fate::Unknown(_) => failed += 1,
            }
            let noticed = match fate {
                Fate::TestFailed => format!("`{}`", mutant.test),
                Fate::Kernel(_) => format!("the kernel, in `{}`", mutant.test),
                _ => "nobody".into(),
            };
            report::keep(
                &format!("mutants-{kernel}"),
                &format!("report: mutants: {}: {noticed}\n", mutant.defect),
            )?;
        }
    }
    println!("{killed} killed, {survived} survived");
    println!("{killed} passed, {} failed", survived + failed);
    Ok(if survived + failed == 0 && killed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The mutants in a directory.
fn read(dir: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".patch"))
        else {
            continue;
        };
        let patch = fs::read_to_string(&path)?;
        mutants.push(Mutant::parse(name, &patch).with_context(|| path.display().to_string())?);
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

/// Builds the mutants and lets them loose, in boots that the tests know as `name`: what becomes of each.
fn fates(
    lab: &Lab,
    args: &Args,
    name: &str,
    programs: &[PathBuf],
    mutants: &[&Mutant],
) -> Result<Vec<Fate>> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let mut turns = Vec::new();
    let original = driver::build(lab)?;
    let mut programs = programs.to_vec();
    for mutant in mutants {
        let built = match mutant.in_library {
            false => build(lab, &mutant.name).map(|module| (module, TESTS.to_owned())),
            true => build_tests(&mutant.name).map(|(program, name)| {
                programs.push(program);
                (original.clone(), name)
            }),
        };
        match built {
            Ok((module, program)) => turns.push(Turn {
                name: mutant.name.clone(),
                test: mutant.test.clone(),
                module,
                program,
            }),
            Err(error) => {
                fates.insert(mutant.name.clone(), Fate::Unknown(format!("{error:#}")));
            }
        }
    }
    // First all as it is, which every one of the tests must let pass.
    let mut tests: Vec<_> = mutants.iter().map(|mutant| &mutant.test).collect();
    tests.sort();
    tests.dedup();
    let originals = tests.iter().enumerate().map(|(number, test)| Turn {
        name: format!("{ORIGINAL}-{number}"),
        test: (*test).clone(),
        module: original.clone(),
        program: TESTS.to_owned(),
    });
    let mut left: Vec<Turn> = originals.chain(turns).collect();
    while !left.is_empty() {
        let (done, log) = boot(lab, args, name, &programs, &left)?;
        ensure!(!done.is_empty(), "the guest did not begin");
        for (turn, status) in left.drain(..done.len()).zip(done) {
            let complaint = section(&log, &turn.name).find(|line| trouble::is_trouble(line));
            let fate = match (status, complaint) {
                (_, Some(line)) => Fate::Kernel(line.trim().to_owned()),
                (Some(End::Passed), None) => Fate::Survived,
                (Some(End::Failed), None) => Fate::TestFailed,
                (Some(End::Unknown(why)), None) => Fate::Unknown(why),
                (None, None) => Fate::Kernel("it did not end".into()),
            };
            if turn.name.starts_with(ORIGINAL) && fate != Fate::Survived {
                bail!("{} does not pass with all as it is: {fate:?}", turn.test);
            }
            fates.insert(turn.name, fate);
        }
    }
    let fate = |mutant: &&Mutant| fates.remove(&mutant.name);
    Ok(mutants
        .iter()
        .map(fate)
        .map(|fate| fate.unwrap_or(Fate::Unknown("it did not run".into())))
        .collect())
}

/// One module, and the test that it is loaded for, in a program of the guest's.
struct Turn {
    name: String,
    test: String,
    module: PathBuf,
    program: String,
}

/// How a turn ended.
enum End {
    Passed,
    Failed,
    Unknown(String),
}

/// What the guest does: a line `begins NAME` and a line `ends NAME STATUS` for each turn. A driver that does not go ends it.
const SCRIPT: &str = r#"turn() {
    echo "mutant begins $1" | tee /dev/kmsg
    if insmod "$3"; then
        CHRMEM_KO=$3 "$4" --exact "$2" > /tmp/out 2>&1
        status=$?
        grep -q "^running 1 test$" /tmp/out || status=none
        cat /tmp/out >&2
    else
        status=load
    fi
    for i in $(seq 50); do
        rmmod chrmem 2> /dev/null
        grep -q "^chrmem " /proc/modules || break
        sleep 0.1
    done
    sleep 0.2
    echo "mutant ends $1 $status"
    ! grep -q "^chrmem " /proc/modules || exit 0
}
modprobe configfs
"#;

/// Boots once, and runs as many turns as it lasts; how each ended, `None` for one that the guest did not survive.
fn boot(
    lab: &Lab,
    args: &Args,
    name: &str,
    programs: &[PathBuf],
    turns: &[Turn],
) -> Result<(Vec<Option<End>>, String)> {
    let mut job = Job::new(args, lab, programs)?;
    let mut script = SCRIPT.to_owned();
    for turn in turns {
        let file = format!("{}.ko", turn.name);
        job.add(&file, &fs::read(&turn.module)?)?;
        let Turn {
            name,
            test,
            program,
            ..
        } = turn;
        script += &format!("turn {name} {test} /lab/{file} {program}\n");
    }
    job.add("mutants", script.as_bytes())?;
    job.command(["env", &format!("CHRMEM_BOOT={name}"), "bash", "./mutants"])?;
    let output = Tee::silent();
    let outcome = job.run(output.clone())?;
    let text = output.text();
    let log = String::from_utf8_lossy(&fs::read(&outcome.console)?).replace('\r', "");
    fs::remove_file(&outcome.console)?;
    let mut ends = Vec::new();
    for turn in turns {
        if !text.contains(&format!("mutant begins {}\n", turn.name)) {
            break;
        }
        let end = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("mutant ends {} ", turn.name)));
        ends.push(end.map(|status| match status {
            "0" => End::Passed,
            "none" => End::Unknown(format!("there is no test {}", turn.test)),
            "load" => End::Unknown("it cannot be loaded".into()),
            _ => End::Failed,
        }));
    }
    // There was no time left for the last one, which is not its fault, unless it had all of it.
    if outcome.faults.iter().any(|it| it.contains("did not end")) {
        if let Some(None) = ends.last() {
            ends.pop();
            if ends.is_empty() {
                let why = format!("it did not end within {LIMIT} s");
                ends.push(Some(End::Unknown(why)));
            }
        }
    }
    Ok((ends, log))
}

/// The lines of the kernel's log from a turn's beginning to the next one's.
fn section<'a>(log: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begins = format!("mutant begins {name}");
    log.lines()
        .skip_while(move |line| !line.ends_with(&begins))
        .skip(1)
        .take_while(|line| !line.contains("mutant begins "))
}

/// Builds a mutant, if its patch or the driver has changed since it was.
fn build(lab: &Lab, name: &str) -> Result<PathBuf> {
    let dir = workspace::target()?.join("mutants").join(name);
    let (source, output) = (dir.join("source"), dir.join("output"));
    let patch = workspace::dir().join(DIR).join(format!("{name}.patch"));
    let made_from = format!(
        "{} {}",
        driver::fingerprint(lab)?,
        recipe::digest(&fs::read(&patch)?)
    );
    let (stamp, module) = (dir.join("built-from"), output.join("chrmem.ko"));
    if module.exists() && fs::read_to_string(&stamp).is_ok_and(|it| it == made_from) {
        return Ok(module);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&output)?;
    copy_sources(&source)?;
    apply(&patch, &source)?;
    driver::make_from(lab, &source, &output, &dir.join("log"), &[])?;
    fs::write(stamp, made_from)?;
    Ok(module)
}

/// Builds the tests with a mutant of the library; gives the program, and what it is called.
fn build_tests(name: &str) -> Result<(PathBuf, String)> {
    let all = workspace::target()?.join("mutants");
    let (dir, patch) = (
        all.join(name),
        workspace::dir().join(DIR).join(format!("{name}.patch")),
    );
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let source = dir.join("source");
    for file in workspace::files()? {
        let (from, to) = (workspace::dir().join(&file), source.join(&file));
        fs::create_dir_all(to.parent().context("a file without a directory")?)?;
        // What was removed, git still knows.
        if from.exists() {
            fs::copy(from, to)?;
        }
    }
    apply(&patch, &source)?;
    // What mutants have in common is compiled once.
    let built = programs::tests_of(Arch::native(), &source, &all.join("target"))?;
    let called = format!("{TESTS}-{name}");
    let program = dir.join(&called);
    fs::copy(built, &program)?;
    Ok((program, called))
}

/// Applies a patch to the copy in `dir`.
fn apply(patch: &Path, dir: &Path) -> Result<()> {
    // The copy is no part of the repository, where git would leave alone what it does not track.
    let applied = cmd!("git", "apply", "--whitespace=nowarn", patch)
        .dir(dir)
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .run()?;
    ensure!(
        applied.status.success(),
        "{} has to be renewed, it does not fit any more: {}",
        patch.display(),
        String::from_utf8_lossy(&applied.stdout)
    );
    Ok(())
}

/// Copies what a patch may change.
fn copy_sources(to: &Path) -> Result<()> {
    for part in ["driver", "uapi/src", "lib/src"] {
        copy(&workspace::dir().join(part), &to.join(part))?;
    }
    Ok(())
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().context("a file without a name")?);
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{apply, copy_sources, read, section, Mutant, DIR};
    use crate::workspace;

    #[test]
    fn a_patch_says_what_it_is() {
        let patch =
            "Defect: growth is allowed\nTest: map::growing\n\n--- a/x\n+++ b/x\nTest: no::no\n";
        let mutant = Mutant::parse("growth", patch).unwrap();
        assert_eq!(mutant.defect, "growth is allowed");
        assert_eq!((&*mutant.test, &*mutant.kernel), ("map::growing", "stock"));
        assert!(!mutant.in_library);
        let of_library = patch.replace("a/x", "a/lib/src/x");
        assert!(Mutant::parse("growth", &of_library).unwrap().in_library);
        assert!(Mutant::parse("growth", "Defect: x\n--- a/x\nTest: map::growing\n").is_err());
    }

    #[test]
    fn there_are_at_least_twenty_and_they_fit() {
        let dir = workspace::dir().join(DIR);
        let mutants = read(&dir).unwrap();
        assert!(mutants.len() >= 20, "{}", mutants.len());
        for mutant in mutants {
            let copy = tempfile::tempdir().unwrap();
            let source = copy.path().join("source");
            copy_sources(&source).unwrap();
            apply(&dir.join(format!("{}.patch", mutant.name)), &source).unwrap();
        }
    }

    #[test]
    fn a_complaint_belongs_to_who_had_the_turn() {
        let log = "[1] mutant begins a\n[2] fine\n[3] mutant begins b\n[4] BUG: x\n[5] mutant begins ab\n[6] y\n";
        let of = |name| section(log, name).collect::<Vec<_>>();
        assert_eq!(of("a"), ["[2] fine"]);
        assert_eq!(of("b"), ["[4] BUG: x"]);
        assert_eq!(of("ab"), ["[6] y"]);
    }
}
