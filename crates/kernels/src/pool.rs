//! Threads that wait for work. They spin briefly, so that the layers of a decoder follow
//! each other without system calls. Then they park, so that they take no time from
//! other processes.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::memory::Parts;
use crate::packed_memory::PackedMemory;
use crate::{Isa, KernelError};

/// Time that an idle thread spins before it parks: several times the gap between two
/// products of a decoding step.
const SPIN: Duration = Duration::from_micros(100);
/// Checks for work between two readings of the clock.
const LOOKS: u32 = 64;

/// Bits of [`Shared::state`]: generation of the job, whether workers may join it, number of
/// workers on it.
const OPEN: u64 = 1 << 15;
const ACTIVE: u64 = OPEN - 1;
const GENERATION: u32 = 16;

/// Threads and the instruction set of their kernels. The thread that calls [`Pool::run`]
/// works too.
///
/// A job does not wait for a worker that has not started on it. A worker that the system
/// has suspended therefore only costs its share of the speed. Results do not depend on
/// which thread did which part.
#[derive(Debug)]
pub struct Pool {
    isa: Isa,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// Held by the caller whose job runs. Other callers run their jobs on their own thread.
    busy: Mutex<()>,
    /// Where the matrices lie that the pool has packed.
    memory: PackedMemory,
}

#[derive(Debug)]
struct Worker {
    thread: Option<JoinHandle<()>>,
    parked: Arc<AtomicBool>,
}

type Task = dyn Fn(usize) + Sync;

struct Shared {
    state: AtomicU64,
    /// The open job; written only while the state is closed and no worker is active.
    task: UnsafeCell<Option<(*const Task, usize)>>,
    /// The job's next part.
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Set while the caller sleeps until the last worker is done.
    waiting: AtomicBool,
    caller: Mutex<Option<Thread>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

// SAFETY: `task` is written by the one caller that holds `busy`, while no worker is
// active, and read by workers that have made themselves active in an open state.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Pool {
    /// Starts a pool of `threads` threads, the calling one included (0 counts as 1), with
    /// the kernels of [`Isa::chosen`].
    ///
    /// # Errors
    /// An instruction set that the machine does not run; threads that the system refuses.
    pub fn new(threads: usize) -> Result<Self, KernelError> {
        Pool::with_isa(threads, Isa::chosen()?)
    }

    /// [`Pool::new`] with a given instruction set.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self, KernelError> {
        let isa = isa.checked()?;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            task: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            caller: Mutex::new(None),
        });
        let (busy, memory) = (Mutex::new(()), PackedMemory::default());
        let mut pool = Pool { isa, shared, workers: Vec::new(), busy, memory };
        for _ in 1..threads.min(ACTIVE as usize) {
            let (shared, parked) = (pool.shared.clone(), Arc::new(AtomicBool::new(false)));
            let flag = parked.clone();
            let thread = thread::Builder::new()
                .name("tokenroute-kernels".to_owned())
                .spawn(move || shared.work(&flag))
                .map_err(|source| KernelError::System { what: "a thread", source })?;
            pool.workers.push(Worker { thread: Some(thread), parked });
        }
        Ok(pool)
    }

    /// The instruction set of the kernels.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn memory(&self) -> &PackedMemory {
        &self.memory
    }

    /// Threads, the calling one included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` with every number below `parts`, in any order, and returns when all
    /// calls are done. Within a task, or while another thread's job runs, the whole job
    /// runs on the calling thread.
    ///
    /// # Panics
    /// If `task` panics.
    pub fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        let alone = parts < 2 || self.workers.is_empty();
        let guard = match self.busy.try_lock() {
            Ok(guard) if !alone => Some(guard),
            Err(TryLockError::Poisoned(guard)) if !alone => Some(guard.into_inner()),
            _ => None,
        };
        if guard.is_none() {
            (0..parts).for_each(task);
            return;
        }
        let open = OpenJob { shared: &self.shared };
        // SAFETY: the lifetime is erased, but `open` is dropped before `task` goes out
        // of scope, even by a panic, and dropping it waits for every active worker.
        // `busy` is held and the last job waited likewise, so no worker is active.
        unsafe {
            let task = std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const Task>(task);
            *self.shared.task.get() = Some((task, parts));
        }
        self.shared.next.store(0, Ordering::Relaxed);
        let generation = (self.shared.state.load(Ordering::Relaxed) >> GENERATION) + 1;
        self.shared.state.store(generation << GENERATION | OPEN, Ordering::SeqCst);
        for worker in &self.workers {
            if worker.parked.load(Ordering::SeqCst)
                && worker.parked.swap(false, Ordering::SeqCst)
                && let Some(thread) = &worker.thread
            {
                thread.thread().unpark();
            }
        }
        loop {
            let part = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            task(part);
        }
        drop(open);
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(guard);
        assert!(!panicked, "a part of a parallel job panicked; see the message above");
    }

    /// Calls `task` with every chunk of `data` and its index, in parallel. A chunk has
    /// `size` elements; the last may be shorter.
    ///
    /// # Panics
    /// If `task` panics or `size` is 0.
    pub fn chunks_mut<T: Send>(
        &self,
        data: &mut [T],
        size: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = data.len();
        let parts = Parts::new(data);
        self.run(len.div_ceil(size), &|i| {
            // SAFETY: every index comes once, and chunks of different indices are disjoint.
            let chunk = unsafe { parts.slice(i * size, size.min(len - i * size)) };
            task(i, chunk);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                thread.thread().unpark();
                // A worker catches the panics of its tasks, so joining it cannot fail.
                let _ = thread.join();
            }
        }
    }
}

/// A job that workers may join until it is dropped.
struct OpenJob<'a> {
    shared: &'a Shared,
}

impl Drop for OpenJob<'_> {
    /// Closes the job and waits for its workers.
    fn drop(&mut self) {
        let shared = self.shared;
        // After a panic in the caller's own part the rest is skipped.
        if thread::panicking() {
            shared.next.store(usize::MAX / 2, Ordering::Relaxed);
        }
        shared.state.fetch_and(!OPEN, Ordering::SeqCst);
        let done = || shared.state.load(Ordering::SeqCst) & ACTIVE == 0;
        if spin_until(done) {
            return;
        }
        *shared.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
        shared.waiting.store(true, Ordering::SeqCst);
        while !done() {
            thread::park();
        }
        shared.waiting.store(false, Ordering::SeqCst);
    }
}

/// Spins until `done`, for [`SPIN`] at most. Returns whether it is done.
fn spin_until(done: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return false;
        }
    }
}

impl Shared {
    /// The loop of a worker.
    fn work(&self, parked: &AtomicBool) {
        let mut seen = 0;
        loop {
            let news = || {
                let state = self.state.load(Ordering::SeqCst);
                state >> GENERATION != seen || self.stop.load(Ordering::SeqCst)
            };
            while !spin_until(news) {
                parked.store(true, Ordering::SeqCst);
                // The caller stores the state before it reads the flag; the worker does the
                // reverse. So at least one of them sees the other's change.
                if !news() {
                    thread::park();
                }
                parked.store(false, Ordering::SeqCst);
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let state = self.state.load(Ordering::SeqCst);
            seen = state >> GENERATION;
            if self.join(state) {
                self.parts();
            }
        }
    }

    /// Makes this worker active in the job of `state`, if the job is still open.
    fn join(&self, mut state: u64) -> bool {
        let generation = state >> GENERATION;
        while state & OPEN != 0 && state >> GENERATION == generation {
            match self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn parts(&self) {
        // SAFETY: this worker is active in an open job, so the caller neither changes
        // the task nor lets it die before the worker leaves.
        let task = unsafe { (*self.task.get()).map(|(task, parts)| (&*task, parts)) };
        if let Some((task, parts)) = task {
            let work = AssertUnwindSafe(|| {
                loop {
                    let part = self.next.fetch_add(1, Ordering::Relaxed);
                    if part >= parts {
                        break;
                    }
                    task(part);
                }
            });
            if catch_unwind(work).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        let before = self.state.fetch_sub(1, Ordering::SeqCst);
        if before & (OPEN | ACTIVE) == 1 && self.waiting.load(Ordering::SeqCst) {
            let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(caller) = caller {
                caller.unpark();
            }
        }
    }
}
