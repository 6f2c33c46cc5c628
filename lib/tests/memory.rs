// SPDX-License-Identifier: MIT OR Apache-2.0

//! Access to memory, whatever file it is of. Miri can run all of this, and most of the ring:
//! `cargo +nightly miri test -p chrmem --test memory --test ring`.

use chrmem::{Error, Mapping};
use std::sync::atomic::Ordering;
use std::thread;
use zerocopy::{big_endian, FromBytes, Immutable, IntoBytes};

fn memory(len: usize) -> Mapping {
    let memory = Mapping::anonymous(len).unwrap();
    let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
    memory.copy_from(0, &bytes).unwrap();
    memory
}

#[test]
fn no_memory_is_refused() {
    let error = Mapping::anonymous(0).unwrap_err();
    assert!(matches!(error, Error::EmptyRange { start: 0, end: 0 }));
}

#[test]
fn copies_of_every_alignment_and_length_move_their_bytes_and_no_others() {
    let memory = memory(64);
    for offset in 0..10 {
        for length in 0..30 {
            let mut bytes = vec![0; length];
            memory.copy_to(offset, &mut bytes).unwrap();
            assert!(bytes
                .iter()
                .zip(offset..)
                .all(|(byte, at)| *byte == at as u8));
            memory.copy_from(offset, &vec![0xee; length]).unwrap();
            let mut all = [0; 64];
            memory.copy_to(0, &mut all).unwrap();
            for (at, byte) in all.into_iter().enumerate() {
                let inside = (offset..offset + length).contains(&at);
                assert_eq!(byte, if inside { 0xee } else { at as u8 });
            }
            memory.copy_from(offset, &bytes).unwrap();
        }
    }
}

#[test]
fn a_view_is_its_range_and_nothing_else() {
    let memory = memory(100);
    let view = memory.view(10..20).unwrap();
    let mut bytes = [0; 10];
    view.copy_to(0, &mut bytes).unwrap();
    assert_eq!(bytes, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    for (offset, length) in [(0, 11), (10, 1), (11, 0), (usize::MAX, 1), (usize::MAX, 0)] {
        let error = view.copy_to(offset, &mut vec![0; length]).unwrap_err();
        let Error::OutOfBounds {
            offset: o,
            length: l,
            size: 10,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((o, l), (offset, length));
        assert!(view.copy_from(offset, &vec![0; length]).is_err());
    }
    let inner = view.view(5..).unwrap().view(..=2).unwrap();
    assert_eq!(inner.len(), 3);
    assert_eq!(inner.read::<u8>(0).unwrap(), 15);
    inner.write(2, &0_u8).unwrap();
    assert_eq!(inner.c_string(0).unwrap(), [15, 16]);
    assert_eq!(memory.read::<u8>(17).unwrap(), 0);
}

#[test]
fn ranges_that_do_not_lie_in_a_view_are_refused() {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let memory = memory(100);
    let view = memory.view(10..20).unwrap();
    assert_eq!(view.view(..).unwrap().len(), 10);
    assert_eq!(view.view(10..).unwrap().len(), 0);
    for (start, end) in [
        (Included(0), Excluded(11)),
        (Included(11), Unbounded),
        (Included(6), Excluded(5)),
        (Included(usize::MAX), Unbounded),
        (Excluded(usize::MAX), Unbounded),
        (Included(0), Included(usize::MAX)),
        (Included(usize::MAX), Included(usize::MAX)),
        (Unbounded, Excluded(usize::MAX)),
    ] {
        let error = view.view((start, end)).unwrap_err();
        assert!(
            matches!(error, Error::OutOfBounds { size: 10, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn words_are_loaded_and_stored_whole_where_they_are_aligned() {
    let memory = memory(64);
    memory
        .store(8, 0x1122_3344_5566_7788_u64, Ordering::Release)
        .unwrap();
    assert_eq!(
        memory.load::<u64>(8, Ordering::Acquire).unwrap(),
        0x1122_3344_5566_7788
    );
    assert_eq!(memory.read::<u64>(8).unwrap(), 0x1122_3344_5566_7788);
    memory.store(63, -1_i8, Ordering::Relaxed).unwrap();
    assert_eq!(memory.load::<u8>(63, Ordering::Relaxed).unwrap(), 255);
    for offset in [1, 2, 4, 7] {
        let error = memory.load::<u64>(offset, Ordering::Relaxed).unwrap_err();
        let Error::Misaligned {
            offset: o,
            align: 8,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(o, offset);
    }
    // What counts is the address, not the offset in a view.
    let view = memory.view(4..).unwrap();
    view.load::<u64>(4, Ordering::Relaxed).unwrap();
    assert!(matches!(
        view.load::<u64>(0, Ordering::Relaxed),
        Err(Error::Misaligned { .. })
    ));
    for offset in [57, 64, usize::MAX] {
        let error = memory.store(offset, 0_u64, Ordering::Relaxed).unwrap_err();
        assert!(matches!(
            error,
            Error::OutOfBounds {
                length: 8,
                size: 64,
                ..
            }
        ));
        assert!(memory.atomic::<u64>(offset).is_err());
    }
}

#[test]
fn atomic_accesses_are_those_of_the_standard_library() {
    use Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
    macro_rules! all {
        ($($word:ty),*) => {$({
            let memory = Mapping::anonymous(64).unwrap();
            let word = memory.atomic::<$word>(8).unwrap();
            word.store(<$word>::MAX, SeqCst);
            assert_eq!(word.fetch_add(3, Relaxed), <$word>::MAX);
            assert_eq!(word.load(Acquire), <$word>::MIN + 2);
            assert_eq!(word.swap(7, AcqRel), <$word>::MIN + 2);
            assert_eq!(word.compare_exchange(6, 8, AcqRel, Relaxed), Err(7));
            assert_eq!(word.compare_exchange(7, 8, SeqCst, Acquire), Ok(7));
            assert_eq!(word.fetch_update(AcqRel, Acquire, |it| it.checked_mul(4)), Ok(8));
            assert_eq!(word.fetch_update(AcqRel, Acquire, |_| None), Err(32));
            word.store(5, Relaxed);
            assert_eq!(memory.read::<$word>(8).unwrap(), 5);
            // Its own bytes, and no others.
            let mut bytes = [0; 64];
            memory.copy_to(0, &mut bytes).unwrap();
            assert_eq!(bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 5);
            for load in [Ordering::Release, AcqRel] {
                assert!(std::panic::catch_unwind(|| word.load(load)).is_err());
            }
            for store in [Acquire, AcqRel] {
                assert!(std::panic::catch_unwind(|| word.store(1, store)).is_err());
            }
            assert_eq!(word.load(SeqCst), 5);
        })*};
    }
    all!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
}

#[test]
fn threads_count_together() {
    let memory = Mapping::anonymous(64).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let counter = memory.atomic::<u32>(12).unwrap();
                for _ in 0..100 {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(memory.load::<u32>(12, Ordering::Relaxed).unwrap(), 400);
}

/// One thread stores whole integers of two values, another one finds nothing but these two, also as parts of
/// larger values.
#[test]
#[cfg_attr(
    miri,
    ignore = "Miri takes mapped memory for Rust's, where this would be a race"
)]
fn aligned_integers_are_never_torn() {
    use std::sync::atomic::AtomicBool;

    #[derive(FromBytes, IntoBytes, Immutable)]
    #[repr(C)]
    struct Record {
        first: u32,
        rest: [u32; 4],
    }

    const ROUNDS: usize = 300_000;
    let memory = Mapping::anonymous(4096).unwrap();
    // At multiples of their sizes, but not of eight if they are smaller.
    let (short, int, long) = (memory.view(2..4), memory.view(12..16), memory.view(24..32));
    let (short, int, long) = (short.unwrap(), int.unwrap(), long.unwrap());
    // The integer is its `rest[1]`, and its first half.
    let record = memory.view(4..).unwrap();
    let done = AtomicBool::new(false);
    let mut torn = [0; 5];
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for value in [0, u64::MAX] {
                    short.write(0, &(value as u16)).unwrap();
                    int.write(0, &(value as u32)).unwrap();
                    long.write(0, &value).unwrap();
                }
            }
        });
        for _ in 0..ROUNDS {
            let found = [
                short.read::<i16>(0).map(i64::from),
                int.array::<i32>().get(0).map(i64::from),
                int.array::<i32>().iter().next().unwrap().map(i64::from),
                long.read(0),
                record
                    .read::<Record>(0)
                    .map(|it| i64::from(it.rest[1] as i32)),
            ];
            for (torn, found) in torn.iter_mut().zip(found) {
                *torn += usize::from(![0, -1].contains(&found.unwrap()));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(torn, [0; 5], "in {ROUNDS} rounds");
}

#[derive(FromBytes, IntoBytes, Immutable, Debug, PartialEq, Clone, Copy)]
#[repr(C)]
struct Sample {
    channel: big_endian::U16,
    level: [u8; 3],
}

#[test]
fn an_array_is_as_many_elements_as_fit() {
    let memory = memory(64);
    let samples = memory.view(1..).unwrap().array::<Sample>();
    assert_eq!((samples.len(), samples.is_empty()), (12, false));
    assert_eq!(
        samples.get(1).unwrap(),
        Sample {
            channel: 0x0607.into(),
            level: [8, 9, 10]
        }
    );
    let other = Sample {
        channel: 0xabcd.into(),
        level: [1, 2, 3],
    };
    samples.set(11, &other).unwrap();
    assert_eq!(memory.read::<[u8; 5]>(56).unwrap(), [0xab, 0xcd, 1, 2, 3]);
    assert_eq!(memory.read::<[u8; 3]>(61).unwrap(), [61, 62, 63]);

    let mut copies = [other; 3];
    samples.copy_to(9, &mut copies).unwrap();
    assert_eq!(copies[2], other);
    samples.copy_from(0, &copies).unwrap();
    assert_eq!(samples.get(2).unwrap(), other);
    let all: Vec<Sample> = samples.iter().map(Result::unwrap).collect();
    assert_eq!(all.len(), 12);
    assert_eq!((all[2], all[11]), (other, other));
}

#[test]
fn elements_that_are_not_there_are_refused_with_the_numbers() {
    let memory = memory(64);
    let array = memory.array::<u32>();
    for (error, missing) in [
        (array.get(16).unwrap_err(), 16),
        (array.get(usize::MAX).unwrap_err(), usize::MAX),
        (array.set(17, &0).unwrap_err(), 17),
        (array.copy_to(10, &mut [0; 7]).unwrap_err(), 16),
        (array.copy_from(17, &[]).unwrap_err(), 17),
    ] {
        let Error::NoElement { index, len: 16 } = error else {
            panic!("{error:?}")
        };
        assert_eq!(index, missing);
    }
    array.copy_to(16, &mut []).unwrap();
    assert_eq!(memory.array::<()>().len(), 0);
    assert_eq!(
        array.get(16).unwrap_err().to_string(),
        "there is no element 16 in an array of 16"
    );
}
