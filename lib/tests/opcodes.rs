// SPDX-License-Identifier: MIT OR Apache-2.0

//! The numbers of the ioctls, by rustix's formula.

use chrmem_uapi::abi;
use rustix::ioctl::opcode;

#[test]
fn numbers_are_those_of_rustix() {
    assert_eq!(abi::INFO, opcode::read::<abi::Info>(abi::MAGIC, 0));
    assert_eq!(
        abi::WINDOW,
        opcode::read_write::<abi::Window>(abi::MAGIC, 1)
    );
    assert_eq!(abi::CLEAR, opcode::write::<abi::Range>(abi::MAGIC, 2));
    assert_eq!(abi::RESET, opcode::none(abi::MAGIC, 3));
    assert_eq!(abi::NOTIFY, opcode::none(abi::MAGIC, 4));
    assert_eq!(abi::SEEN, opcode::read::<u64>(abi::MAGIC, 5));
    assert_eq!(abi::SYNC, opcode::write::<abi::Range>(abi::MAGIC, 6));
    assert_eq!(abi::EXPORT, opcode::write::<abi::Range>(abi::MAGIC, 7));
    assert_eq!(
        abi::CHANGES,
        opcode::read_write::<abi::Changes>(abi::MAGIC, 8)
    );
}
