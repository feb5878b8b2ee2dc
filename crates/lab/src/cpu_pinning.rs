//! A processor of its own for the device, where device and cloud share a machine: what
//! stands for the cloud must not slow down what it stands beside.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A processor that threads stay off unless they [`Own::enter`] it.
#[derive(Debug)]
pub struct Own {
    #[cfg(target_os = "linux")]
    own: CpuSet,
    #[cfg(target_os = "linux")]
    others: CpuSet,
}

/// This thread on its own processor; back among the others once dropped.
#[derive(Debug)]
pub struct Entered<'a>(&'a Own);

#[cfg(target_os = "linux")]
impl Own {
    /// Keeps this thread, and all that it starts from now on, off one processor. `None`
    /// where there is only one, or the system does not let it.
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

    /// Moves this thread there. What it starts meanwhile is there too.
    pub fn enter(&self) -> Entered<'_> {
        // Where it fails now the thread runs among the others, as it would without.
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
    /// `None`: only Linux is asked so far.
    pub fn reserve() -> Option<Own> {
        None
    }

    /// Does nothing.
    pub fn enter(&self) -> Entered<'_> {
        Entered(self)
    }
}
