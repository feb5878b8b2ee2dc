//! The pool runs every part once, for any number of callers, and survives panics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokenroute_kernels::Pool;

#[test]
fn every_part_is_done_once() {
    for threads in [0, 1, 2, 5] {
        let pool = Pool::new(threads).expect("threads");
        assert_eq!(pool.threads(), threads.max(1));
        for parts in [0, 1, 2, 3, 100] {
            let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
            pool.run(parts, &|i| {
                // A caller that did not wait for the other threads would check too early.
                std::thread::sleep(Duration::from_micros(100));
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
        }
        let mut data = vec![0; 1003];
        pool.chunks_mut(&mut data, 10, |i, chunk| chunk.iter_mut().for_each(|x| *x += i));
        assert!(data.iter().enumerate().all(|(i, &x)| x == i / 10));
    }
}

#[test]
fn jobs_follow_each_other_fast_and_after_a_rest() {
    let pool = Pool::new(3).expect("threads");
    let done = AtomicUsize::new(0);
    for round in 0..3000 {
        if round % 500 == 0 {
            // A rest longer than the threads spin, so that they park.
            std::thread::sleep(Duration::from_millis(2));
        }
        pool.run(4, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 4 * (round + 1));
    }
}

#[test]
fn jobs_from_within_and_from_several_threads_are_done() {
    let pool = Pool::new(2).expect("threads");
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..100 {
                    pool.run(3, &|_| {
                        pool.run(2, &|_| {
                            done.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), 3 * 100 * 6);
}

#[test]
fn a_panic_is_passed_on_and_the_pool_lives() {
    let pool = Pool::new(2).expect("threads");
    for bad in 0..8 {
        let job = || pool.run(8, &|i| assert!(i != bad, "part {i}"));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        assert!(result.is_err());
        let done = AtomicUsize::new(0);
        pool.run(8, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 8);
    }
}
