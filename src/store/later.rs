//! What nobody waits for, and is written with the next thing that somebody waits for.
//!
//! Writing an attempt at once would cost the next delivery the time of one more commit, and the machine two changes of
//! thread. So the writer looks for such jobs a moment after each transaction, and whoever brings one need not wake it
//! before that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::outbox::Reply;

/// How many jobs may be put off; a further one is for the queue, which makes whoever brings it wait.
const MOST: usize = 1024;

/// A cloneable handle to what is put off.
#[derive(Clone, Debug, Default)]
pub(super) struct Later(Arc<Mutex<Jobs>>);

#[derive(Debug, Default)]
struct Jobs {
    waiting: Vec<(Job, Reply)>,
    /// Whether the writer takes them in a moment without being asked to.
    are_expected: bool,
}

/// What became of a job that was to be put off.
pub(super) enum PutOff {
    /// It is written in a moment.
    Expected,
    /// It is written when the writer is woken.
    Unexpected,
    /// There are too many.
    Refused(Job, Reply),
}

impl Later {
    /// Puts a job off, if there are not too many.
    pub(super) fn put_off(&self, job: Job, reply: Reply) -> PutOff {
        let mut jobs = self.jobs();
        if jobs.waiting.len() >= MOST {
            return PutOff::Refused(job, reply);
        }
        jobs.waiting.push((job, reply));
        if jobs.are_expected { PutOff::Expected } else { PutOff::Unexpected }
    }

    /// Promises that what is put off from now on is taken in a moment.
    pub(super) fn expect(&self) {
        self.jobs().are_expected = true;
    }

    /// Everything that was put off; what comes from now on is not expected.
    pub(super) fn take(&self) -> Vec<(Job, Reply)> {
        std::mem::take(&mut *self.jobs()).waiting
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
