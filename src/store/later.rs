//! What nobody waits for, and is written with the next thing that somebody waits for.
//!
//! Writing an attempt at once would cost the next delivery the time of one more commit, and the machine two changes of
//! thread.

use std::sync::{Arc, Mutex, PoisonError};

use super::outbox::Reply;
use super::writer::Job;

/// How many jobs may be put off; a further one is for the queue, which makes whoever brings it wait.
const MOST: usize = 1024;

/// A cloneable handle to what is put off.
#[derive(Clone, Debug, Default)]
pub(super) struct Later(Arc<Mutex<Vec<(Job, Reply)>>>);

impl Later {
    /// Puts a job off, or gives it back when there are too many.
    pub(super) fn put_off(&self, job: Job, reply: Reply) -> Option<(Job, Reply)> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MOST {
            return Some((job, reply));
        }
        jobs.push((job, reply));
        None
    }

    /// Everything that was put off.
    pub(super) fn take(&self) -> Vec<(Job, Reply)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
