// SPDX-License-Identifier: MIT OR Apache-2.0

//! AF_XDP: packets that are sent from, and received into, memory of the program's (UMEM).

use super::memory::{Memory, SIZE};
use super::{address, argument, wait_for, Outcome, PASS};
use crate::sys::{bpf_fd, Buffer, Map};
use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
    XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING,
};
use rustix::net::{bind, send, socket, sockopt, AddressFamily, SendFlags, SocketType};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{fence, Ordering};

/// Bytes of each piece of the memory, which has room for one packet.
const CHUNK: usize = 4096;

/// Packets that are sent. Each goes into another piece than it comes from.
const PACKETS: usize = SIZE / CHUNK / 2;

/// Bytes of a packet.
const LEN: usize = 3000;

/// Where in its piece a received packet starts: the kernel keeps room for headers.
const HEADROOM: usize = 256;

/// Entries of each ring.
const ENTRIES: u32 = 64;

/// The interface that packets come back on: `lo`.
const INTERFACE: u32 = 1;

/// Sends packets to itself, all within the memory.
pub(super) fn send_and_receive(memory: &Memory) -> Outcome {
    let socket = socket(AddressFamily::XDP, SocketType::RAW, None).expect("an AF_XDP socket");
    let umem = XdpUmemReg {
        addr: memory.address(),
        len: SIZE as u64,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    sockopt::set_xdp_umem_reg(&socket, umem)?;
    sockopt::set_xdp_umem_fill_ring_size(&socket, ENTRIES).expect("a ring");
    sockopt::set_xdp_umem_completion_ring_size(&socket, ENTRIES).expect("a ring");
    sockopt::set_xdp_rx_ring_size(&socket, ENTRIES).expect("a ring");
    sockopt::set_xdp_tx_ring_size(&socket, ENTRIES).expect("a ring");
    let offsets = sockopt::xdp_mmap_offsets(&socket).expect("XDP_MMAP_OFFSETS");
    let ring = |offset, place, entry| Ring::new(&socket, offset, place, entry);
    let mut fill = ring(XDP_UMEM_PGOFF_FILL_RING, offsets.fr, 8);
    let completion = ring(XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, 8);
    let receive = ring(XDP_PGOFF_RX_RING, offsets.rx, 16);
    let mut transmit = ring(XDP_PGOFF_TX_RING, offsets.tx, 16);
    let address = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, INTERFACE, 0);
    // The kernel gives the queue back a moment after the last socket has gone.
    let bound = wait_for("the queue", || {
        let answer = bind(&socket, &address);
        (answer != Err(Errno::BUSY)).then_some(answer)
    });
    assert_eq!(bound, Ok(()));
    let program = Program::attach(&socket);

    let before = memory.fill(12);
    for packet in 0..PACKETS {
        let to = ((PACKETS + packet) * CHUNK) as u64;
        fill.produce(&to.to_ne_bytes());
        let from = (packet * CHUNK) as u64;
        let len = (LEN as u64).to_ne_bytes();
        transmit.produce(&[from.to_ne_bytes(), len].concat());
    }
    // The kernel sends some with each call.
    wait_for("the last packet", || {
        match send(&socket, &[], SendFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::BUSY) => {}
            Err(error) => panic!("send: {error}"),
        }
        let came = receive.produced() as usize == PACKETS;
        (came && completion.produced() as usize == PACKETS).then_some(())
    });
    drop(program);

    let mut expected = before.clone();
    for number in 0..PACKETS {
        let entry = receive.entry(number);
        let word = |at: usize| u64::from_ne_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
        let (at, len) = (word(0) as usize, word(8) as u32 as usize);
        assert_eq!(len, LEN);
        assert_eq!(at % CHUNK, HEADROOM);
        assert!((PACKETS..2 * PACKETS).contains(&(at / CHUNK)), "{at}");
        let from = number * CHUNK;
        expected[at..at + LEN].copy_from_slice(&before[from..from + LEN]);
    }
    assert!(memory.read() == expected, "the packets, and nothing else");
    Ok(PASS)
}

/// A ring of entries that this program and the kernel share.
struct Ring {
    map: Map,
    place: XdpRingOffset,
    entry: usize,
    next: u32,
}

impl Ring {
    fn new(socket: &OwnedFd, offset: u64, place: XdpRingOffset, entry: usize) -> Self {
        let len = place.desc as usize + ENTRIES as usize * entry;
        Self {
            map: Map::shared_at(socket, offset, len).expect("a ring"),
            place,
            entry,
            next: 0,
        }
    }

    /// Hands an entry to the kernel.
    fn produce(&mut self, entry: &[u8]) {
        self.map.write(self.at(self.next as usize), entry);
        self.next += 1;
        fence(Ordering::Release);
        self.map.store(self.place.producer as usize, self.next);
    }

    /// How many entries there ever were.
    fn produced(&self) -> u32 {
        let produced = self.map.load(self.place.producer as usize);
        fence(Ordering::Acquire);
        produced
    }

    /// An entry.
    fn entry(&self, number: usize) -> Vec<u8> {
        let at = self.at(number);
        self.map.read(at..at + self.entry)
    }

    fn at(&self, number: usize) -> usize {
        self.place.desc as usize + number % ENTRIES as usize * self.entry
    }
}

/// A program on the interface that hands all packets to one socket, until dropped.
struct Program {
    _link: OwnedFd,
}

impl Program {
    fn attach(socket: &OwnedFd) -> Self {
        const MAP_CREATE: u32 = 0;
        const MAP_UPDATE: u32 = 2;
        const PROGRAM_LOAD: u32 = 5;
        const LINK_CREATE: u32 = 28;
        const MAP_OF_SOCKETS: u32 = 17;
        const XDP: u32 = 6;
        const ON_INTERFACE: u32 = 37;
        /// Where the driver has no XDP of its own.
        const GENERIC: u32 = 2;
        // type, bytes of a key, bytes of a value, entries
        let map = argument([(0, MAP_OF_SOCKETS), (4, 4), (8, 4), (12, 1)]);
        let map = bpf_fd(MAP_CREATE, map.span(0, 128)).expect("a map");
        let (key, value) = (argument([]), argument([(0, socket.as_raw_fd() as u32)]));
        let update = argument([(0, map.as_raw_fd() as u32)]);
        update.write(8, &address(&key));
        update.write(16, &address(&value));
        crate::sys::bpf(MAP_UPDATE, update.span(0, 128)).expect("an entry");
        let code = redirect(map.as_raw_fd());
        let (instructions, license) = (Buffer::new(code.len()), Buffer::new(4));
        instructions.write(0, &code);
        license.write(0, b"GPL\0");
        let load = argument([(0, XDP), (4, code.len() as u32 / 8)]);
        load.write(8, &address(&instructions));
        load.write(16, &address(&license));
        let program = bpf_fd(PROGRAM_LOAD, load.span(0, 128)).expect("a program");
        let number = program.as_raw_fd() as u32;
        let link = argument([
            (0, number),
            (4, INTERFACE),
            (8, ON_INTERFACE),
            (12, GENERIC),
        ]);
        Self {
            _link: bpf_fd(LINK_CREATE, link.span(0, 128)).expect("a link"),
        }
    }
}

/// `return bpf_redirect_map(&map, 0, XDP_PASS)`.
fn redirect(map: i32) -> Vec<u8> {
    const XDP_PASS: i32 = 2;
    const REDIRECT_MAP: i32 = 51;
    // opcode; destination, and above it the source; immediate
    let instructions: [(u8, u8, i32); 6] = [
        (0x18, 0x11, map),
        (0x00, 0x00, 0),
        (0xb7, 0x02, 0),
        (0xb7, 0x03, XDP_PASS),
        (0x85, 0x00, REDIRECT_MAP),
        (0x95, 0x00, 0),
    ];
    instructions
        .iter()
        .flat_map(|(code, registers, immediate)| {
            let mut bytes = vec![*code, *registers, 0, 0];
            bytes.extend(immediate.to_ne_bytes());
            bytes
        })
        .collect()
}
