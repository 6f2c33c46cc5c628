// SPDX-License-Identifier: MIT OR Apache-2.0

//! `cargo xtask install` and `uninstall`: this machine, without packages. All is built by the user; only what is
//! finished is put in its place, by root.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use duct::cmd;
use fs_err as fs;

use crate::arch::Arch;
use crate::progress::{logged, Step};
use crate::root::is_root;
use crate::stage::{self, Stage};
use crate::{cache, dist, prepare, workspace};

/// How to install.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kernel: prepare::Args,
    /// Do not load the module.
    #[arg(long)]
    no_load: bool,
    /// Sign the module with this key, for Secure Boot.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The key's certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Take this command, and build none.
    #[arg(long, value_name = "FILE")]
    command: Option<PathBuf>,
    /// Lay out in this folder what would be installed, and install nothing.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

/// Builds and installs.
pub(crate) fn install(args: &Args) -> Result<ExitCode> {
    let release = args.kernel.release();
    prepare::ensure_supported(&release)?;
    let tree = prepare::tree(&release)?.with_context(|| {
        format!("there is no tree of Linux {release} with Rust metadata: run `cargo xtask kernel prepare`")
    })?;
    let build = cache::dir()?.join("install").join(&release);
    fs::create_dir_all(&build)?;
    let dir = args.stage.clone().unwrap_or_else(|| build.join("root"));
    let stage = Stage::empty(dir)?;
    module(&tree, &build, &release, &stage)?;
    let command = match &args.command {
        Some(file) => file.clone(),
        None => dist::build::chrmem(Arch::native())?,
    };
    stage::user_space(&stage, &command, &command, "/usr/local")?;
    if args.stage.is_some() {
        println!("{}", stage.dir().display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut words = vec![
        stage.dir().into(),
        release.clone().into(),
        if args.no_load { "" } else { "load" }.into(),
    ];
    if let (Some(key), Some(certificate)) = (&args.key, &args.certificate) {
        words.extend([
            tree.join("scripts/sign-file").into_os_string(),
            key.into(),
            certificate.into(),
        ]);
    }
    as_root("install.sh", &words)?;
    eprintln!("installed for Linux {release}; `chrmem doctor` tells how it is, `cargo xtask uninstall` removes it");
    Ok(ExitCode::SUCCESS)
}

/// Removes what was installed.
pub(crate) fn uninstall() -> Result<ExitCode> {
    as_root("uninstall.sh", &[])?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the module, and has the kernel's own makefiles put it into the stage.
fn module(tree: &Path, build: &Path, release: &str, stage: &Stage) -> Result<()> {
    let step = Step::new(format!("building the driver for Linux {release}"), None);
    let compiler = fs::read_to_string(tree.join(".kernelvariables")).unwrap_or_default();
    let compiler = compiler.lines().find_map(|line| line.strip_prefix("CC = "));
    let make = |target: &str| {
        let mut argv = vec![
            "-i".into(),
            // The distribution's compilers, whatever else is on the user's path.
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin".into(),
            "LC_ALL=C.UTF-8".into(),
            "make".into(),
            "-C".into(),
            workspace::dir().join("driver").display().to_string(),
            format!("KDIR={}", tree.display()),
            format!("MO={}", build.join("module").display()),
            // The key that signed the kernel is its maker's. Ours signs the plain file, so it stays that.
            "CONFIG_MODULE_SIG_ALL=".into(),
            "CONFIG_MODULE_COMPRESS_ALL=".into(),
            "INSTALL_MOD_STRIP=1".into(),
            format!("INSTALL_MOD_PATH={}", stage.dir().join("usr").display()),
            // For the machine itself, not for the stage.
            "DEPMOD=true".into(),
        ];
        argv.extend(
            compiler
                .filter(|it| !it.contains('$'))
                .map(|it| format!("CC={it}")),
        );
        argv.push(target.to_owned());
        cmd("env", argv)
    };
    fs::create_dir_all(build.join("module"))?;
    logged(&make("modules"), &build.join("log"), |_| {}).context("the driver does not build")?;
    logged(&make("modules_install"), &build.join("install.log"), |_| {})?;
    let module = stage
        .dir()
        .join(format!("usr/lib/modules/{release}/updates/chrmem.ko"));
    ensure!(module.exists(), "there is no {}", module.display());
    step.done();
    Ok(())
}

/// Runs one of the scripts that change the machine.
fn as_root(script: &str, words: &[std::ffi::OsString]) -> Result<()> {
    let script = workspace::dir().join("dist/install").join(script);
    let mut argv = vec!["sh".into(), script.into_os_string()];
    argv.extend(words.iter().cloned());
    if !is_root() {
        argv.insert(0, "sudo".into());
    }
    cmd(argv[0].clone(), &argv[1..]).run()?;
    Ok(())
}
