// SPDX-License-Identifier: GPL-2.0

//! One mistake for each of the kernel's detectors, to see that it is reported. For the lab only.
//!
//! `bug=NUMBER` says which, counted from 0; loading the module makes it. See `xtask/src/detectors.rs` for what has to come of it.

use core::{
    borrow::Borrow,
    hint::black_box,
    mem::forget,
    ptr::{
        read_volatile,
        write_volatile, //
    },
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    new_mutex,
    new_spinlock,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    },
    types::ForeignOwnable, //
};

module! {
    type: Detectors,
    name: "detectors",
    authors: ["The chrmem authors"],
    description: "One mistake for each of the kernel's detectors",
    license: "GPL",
    params: {
        bug: u32 {
            default: 0,
            description: "Which mistake",
        },
    },
}

struct Detectors;

/// The mistakes, in the order of `xtask/src/detectors.rs`.
const BUGS: &[fn() -> Result] = &[
    read_after_free,
    write_past_slab,
    write_past_vmalloc,
    free_twice,
    read_freed_page,
    read_past_static,
    sleep_under_spinlock,
    free_armed_timer,
    lose_object,
    lose_page,
    lock_in_both_orders,
    return_with_lock,
    free_held_lock,
    mutex_under_spinlock,
    overflow,
    index_unchecked,
    put_page_twice,
    in_c_shift_too_far,
    in_c_delete_twice,
    in_c_free_page_in_a_page_table,
];

// What `in_c.c` has.
extern "C" {
    fn shift_too_far(by: c_int) -> c_int;
    fn delete_twice();
    fn free_page_in_a_page_table() -> c_int;
}

impl kernel::Module for Detectors {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        BUGS.get(number(module_parameters::bug.value()))
            .ok_or(EINVAL)?()?;
        Ok(Self)
    }
}

/// A parameter's value, which Linux 7.2 gives by reference and 7.3 by value.
fn number(value: impl Borrow<u32>) -> usize {
    *value.borrow() as usize
}

fn read_after_free() -> Result {
    let pointer = KBox::into_raw(KBox::new(7_u64, GFP_KERNEL)?);
    // SAFETY: The first is right; the second is the mistake.
    unsafe {
        drop(KBox::from_raw(pointer));
        black_box(read_volatile(pointer));
    }
    Ok(())
}

fn write_past_slab() -> Result {
    let mut bytes = KVec::<u8>::with_capacity(100, GFP_KERNEL)?;
    // SAFETY: None, which is the mistake.
    unsafe { write_volatile(bytes.as_mut_ptr().add(bytes.capacity()), 1) };
    Ok(())
}

fn write_past_vmalloc() -> Result {
    // The page goes on where the memory ends: behind a whole page there is none, and the system would end.
    const SIZE: usize = PAGE_SIZE / 2;
    let mut bytes = VVec::<u8>::with_capacity(SIZE, GFP_KERNEL)?;
    // SAFETY: None, which is the mistake.
    unsafe { write_volatile(bytes.as_mut_ptr().add(SIZE), 1) };
    Ok(())
}

fn free_twice() -> Result {
    let pointer = KBox::into_raw(KBox::new([0_u64; 8], GFP_KERNEL)?);
    // SAFETY: The first is right; the second is the mistake.
    unsafe {
        drop(KBox::from_raw(black_box(pointer)));
        drop(KBox::from_raw(black_box(pointer)));
    }
    Ok(())
}

fn read_freed_page() -> Result {
    let page = Page::alloc_page(GFP_KERNEL)?;
    // SAFETY: The page is ours. Its address in the direct map is used after it was freed, which is the mistake.
    unsafe {
        let address = bindings::kmap_local_page(page.as_ptr()).cast::<u8>();
        bindings::kunmap_local(address.cast());
        drop(page);
        black_box(read_volatile(address));
    }
    Ok(())
}

static NUMBERS: [u8; 20] = [1; 20];

fn read_past_static() -> Result {
    // SAFETY: None, which is the mistake.
    unsafe {
        black_box(read_volatile(
            NUMBERS.as_ptr().add(black_box(NUMBERS.len() + 4)),
        ))
    };
    Ok(())
}

fn sleep_under_spinlock() -> Result {
    let lock = KBox::pin_init(new_spinlock!(0_u32, "detectors"), GFP_KERNEL)?;
    let guard = lock.lock();
    drop(KBox::new(7_u64, GFP_KERNEL)?);
    drop(guard);
    Ok(())
}

/// What the armed timer would call.
unsafe extern "C" fn never(_: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
    // SAFETY: Zero is `HRTIMER_NORESTART`.
    unsafe { core::mem::zeroed() }
}

fn free_armed_timer() -> Result {
    const HOUR: i64 = 3600 * 1_000_000_000;
    let timer = KBox::into_raw(KBox::<bindings::hrtimer>::new(
        pin_init::zeroed(),
        GFP_KERNEL,
    )?);
    // SAFETY: The timer is valid until it is freed while it runs, which is the mistake.
    unsafe {
        let mode = bindings::hrtimer_mode_HRTIMER_MODE_REL;
        bindings::hrtimer_setup(timer, Some(never), bindings::CLOCK_MONOTONIC as i32, mode);
        bindings::hrtimer_start_range_ns(timer, HOUR, 0, mode);
        drop(KBox::from_raw(timer));
    }
    Ok(())
}

fn lose_object() -> Result {
    forget(KBox::new([7_u64; 100], GFP_KERNEL)?);
    Ok(())
}

fn lose_page() -> Result {
    forget(Page::alloc_page(GFP_KERNEL)?);
    Ok(())
}

fn lock_in_both_orders() -> Result {
    let one = KBox::pin_init(new_mutex!(0_u32, "detectors::one"), GFP_KERNEL)?;
    let other = KBox::pin_init(new_mutex!(0_u32, "detectors::other"), GFP_KERNEL)?;
    let both = |first: &Mutex<u32>, second: &Mutex<u32>| {
        let _first = first.lock();
        let _second = second.lock();
    };
    both(&one, &other);
    both(&other, &one);
    Ok(())
}

fn return_with_lock() -> Result {
    let lock = KBox::pin_init(new_mutex!(0_u32, "detectors"), GFP_KERNEL)?;
    forget(lock.lock());
    // It must not be freed, which would be another mistake.
    let _ = lock.into_foreign();
    Ok(())
}

fn free_held_lock() -> Result {
    let lock = KBox::pin_init(new_mutex!(0_u32, "detectors"), GFP_KERNEL)?;
    forget(lock.lock());
    Ok(())
}

fn mutex_under_spinlock() -> Result {
    let outer: Pin<KBox<SpinLock<u32>>> =
        KBox::pin_init(new_spinlock!(0, "detectors::outer"), GFP_KERNEL)?;
    let inner = KBox::pin_init(new_mutex!(0_u32, "detectors::inner"), GFP_KERNEL)?;
    let _outer = outer.lock();
    let _inner = inner.lock();
    Ok(())
}

fn overflow() -> Result {
    black_box(black_box(u32::MAX) + 1);
    Ok(())
}

fn index_unchecked() -> Result {
    // SAFETY: None, which is the mistake.
    black_box(unsafe { *NUMBERS.get_unchecked(black_box(NUMBERS.len() + 4)) });
    Ok(())
}

fn put_page_twice() -> Result {
    let page = Page::alloc_page(GFP_KERNEL)?;
    // SAFETY: None: the reference is also the page's own, which is the mistake.
    unsafe { bindings::__free_pages(page.as_ptr(), 0) };
    drop(page);
    Ok(())
}

fn in_c_shift_too_far() -> Result {
    // SAFETY: The function only computes; that this cannot be computed is the mistake.
    black_box(unsafe { shift_too_far(black_box(40)) });
    Ok(())
}

fn in_c_delete_twice() -> Result {
    // SAFETY: The list is the function's own; what it does to it is the mistake.
    unsafe { delete_twice() };
    Ok(())
}

fn in_c_free_page_in_a_page_table() -> Result {
    // SAFETY: The page is the function's own; what it does to it is the mistake.
    to_result(unsafe { free_page_in_a_page_table() })
}
