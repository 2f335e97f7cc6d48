//! The memory that hashes work in, lent from one to the next.
//!
//! An allocator that is asked for 19 MiB at each hash keeps several times as much for good: after
//! 2,000 checks on two threads glibc held 240 MB.

use argon2::Block;
use std::{
    ops::DerefMut,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What nobody borrowed for so long is let go of when the next is given back: of a storm one stays.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What is free; the last one given back is lent first. There are as many as hashes at once.
pub(super) struct Memory {
    blocks: usize,
    free: Mutex<Vec<(Instant, Vec<Block>)>>,
}

/// Given back when dropped.
pub(super) struct Loan<'a> {
    of: &'a Memory,
    blocks: Vec<Block>,
}

impl Memory {
    /// For hashes of so many blocks (KiB) each.
    pub(super) fn new(blocks: usize) -> Self {
        Self { blocks, free: Mutex::default() }
    }

    pub(super) fn lend(&self) -> Loan<'_> {
        let free = self.free().pop();
        let blocks = free.map_or_else(|| vec![Block::default(); self.blocks], |(_, blocks)| blocks);
        Loan { of: self, blocks }
    }

    // It is whole between any two steps, so a poisoned lock still holds it.
    fn free(&self) -> MutexGuard<'_, Vec<(Instant, Vec<Block>)>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loan<'_> {
    pub(super) fn blocks(&mut self) -> &mut [Block] {
        self.blocks.deref_mut()
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let (now, blocks) = (Instant::now(), std::mem::take(&mut self.blocks));
        let mut free = self.of.free();
        free.retain(|(since, _)| now.saturating_duration_since(*since) < KEPT_FOR);
        free.push((now, blocks));
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_FOR, Memory};

    #[tokio::test(start_paused = true)]
    async fn lends_again_what_was_given_back_and_lets_go_of_the_rest() {
        let memory = Memory::new(8);
        let (mut one, other) = (memory.lend(), memory.lend());
        assert_eq!(one.blocks().len(), 8);
        drop((one, other));
        assert_eq!(memory.free().len(), 2);
        drop(memory.lend());
        assert_eq!(memory.free().len(), 2);
        tokio::time::advance(KEPT_FOR).await;
        drop(memory.lend());
        assert_eq!(memory.free().len(), 1);
    }
}
