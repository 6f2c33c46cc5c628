// SPDX-License-Identifier: MIT OR Apache-2.0

//! What an access through the library costs, as a ratio to the plainest code that does the same, in the same run:
//!
//! ```console
//! $ cargo bench -p chrmem
//! ```
//!
//! Each figure is the best of many rounds. The goals are 1.2 for values and 1.1 for copies from 4 KiB on.

#![allow(unsafe_code, reason = "what is compared with: volatile loads, memcpy")]

use chrmem::{MapOptions, Mapping};
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

/// Bytes of the memory that values are in: less than the nearest cache has.
const BYTES: usize = 16 << 10;

/// The best times of the two, each run in turn.
fn compare(mut plain: impl FnMut(), mut library: impl FnMut()) -> [Duration; 2] {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let mut best = [Duration::MAX; 2];
    for _ in 0..300 {
        best[0] = best[0].min(time(&mut plain));
        best[1] = best[1].min(time(&mut library));
    }
    best
}

fn show(what: &str, count: usize, [plain, library]: [Duration; 2]) {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / count as f64;
    println!(
        "{what:40} {:9.2} ns {:9.2} ns   ratio {:.2}",
        each(plain),
        each(library),
        library.as_secs_f64() / plain.as_secs_f64()
    );
}

macro_rules! values {
    ($($word:ty),*) => {$({
        let memory = Mapping::anonymous(BYTES).expect("memory");
        let (count, first) = (BYTES / size_of::<$word>(), memory.as_ptr().cast::<$word>());
        let array = memory.array::<$word>();
        const REPEATS: usize = 20;
        let plain = || {
            for _ in 0..REPEATS {
                let mut sum: $word = 0;
                for index in 0..count {
                    // SAFETY: there are `count` integers from `first` on, aligned, in memory of this thread's.
                    sum = sum.wrapping_add(unsafe { first.add(index).read_volatile() });
                }
                black_box(sum);
            }
        };
        let name = stringify!($word);
        let elements = REPEATS * count;
        show(&format!("{name}: a loop over iter()"), elements, compare(plain, || {
            for _ in 0..REPEATS {
                let mut sum: $word = 0;
                for value in array.iter() {
                    sum = sum.wrapping_add(value.expect("an element"));
                }
                black_box(sum);
            }
        }));
        show(&format!("{name}: get(index)"), elements, compare(plain, || {
            for _ in 0..REPEATS {
                let mut sum: $word = 0;
                for index in 0..array.len() {
                    sum = sum.wrapping_add(array.get(index).expect("an element"));
                }
                black_box(sum);
            }
        }));
        show(&format!("{name}: read(offset)"), elements, compare(plain, || {
            for _ in 0..REPEATS {
                let mut sum: $word = 0;
                for index in 0..count {
                    let value = memory.read::<$word>(index * size_of::<$word>());
                    sum = sum.wrapping_add(value.expect("a value"));
                }
                black_box(sum);
            }
        }));
        let plain = || {
            for _ in 0..REPEATS {
                for index in 0..count {
                    // SAFETY: there are `count` integers from `first` on, aligned, in memory of this thread's.
                    unsafe { first.add(index).write_volatile(index as $word) };
                }
            }
        };
        show(&format!("{name}: set(index)"), elements, compare(plain, || {
            for _ in 0..REPEATS {
                for index in 0..count {
                    array.set(index, &(index as $word)).expect("an element");
                }
            }
        }));
    })*};
}

fn copies() {
    for size in [64, 512, 4 << 10, 64 << 10, 1 << 20] {
        let memory = Mapping::anonymous(size).expect("memory");
        memory.copy_from(0, &vec![1; size]).expect("room");
        let (mut one, mut other) = (vec![0_u8; size], vec![0_u8; size]);
        let repeats = ((4 << 20) / size).min(2000);
        let to = compare(
            || {
                for _ in 0..repeats {
                    // SAFETY: `size` bytes from there on are memory of this thread's, and no part of `one`.
                    unsafe { one.as_mut_ptr().copy_from(memory.as_ptr(), black_box(size)) };
                    black_box(&mut one);
                }
            },
            || {
                for _ in 0..repeats {
                    memory
                        .copy_to(0, &mut other[..black_box(size)])
                        .expect("bytes");
                    black_box(&mut other);
                }
            },
        );
        show(&format!("copy_to, {size} bytes"), repeats, to);
        let from = compare(
            || {
                for _ in 0..repeats {
                    // SAFETY: `size` bytes from there on are memory of this thread's, and no part of `one`.
                    unsafe { memory.as_ptr().copy_from(black_box(&one).as_ptr(), size) };
                }
            },
            || {
                for _ in 0..repeats {
                    memory.copy_from(0, black_box(&other)).expect("room");
                }
            },
        );
        show(&format!("copy_from, {size} bytes"), repeats, from);
    }
}

/// A file that can become shorter: one copy by the kernel of all, beside the elements.
fn guarded() {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![1; BYTES]).expect("room");
    let memory = MapOptions::new().map_file(&file).expect("a mapping");
    let mut copy = vec![0_u8; BYTES];
    let array = memory.array::<u64>();
    let times = compare(
        || {
            memory.copy_to(0, &mut copy).expect("bytes");
            let words = copy.chunks_exact(8);
            let words = words.map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
            black_box(words.fold(0, u64::wrapping_add));
        },
        || {
            let words = array.iter().map(|word| word.expect("an element"));
            black_box(words.fold(0, u64::wrapping_add));
        },
    );
    show("u64: iter() of a file, and one copy", BYTES / 8, times);
}

fn main() {
    println!("{:40} {:>12} {:>12}", "", "plain", "chrmem");
    values!(u8, u16, u32, u64);
    copies();
    guarded();
}
