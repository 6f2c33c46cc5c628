// SPDX-License-Identifier: GPL-2.0

//! Threads that share the work of the current task.
//!
//! They are threads of its process, as those of io_uring and of virtual machines are, and not kernel threads: they run on the
//! processors that the task may use, its cgroups are charged for their time and memory, its memory policy holds for them, and
//! they are killed with it.
//!
//! C header: [`include/linux/sched/vhost_task.h`](srctree/include/linux/sched/vhost_task.h)

#[cfg(CONFIG_VHOST_TASK)]
use core::marker::PhantomData;
#[cfg(CONFIG_VHOST_TASK)]
use kernel::{
    bindings,
    current,
    error::from_err_ptr, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

#[cfg(CONFIG_VHOST_TASK)]
use super::helpers;
use super::task;

/// Calls `work` once with each number below `count`, in the current task and in a thread called `name` for each other processor
/// that the task may use.
///
/// Returns when all calls and threads have ended. No more calls begin after one has failed, or after the task was killed
/// (`EINTR`).
pub(crate) fn for_each<W>(name: &CStr, count: usize, work: W) -> Result
where
    W: Fn(usize) -> Result + Sync,
{
    let job = Job {
        work,
        count,
        next: Atomic::new(0),
        error: Atomic::new(0),
    };
    let helpers = Helpers::new(name, &job);
    while let Some(number) = job.take() {
        job.run(number);
    }
    drop(helpers);
    job.result()
}

/// Calls to be made.
struct Job<W> {
    work: W,
    /// How many.
    count: usize,
    /// The number of the first that nobody has begun.
    next: Atomic<usize>,
    /// That of the first call that failed, or 0.
    error: Atomic<c_int>,
}

impl<W: Fn(usize) -> Result + Sync> Job<W> {
    /// The number of the next call, if it is to be made. Who takes one makes it.
    fn take(&self) -> Option<usize> {
        let is_over = self.next.load(Relaxed) >= self.count
            || self.error.load(Relaxed) != 0
            || task::is_killed();
        if is_over {
            return None;
        }
        let number = self.next.fetch_add(1, Relaxed);
        (number < self.count).then_some(number)
    }

    /// Makes a call.
    fn run(&self, number: usize) {
        if let Err(error) = (self.work)(number) {
            let _ = self.error.cmpxchg(0, error.to_errno(), Relaxed);
        }
    }

    /// What has come of it, when nobody works any more.
    fn result(&self) -> Result {
        match self.error.load(Relaxed) {
            0 if self.next.load(Relaxed) < self.count => Err(EINTR),
            0 => Ok(()),
            errno => Err(Error::from_errno(errno)),
        }
    }
}

/// `struct vhost_task`, of which nothing is known here.
#[cfg(CONFIG_VHOST_TASK)]
#[repr(C)]
struct VhostTask {
    _private: [u8; 0],
}

// `vhost_task.h` is not among the headers that the kernel makes bindings of.
#[cfg(CONFIG_VHOST_TASK)]
extern "C" {
    fn vhost_task_create(
        work: unsafe extern "C" fn(*mut c_void) -> bool,
        handle_sigkill: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
        name: *const c_char,
    ) -> *mut VhostTask;
    fn vhost_task_start(task: *mut VhostTask);
    fn vhost_task_stop(task: *mut VhostTask);
}

/// Threads that make a job's calls, until this is dropped, which waits for them.
///
/// # Invariants
///
/// Each is started and not yet stopped, and has the job.
#[cfg(CONFIG_VHOST_TASK)]
struct Helpers<'a> {
    tasks: KVec<*mut VhostTask>,
    _job: PhantomData<&'a ()>,
}

#[cfg(CONFIG_VHOST_TASK)]
impl<'a> Helpers<'a> {
    /// Starts as many as there are processors for and calls to be made, or fewer if there can be no more: without any, the
    /// caller makes all of the calls.
    fn new<W: Fn(usize) -> Result + Sync>(name: &CStr, job: &'a Job<W>) -> Self {
        let most = processors().min(job.count).saturating_sub(1);
        // INVARIANT: There are none.
        let mut this = Self {
            tasks: KVec::with_capacity(most, GFP_KERNEL).unwrap_or_default(),
            _job: PhantomData,
        };
        while this.tasks.len() < most.min(this.tasks.capacity()) {
            let data = core::ptr::from_ref(job).cast_mut().cast();
            // SAFETY: The name is a C string, which is copied. `call` gets the job, which outlives `self`, whose drop waits until
            // no thread has it; `for_each` does not forget `self`. The job may be used by several threads, because `W` is
            // `Sync`.
            let task = unsafe { vhost_task_create(call::<W>, killed, data, name.as_char_ptr()) };
            let Ok(task) = from_err_ptr(task) else { break };
            // SAFETY: The thread was just made.
            unsafe { vhost_task_start(task) };
            // INVARIANT: It is started. There is room in the vector.
            let _ = this.tasks.push(task, GFP_KERNEL);
        }
        this
    }
}

#[cfg(CONFIG_VHOST_TASK)]
impl Drop for Helpers<'_> {
    fn drop(&mut self) {
        for &task in &self.tasks {
            // SAFETY: By the type's invariant, it is started and not stopped. This waits until it does not call `call` any more.
            unsafe { vhost_task_stop(task) };
        }
    }
}

/// How many processors the current task may use, or 1 if it can have no threads.
#[cfg(CONFIG_VHOST_TASK)]
fn processors() -> usize {
    const WORKER: u32 = bindings::PF_KTHREAD | bindings::PF_USER_WORKER;
    let task = current!().as_ptr();
    // SAFETY: The task is the current one. Its flags are its own; others may change what it may use at any time.
    let (flags, allowed) = unsafe {
        (
            (*task).flags,
            (&raw const (*task).nr_cpus_allowed).read_volatile(),
        )
    };
    // SAFETY: The count is only ever changed atomically.
    let online = unsafe { (&raw const bindings::__num_online_cpus.counter).read_volatile() };
    if flags & WORKER != 0 {
        return 1;
    }
    usize::try_from(allowed.min(online)).unwrap_or(1)
}

/// Makes one of a job's calls, if there is one to be made.
///
/// # Safety
///
/// `job` must be a `Job<W>`, which others may use at the same time. Called by a thread of [`Helpers`] only.
#[cfg(CONFIG_VHOST_TASK)]
unsafe extern "C" fn call<W: Fn(usize) -> Result + Sync>(job: *mut c_void) -> bool {
    // SAFETY: As the caller promises.
    let job = unsafe { &*job.cast::<Job<W>>() };
    let Some(number) = job.take() else {
        // The thread waits until it is stopped.
        return false;
    };
    // It was about to wait, so that it misses no news.
    helpers::set_current_running();
    job.run(number);
    true
}

/// Called when a thread was killed, and with it its process: no more calls begin.
///
/// # Safety
///
/// Takes anything.
#[cfg(CONFIG_VHOST_TASK)]
unsafe extern "C" fn killed(_job: *mut c_void) {}

/// There are none in this kernel.
#[cfg(not(CONFIG_VHOST_TASK))]
struct Helpers;

#[cfg(not(CONFIG_VHOST_TASK))]
impl Helpers {
    fn new<W>(_name: &CStr, _job: &Job<W>) -> Self {
        Self
    }
}
