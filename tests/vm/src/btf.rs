// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's own description of its types.

use std::fs;

/// The types of the running kernel.
pub(crate) struct Btf {
    bytes: Vec<u8>,
    /// Where each type is, by its number.
    types: Vec<usize>,
    /// The names, each between two NULs.
    names: String,
}

/// A `struct` or a `union`.
const STRUCT: u32 = 4;
const UNION: u32 = 5;

impl Btf {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let bytes = fs::read("/sys/kernel/btf/vmlinux").expect("/sys");
        let number = |at: usize| u32_at(&bytes, at) as usize;
        assert_eq!(bytes[..2], [0x9f, 0xeb]);
        let header = number(4);
        let (start, len) = (header + number(8), number(12));
        let (first, all) = (header + number(16), number(20));
        let names = String::from_utf8(bytes[first..first + all].to_vec()).expect("text");
        let mut types = vec![0];
        let mut at = start;
        while at < start + len {
            types.push(at);
            at += 12 + more(u32_at(&bytes, at + 4));
        }
        Self {
            bytes,
            types,
            names,
        }
    }

    /// How many bytes into `structure` its `member` is.
    pub(crate) fn offset(&self, structure: &str, member: &str) -> u64 {
        let name = self.name(structure);
        let types = self.types[1..].iter();
        let is_it = |at: usize| self.u32_at(at) == name && kind(self.u32_at(at + 4)) == STRUCT;
        let at = { types }.find(|at| is_it(**at));
        let at = at.unwrap_or_else(|| panic!("no struct {structure}"));
        let bits = self.member(*at, self.name(member));
        let bits = bits.unwrap_or_else(|| panic!("no {member} in struct {structure}"));
        assert!(bits % 8 == 0);
        u64::from(bits / 8)
    }

    /// How many bits into a type its member of this name is, also where that is a member of one
    /// without a name.
    fn member(&self, at: usize, name: u32) -> Option<u32> {
        let info = self.u32_at(at + 4);
        if ![STRUCT, UNION].contains(&kind(info)) {
            return None;
        }
        (0..count(info)).find_map(|index| {
            let member = at + 12 + index * 12;
            let [own_name, inner, place] = [0, 4, 8].map(|field| self.u32_at(member + field));
            let bits = if info >> 31 == 1 {
                place & 0xff_ffff
            } else {
                place
            };
            if own_name == name {
                return Some(bits);
            }
            if own_name != 0 {
                return None;
            }
            Some(bits + self.member(self.types[inner as usize], name)?)
        })
    }

    /// Where among the names this one is.
    fn name(&self, name: &str) -> u32 {
        let at = self.names.find(&format!("\0{name}\0")).expect(name);
        at as u32 + 1
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32_at(&self.bytes, at)
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn count(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// How many bytes follow a type, after its first twelve.
fn more(info: u32) -> usize {
    match kind(info) {
        // An integer, a variable, a declaration's tag.
        1 | 14 | 17 => 4,
        // An array.
        3 => 12,
        // Structures, unions, sections, large enumerations: three numbers for each part.
        STRUCT | UNION | 15 | 19 => 12 * count(info),
        // Enumerations, functions: two numbers.
        6 | 13 => 8 * count(info),
        _ => 0,
    }
}

/// A number out of the description.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
