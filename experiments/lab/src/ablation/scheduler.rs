//! Runs side by side: cores go to whole runs first, to shards inside a run second.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Number of runs at a time, and of threads for all of them.
///
/// No result depends on it: a run's bits are those of its shards, which are a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Runs at a time.
    pub jobs: usize,
    /// Threads of all of them together.
    pub threads: usize,
}

impl Workers {
    /// Workers for `pending` runs on `threads` threads: as many at a time as asked for, else one for
    /// each thread, and never more than there are runs.
    pub fn new(asked: Option<usize>, threads: usize, pending: usize) -> Self {
        let jobs = asked.unwrap_or(threads).min(pending).max(1);
        Self { jobs, threads }
    }

    /// The threads of one worker: equal shares, the first ones take what is over.
    fn threads_of(self, worker: usize) -> usize {
        let over = usize::from(worker < self.threads % self.jobs);
        (self.threads / self.jobs + over).max(1)
    }

    /// The threads of every worker.
    ///
    /// # Errors
    /// If the operating system grants no more threads.
    pub fn start(self) -> Result<Vec<ThreadPool>, ThreadPoolBuildError> {
        let pool = |worker| ThreadPoolBuilder::new().num_threads(self.threads_of(worker));
        (0..self.jobs).map(|worker| pool(worker).build()).collect()
    }
}

/// Does `work` on every job in their order, as many at a time as there are workers, each on the
/// threads of its worker.
///
/// After the first error, or once `stop` is set, no further job is begun; an error sets `stop`,
/// so that the jobs under way save their state. The results are in the order of the jobs, `None`
/// for those not begun.
///
/// # Errors
/// The error of the earliest job that has one.
///
/// # Panics
/// If a job panics.
pub fn run<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    workers: &[ThreadPool],
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<Option<T>>, E> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<T, E>>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for pool in workers {
            let (next, results, work) = (&next, &results, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(job) = jobs.get(index) else {
                        break;
                    };
                    let result = pool.install(|| work(job));
                    if result.is_err() {
                        stop.store(true, Ordering::SeqCst);
                    }
                    results.lock().expect("no holder panics")[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("no holder panics");
    results.into_iter().map(Option::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(jobs: usize, threads: usize) -> Workers {
        Workers { jobs, threads }
    }

    fn pools(jobs: usize, threads: usize) -> Vec<ThreadPool> {
        workers(jobs, threads).start().expect("a few threads")
    }

    #[test]
    fn threads_go_to_runs_first() {
        assert_eq!(Workers::new(None, 8, 15), workers(8, 8));
        assert_eq!(Workers::new(None, 8, 3), workers(3, 8));
        assert_eq!(Workers::new(Some(2), 8, 15), workers(2, 8));
        let shares: Vec<usize> = (0..3).map(|w| workers(3, 8).threads_of(w)).collect();
        assert_eq!(shares, [3, 3, 2]);
        assert_eq!(workers(4, 2).threads_of(3), 1);
    }

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..40).collect();
        for count in [1, 3] {
            let stop = AtomicBool::new(false);
            let squares = run(&jobs, &pools(count, 3), &stop, |&job| {
                // Later jobs end first.
                thread::sleep(std::time::Duration::from_micros(400 - 10 * job));
                Ok::<_, ()>(job * job)
            });
            let expected: Vec<_> = jobs.iter().map(|job| Some(job * job)).collect();
            assert_eq!(squares, Ok(expected));
        }
    }

    #[test]
    fn a_job_runs_on_the_threads_of_its_worker() {
        let stop = AtomicBool::new(false);
        let threads = run(&[(); 2], &pools(2, 6), &stop, |()| {
            Ok::<_, ()>(rayon::current_num_threads())
        });
        assert_eq!(threads, Ok(vec![Some(3), Some(3)]));
    }

    #[test]
    fn after_an_error_no_job_is_begun_and_running_ones_are_told() {
        let stop = AtomicBool::new(false);
        let begun = AtomicUsize::new(0);
        let result = run(&[0, 1, 2, 3], &pools(1, 1), &stop, |&job| {
            begun.fetch_add(1, Ordering::SeqCst);
            if job == 1 { Err("disk full") } else { Ok(job) }
        });
        assert_eq!(result, Err("disk full"));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert!(stop.load(Ordering::SeqCst));
    }

    #[test]
    fn once_stopped_the_rest_is_left_undone() {
        let stop = AtomicBool::new(false);
        let results = run(&[0, 1, 2], &pools(1, 1), &stop, |&job| {
            stop.store(job == 1, Ordering::SeqCst);
            Ok::<_, ()>(job)
        });
        assert_eq!(results, Ok(vec![Some(0), Some(1), None]));
    }
}
