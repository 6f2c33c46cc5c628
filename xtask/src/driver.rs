// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the kernel module in the lab's tree, as `make -C driver` does anywhere.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure, Context, Result};
use fs_err as fs;

use crate::cache::Lock;
use crate::progress::{logged, Step};
use crate::root::Bind;
use crate::setup::Lab;
use crate::{recipe, workspace};

/// Where the build sees the checkout.
const CHECKOUT: &str = "/run/chrmem/checkout";
/// Where the build writes.
const OUTPUT: &str = "/run/chrmem/output";

/// The module of this checkout, built if it is not.
pub(crate) fn build(lab: &Lab) -> Result<PathBuf> {
    let output = workspace::target()?
        .join("driver")
        .join(lab.kernel.release());
    fs::create_dir_all(&output)?;
    let _alone = Lock::exclusive(&output.join("lock"), "building the driver")?;
    let stamp = output.join("built-from");
    let source = fingerprint(lab)?;
    let module = output.join("chrmem.ko");
    // make would look at everything again, which takes it seconds.
    if fs::read_to_string(&stamp).is_ok_and(|built| built == source) && module.exists() {
        return Ok(module);
    }
    let step = Step::new("building the driver", None);
    make(lab, &output, &output.join("log"), &[])?;
    fs::write(stamp, source)?;
    step.done();
    Ok(module)
}

/// Builds the driver into `output`, with the compiler's extra warnings and make's `settings`; what make prints goes to `log`.
pub(crate) fn make(lab: &Lab, output: &Path, log: &Path, settings: &[&str]) -> Result<()> {
    make_from(lab, &workspace::dir(), output, log, settings)
}

/// Builds the driver of another `checkout`.
pub(crate) fn make_from(
    lab: &Lab,
    checkout: &Path,
    output: &Path,
    log: &Path,
    settings: &[&str],
) -> Result<()> {
    let kdir = format!("KDIR={}", lab.kernel.build());
    let dir = format!("{CHECKOUT}/driver");
    let words: Vec<_> = ["-C", &dir, &kdir]
        .into_iter()
        .chain(settings.iter().copied())
        .collect();
    run(lab, checkout, output, log, &words).context("the driver does not build")
}

/// Builds another module of this checkout, in `dir`, into `output`.
pub(crate) fn make_other(lab: &Lab, dir: &str, output: &Path, log: &Path) -> Result<()> {
    let source = format!("M={CHECKOUT}/{dir}");
    let words = ["-C", &lab.kernel.build(), &source, "modules"];
    run(lab, &workspace::dir(), output, log, &words)
        .with_context(|| format!("{dir} does not build"))
}

/// Runs make in the tree.
fn run(lab: &Lab, checkout: &Path, output: &Path, log: &Path, words: &[&str]) -> Result<()> {
    ensure!(
        checkout.join("driver/Makefile").exists(),
        "{} has no driver/Makefile",
        checkout.display()
    );
    let binds = [
        Bind::read_only(checkout, CHECKOUT),
        Bind::writable(output, OUTPUT),
    ];
    let mut argv = vec!["make".into(), format!("MO={OUTPUT}"), "W=1".into()];
    argv.extend(lab.kernel.compilers());
    argv.extend(words.iter().map(|word| (*word).to_owned()));
    logged(&lab.root.command(&binds, argv), log, |_| {})
        .map_err(|error| anyhow!(format!("{error:#}").replace(&format!("{CHECKOUT}/"), "")))
}

/// A digest of all that the module is made from.
pub(crate) fn fingerprint(lab: &Lab) -> Result<String> {
    let kernel = lab.kernel.recipe().concat();
    let mut all =
        format!("{} {} {kernel}", recipe::key(lab.arch), lab.kernel.record()).into_bytes();
    let mut left = vec![
        workspace::dir().join("driver"),
        workspace::dir().join("uapi/src"),
    ];
    let mut files = Vec::new();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    for file in files {
        all.extend(file.as_os_str().as_encoded_bytes());
        all.extend(fs::read(&file)?);
    }
    Ok(recipe::digest(&all))
}
