//! What the standard library calls so, as loom has it.

pub(super) use std::sync::PoisonError;

pub(super) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// Loom has none: set once, and copied by who asks for it.
#[derive(Debug)]
pub(super) struct OnceLock<T>(Mutex<Option<T>>);

impl<T: Clone> OnceLock<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn set(&self, value: T) -> Result<(), T> {
        let mut slot = self.0.lock().unwrap();
        match *slot {
            Some(_) => Err(value),
            None => {
                *slot = Some(value);
                Ok(())
            }
        }
    }

    pub(super) fn get(&self) -> Option<T> {
        self.0.lock().unwrap().clone()
    }
}
