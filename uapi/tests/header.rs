// SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT

//! Compares `include/linux/chrmem.h` with [`abi`]: every constant, structure size and field.
//!
//! The host's C compiler does the comparing: it compiles one `_Static_assert` for each fact that
//! Rust knows, for 64-bit callers and for 32-bit ones. What one side has and the other has not is
//! found by comparing names.

use chrmem_uapi::abi;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};

/// A constant's value, as C spells it.
enum Value {
    Number(u64),
    Text(&'static str),
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<&'static [u8]> for Value {
    fn from(text: &'static [u8]) -> Self {
        let text = text
            .strip_suffix(b"\0")
            .expect("a C string ends with a NUL");
        Self::Text(std::str::from_utf8(text).expect("a C string of ASCII"))
    }
}

/// Every constant of [`abi`], by its name there.
fn rust_constants() -> BTreeMap<&'static str, Value> {
    macro_rules! constants {
        ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), Value::from(abi::$name))),*]) };
    }
    constants! {
        VERSION REGION_NAME MAGIC MEM_CLEAR MEM_RESET INFO WINDOW CLEAR RESET NOTIFY SEEN SYNC
        EXPORT CHANGES WINDOW_TRACKED WINDOW_REVOCABLE WINDOW_GONE SYNC_READ SYNC_WRITE SYNC_END RESET_TEXT FILL NAME_SIZE MEMORY_PAGES MEMORY_CONTIGUOUS MEMORY_DMA MEMORY_PHYSICAL CACHE_CACHED
        CACHE_WRITECOMBINE CACHE_NONCACHED ACCESS_READ ACCESS_WRITE ADDRESS_UNKNOWN
    }
}

/// A field's name, offset and size.
type Field = (&'static str, usize, usize);

/// Every structure of [`abi`]: its name in C, its size, its fields.
fn rust_structures() -> Vec<(&'static str, usize, Vec<Field>)> {
    fn size_behind<S, F>(_: fn(&S) -> &F) -> usize {
        size_of::<F>()
    }
    macro_rules! structure {
        ($c:literal, $rust:ident { $($field:ident)* }) => {{
            // A field that is missing below does not compile.
            let abi::$rust { $($field: _),* } = abi::$rust::default();
            ($c, size_of::<abi::$rust>(), vec![$((
                stringify!($field),
                std::mem::offset_of!(abi::$rust, $field),
                size_behind(|s: &abi::$rust| &s.$field),
            )),*])
        }};
    }
    vec![
        structure!("chrmem_info", Info { version windows size generation page_size reserved }),
        structure!("chrmem_window", Window {
            index flags offset size address memory cache access reserved name
        }),
        structure!("chrmem_range", Range { offset size flags reserved }),
        structure!("chrmem_change", Change { offset size }),
        structure!("chrmem_changes", Changes {
            since generation offset size changes room count flags reserved
        }),
    ]
}

/// The name in C of a constant of [`abi`].
fn c_name(rust_name: &str) -> String {
    match rust_name {
        "MAGIC" | "INFO" | "WINDOW" | "CLEAR" | "RESET" | "NOTIFY" | "SEEN" | "SYNC" | "EXPORT"
        | "CHANGES" => {
            format!("CHRMEM_IOC_{rust_name}")
        }
        name => format!("CHRMEM_{name}"),
    }
}

/// Every `CHRMEM_` macro that the preprocessor sees after the header, with its text.
fn c_constants() -> BTreeMap<String, String> {
    let macros = compile(&["-E", "-dM"], HEADER).expect("the preprocessor to take the header");
    macros
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .filter(|(name, _)| name.starts_with("CHRMEM_"))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// Every structure of the header with the names of its fields, as the preprocessor leaves them.
fn c_structures() -> BTreeMap<String, Vec<String>> {
    let source = compile(&["-E", "-P"], HEADER).expect("the preprocessor to take the header");
    let mut structures = BTreeMap::new();
    for piece in source.split("struct chrmem_").skip(1) {
        let Some((name, rest)) = piece.split_once('{') else {
            continue;
        };
        let (body, _) = rest
            .split_once('}')
            .expect("a structure without nested ones");
        let fields = body
            .split(';')
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .map(|field| {
                let declared = field.split('[').next().unwrap_or(field);
                declared
                    .split_whitespace()
                    .last()
                    .expect("a type and a name")
                    .to_owned()
            });
        structures.insert(format!("chrmem_{}", name.trim()), fields.collect());
    }
    structures
}

/// The smallest C source that has the header in it.
const HEADER: &str = "#include <linux/chrmem.h>\n";

/// Runs the C compiler on `source`: what it printed, or its complaints.
fn compile(options: &[&str], source: &str) -> Result<String, String> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
    let mut child = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"])
        .args(["-I", concat!(env!("CARGO_MANIFEST_DIR"), "/include")])
        .args(options)
        .args(["-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs a C compiler: {compiler:?}: {error}"));
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(source.as_bytes())
        .expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// A C source that compiles only if the header agrees with [`abi`] in everything.
fn assertions() -> String {
    let mut source = String::from(HEADER);
    let mut claim = |claim: String| {
        source += &format!("_Static_assert({claim}, \"abi.rs says: {claim}\");\n");
    };
    for (name, value) in rust_constants() {
        // Texts are no constant expressions in C: `texts_agree` compares them.
        if let Value::Number(number) = value {
            claim(format!("{} == {number}u", c_name(name)));
        }
    }
    for (name, size, fields) in rust_structures() {
        claim(format!("sizeof(struct {name}) == {size}"));
        for (field, offset, size) in fields {
            claim(format!(
                "__builtin_offsetof(struct {name}, {field}) == {offset}"
            ));
            claim(format!("sizeof(((struct {name} *)0)->{field}) == {size}"));
        }
    }
    source
}

#[test]
fn the_header_agrees_for_64_bit_callers() {
    compile(&["-fsyntax-only"], &assertions()).unwrap_or_else(|complaints| panic!("{complaints}"));
}

#[test]
fn the_header_agrees_for_32_bit_callers() {
    if compile(&["-m32", "-fsyntax-only"], "extern int probe;\n").is_err() {
        eprintln!("skipped: this C compiler cannot compile for 32 bits");
        return;
    }
    // The kernel's headers for the machine lie in a folder that -m32 does not look into.
    let machine = compile(&["-print-multiarch"], "").expect("gcc and clang know this option");
    let headers = format!("/usr/include/{}", machine.trim());
    compile(
        &["-m32", "-idirafter", &headers, "-fsyntax-only"],
        &assertions(),
    )
    .unwrap_or_else(|complaints| panic!("{complaints}"));
}

#[test]
fn a_wrong_claim_does_not_compile() {
    let wrong = assertions().replace(
        "sizeof(struct chrmem_range) == 24",
        "sizeof(struct chrmem_range) == 28",
    );
    let complaints = compile(&["-fsyntax-only"], &wrong).expect_err("24 is not 28");
    assert!(
        complaints.contains("sizeof(struct chrmem_range) == 28"),
        "{complaints}"
    );
}

#[test]
fn texts_agree() {
    let header = c_constants();
    for (name, value) in rust_constants() {
        if let Value::Text(text) = value {
            assert_eq!(
                header.get(&c_name(name)),
                Some(&format!("{text:?}")),
                "{name}"
            );
        }
    }
}

#[test]
fn the_header_has_the_same_constants_and_no_others() {
    let rust: Vec<String> = {
        let mut names: Vec<_> = rust_constants().into_keys().map(c_name).collect();
        names.sort();
        names
    };
    let header: Vec<String> = c_constants().into_keys().collect();
    assert_eq!(header, rust);
}

#[test]
fn the_header_has_the_same_structures_and_no_others() {
    let rust: BTreeMap<String, Vec<String>> = rust_structures()
        .into_iter()
        .map(|(name, _, fields)| {
            (
                name.to_owned(),
                fields
                    .iter()
                    .map(|(field, ..)| (*field).to_owned())
                    .collect(),
            )
        })
        .collect();
    assert_eq!(c_structures(), rust);
}

/// The lists above cannot lag behind `abi.rs`.
#[test]
fn no_item_of_abi_is_left_out() {
    let source = include_str!("../src/abi.rs");
    let named = |keyword: &str| -> Vec<&str> {
        let mut names: Vec<_> = source
            .lines()
            .filter_map(|line| {
                line.strip_prefix("pub ")?
                    .strip_prefix(keyword)?
                    .strip_prefix(' ')
            })
            .filter_map(|rest| rest.split([':', ' ', '(', '<']).next())
            .collect();
        names.sort_unstable();
        names
    };
    let constants: Vec<_> = rust_constants().into_keys().collect();
    assert_eq!(named("const"), constants);
    assert_eq!(
        named("struct"),
        ["Change", "Changes", "Info", "Range", "Window"]
    );
}
