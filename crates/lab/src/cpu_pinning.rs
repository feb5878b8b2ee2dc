//! Reserves a processor for the device if device and cloud share a machine, so that the cloud
//! does not slow the device down.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A processor that threads use only after [`Own::enter`].
#[derive(Debug)]
pub struct Own {
    #[cfg(target_os = "linux")]
    own: CpuSet,
    #[cfg(target_os = "linux")]
    others: CpuSet,
}

/// Pins this thread to its own processor until it is dropped.
#[derive(Debug)]
pub struct Entered<'a>(&'a Own);

#[cfg(target_os = "linux")]
impl Own {
    /// Keeps this thread, and all threads that it starts later, off one processor. `None` if
    /// there is only one processor, or the system does not allow it.
    pub fn reserve() -> Option<Own> {
        let all = sched_getaffinity(None).ok()?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu))?;
        let (mut own, mut others) = (CpuSet::new(), all);
        own.set(last);
        others.unset(last);
        (others.count() > 0).then_some(())?;
        sched_setaffinity(None, &others).ok()?;
        Some(Own { own, others })
    }

    /// Moves this thread to the processor. Threads that it starts meanwhile are there too.
    pub fn enter(&self) -> Entered<'_> {
        // If this fails, the thread runs on the other processors.
        sched_setaffinity(None, &self.own).ok();
        Entered(self)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Entered<'_> {
    fn drop(&mut self) {
        sched_setaffinity(None, &self.0.others).ok();
    }
}

#[cfg(not(target_os = "linux"))]
impl Own {
    /// Always `None`: only Linux is supported.
    pub fn reserve() -> Option<Own> {
        None
    }

    /// Does nothing.
    pub fn enter(&self) -> Entered<'_> {
        Entered(self)
    }
}
