// SPDX-License-Identifier: MIT OR Apache-2.0

//! vivid: a camera that exists in software only, with the two allocators that most cameras' drivers use.

use super::memory::{Memory, SIZE};
use super::{argument, field, wide_field, Outcome, LIMIT, PASS};
use crate::driver::open_node;
use crate::modprobe::Module;
use crate::sys::{ioctl, Buffer, Map};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};

/// What V4L2 calls the allocator of a driver.
#[derive(Clone, Copy)]
pub(super) enum Allocator {
    /// vb2-vmalloc, of USB cameras: the processor writes the frames.
    Vmalloc,
    /// vb2-dma-contig, of cameras on a chip: needs memory in one run.
    Contiguous,
}

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;

/// `enum v4l2_memory`.
const MMAP: u32 = 1;
const USERPTR: u32 = 2;
const DMABUF: u32 = 4;

/// The size of `struct v4l2_buffer`.
const BUFFER: usize = 88;

/// The camera. It shows a still picture.
pub(super) struct Camera {
    node: OwnedFd,
    /// The picture, as captured into the driver's own memory.
    picture: Vec<u8>,
    _module: Module,
}

impl Camera {
    pub(super) fn new(allocator: Allocator) -> Self {
        const GET_FORMAT: u32 = 0xc0d0_5604;
        const SET_FORMAT: u32 = 0xc0d0_5605;
        const SET_CONTROL: u32 = 0xc008_561c;
        const TEXT_MODE: u32 = 0x00f0_f001;
        const NO_TEXT: u32 = 2;
        let allocators = match allocator {
            Allocator::Vmalloc => "allocators=0",
            Allocator::Contiguous => "allocators=1",
        };
        let parameters = ["n_devs=1", "node_types=0x1", "num_inputs=1", allocators];
        let module = Module::load("vivid", &parameters);
        let node = open_node("/dev/video0", OFlags::RDWR).expect("/dev/video0");
        // Without the time in it, every frame is the same.
        let control = argument([(0, TEXT_MODE), (4, NO_TEXT)]);
        assert_eq!(ioctl(&node, SET_CONTROL, control.span(0, 8)), Ok(0));
        let format = argument([(0, CAPTURE)]);
        assert_eq!(ioctl(&node, GET_FORMAT, format.span(0, 208)), Ok(0));
        format.write(8, &[320_u32.to_ne_bytes(), 180_u32.to_ne_bytes()].concat());
        assert_eq!(ioctl(&node, SET_FORMAT, format.span(0, 208)), Ok(0));
        let size = field(&format, 28) as usize;
        assert!(size < SIZE, "{size}");
        let mut camera = Self {
            node,
            picture: Vec::new(),
            _module: module,
        };
        camera.picture = camera.own(size);
        camera
    }

    /// A frame, captured into the driver's own memory.
    fn own(&self, size: usize) -> Vec<u8> {
        const QUERY: u32 = 0xc058_5609;
        self.request(1, MMAP).expect("VIDIOC_REQBUFS");
        let buffer = argument([(4, CAPTURE), (60, MMAP)]);
        assert_eq!(ioctl(&self.node, QUERY, buffer.span(0, BUFFER)), Ok(0));
        let offset = u64::from(field(&buffer, 64));
        let map = Map::shared_at(&self.node, offset, size).expect("a mapping");
        self.capture(&buffer).expect("a frame");
        let picture = map.read(0..size);
        drop(map);
        self.request(0, MMAP).expect("VIDIOC_REQBUFS");
        assert!(picture.iter().any(|byte| *byte != picture[0]));
        picture
    }

    /// `VIDIOC_REQBUFS`.
    fn request(&self, count: u32, memory: u32) -> Result<usize, Errno> {
        const REQUEST: u32 = 0xc014_5608;
        let request = argument([(0, count), (4, CAPTURE), (8, memory)]);
        ioctl(&self.node, REQUEST, request.span(0, 20))
    }

    /// Captures one frame into a buffer, which a `struct v4l2_buffer` names.
    fn capture(&self, buffer: &Buffer) -> Result<(), Errno> {
        const QUEUE: u32 = 0xc058_560f;
        const DEQUEUE: u32 = 0xc058_5611;
        const STREAM_ON: u32 = 0x4004_5612;
        const STREAM_OFF: u32 = 0x4004_5613;
        const ERROR: u32 = 0x40;
        ioctl(&self.node, QUEUE, buffer.span(0, BUFFER))?;
        let kind = argument([(0, CAPTURE)]);
        ioctl(&self.node, STREAM_ON, kind.span(0, 4))?;
        let mut polled = [PollFd::new(&self.node, PollFlags::IN)];
        let limit = LIMIT.try_into().expect("a time");
        assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "no frame");
        ioctl(&self.node, DEQUEUE, buffer.span(0, BUFFER))?;
        assert_eq!(field(buffer, 12) & ERROR, 0);
        ioctl(&self.node, STREAM_OFF, kind.span(0, 4))?;
        Ok(())
    }

    pub(super) fn capture_into_buffer(&self, memory: &Memory) -> Outcome {
        let number = memory.buffer()?.as_raw_fd();
        self.capture_into(memory, DMABUF, &number.to_ne_bytes())
    }

    pub(super) fn capture_into_mapping(&self, memory: &Memory) -> Outcome {
        self.capture_into(memory, USERPTR, &memory.address().to_ne_bytes())
    }

    fn capture_into(&self, memory: &Memory, kind: u32, place: &[u8]) -> Outcome {
        let before = memory.fill(1);
        self.request(1, kind)?;
        let buffer = argument([(4, CAPTURE), (60, kind), (72, SIZE as u32)]);
        buffer.write(64, place);
        let captured = self.capture(&buffer);
        // Gives the memory back.
        self.request(0, kind).expect("VIDIOC_REQBUFS");
        let after = memory.read();
        if let Err(errno) = captured {
            assert!(after == before, "a refused import wrote");
            return Err(errno);
        }
        let size = self.picture.len();
        assert!(after[..size] == self.picture, "not the picture");
        assert!(after[size..] == before[size..], "bytes behind the picture");
        assert_eq!(
            wide_field(&buffer, 64) as u32,
            u32::from_ne_bytes(place[..4].try_into().expect("4 bytes"))
        );
        Ok(PASS)
    }
}
