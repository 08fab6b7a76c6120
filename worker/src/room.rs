//! Room for files in flight: for so many, and for the buffers of each. No message is taken for which there is none.

use std::sync::Arc;
use std::time::Duration;

use shared::queue::BATCH;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::compress::Codec;
use crate::upload::buffer;

/// How long the first room waits for others, so that one request brings several messages.
const LINGER: Duration = Duration::from_millis(100);

/// What a connection holds at most of a download that comes faster than it is compressed: hyper's largest read buffer,
/// and what of it is being worked on.
const DOWNLOAD: u64 = 512 << 10;

/// Memory is counted in pieces of so many bytes.
const PIECE: u64 = 1 << 10;

/// Bytes that a file of `size` bytes needs while it is in flight.
pub(crate) fn need(codec: Codec, level: i32, size: u64) -> u64 {
    buffer(size) as u64 + codec.memory(level) + DOWNLOAD
}

/// All the room that there is.
#[derive(Debug)]
pub(crate) struct Capacity {
    files: Arc<Semaphore>,
    /// In pieces.
    memory: Arc<Semaphore>,
    codec: Codec,
    level: i32,
    /// Files of any size that fit at a time.
    most: usize,
}

/// Room for one file, given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _file: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
}

impl Capacity {
    /// For so many files, within `budget` bytes, which is enough for one.
    pub(crate) fn new(concurrency: usize, budget: u64, codec: Codec, level: i32) -> Self {
        let budget = budget.min(Semaphore::MAX_PERMITS as u64);
        let by_memory = budget / need(codec, level, u64::MAX);
        Self {
            files: Arc::new(Semaphore::new(concurrency)),
            memory: Arc::new(Semaphore::new(pieces(budget) as usize)),
            codec,
            level,
            most: usize::try_from(by_memory).map_or(concurrency, |most| most.min(concurrency)),
        }
    }

    /// Waits for room for a file of any size, and a moment for as much as one receive can bring, up to `most`.
    pub(crate) async fn take(&self, most: usize) -> Vec<Room> {
        let mut rooms = vec![self.one().await];
        let until = Instant::now() + LINGER;
        while rooms.len() < most.min(self.most).min(BATCH)
            && let Ok(room) = timeout_at(until, self.one()).await
        {
            rooms.push(room);
        }
        rooms
    }

    async fn one(&self) -> Room {
        let need = pieces(need(self.codec, self.level, u64::MAX));
        let files = Arc::clone(&self.files).acquire_owned();
        let file = files.await.expect("it is never closed");
        let memory = Arc::clone(&self.memory).acquire_many_owned(need);
        Room {
            _file: file,
            memory: memory.await.expect("it is never closed"),
        }
    }

    /// Gives back what a file of `size` bytes does not need of a room.
    pub(crate) fn fit(&self, room: &mut Room, size: u64) {
        let need = pieces(need(self.codec, self.level, size)) as usize;
        let spare = room.memory.num_permits().saturating_sub(need);
        drop(room.memory.split(spare));
    }
}

/// Rounded up.
fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_file_needs_its_buffers() {
        for (codec, level, size, kib) in [
            (Codec::Gzip, 8, 0, 1 + 1024 + 512),
            (Codec::Gzip, 8, 20 << 10, 21 + 1024 + 512),
            (Codec::Gzip, 8, 100 * MIB, 5 * 1024 + 256 + 1024 + 512),
            (Codec::Gzip, 8, u64::MAX, 5 * 1024 + 256 + 1024 + 512),
            (Codec::Zstd, 8, 100 * MIB, 5 * 1024 + 256 + 8 * 1024 + 512),
        ] {
            assert_eq!(need(codec, level, size), kib << 10, "{codec:?} {size}");
        }
    }

    /// How many rooms can be had at once.
    async fn rooms(capacity: &Capacity, size: u64) -> Vec<Room> {
        let mut rooms = Vec::new();
        while capacity.files.available_permits() > 0
            && let Ok(mut room) = timeout_at(Instant::now(), capacity.one()).await
        {
            capacity.fit(&mut room, size);
            rooms.push(room);
        }
        rooms
    }

    #[tokio::test]
    async fn small_files_leave_memory_to_others() {
        let capacity = Capacity::new(100, 30 * MIB, Codec::Gzip, 8);
        let large = rooms(&capacity, u64::MAX).await;
        assert_eq!((large.len(), capacity.most), (4, 4));
        drop(large);
        let small = rooms(&capacity, 20 << 10).await;
        assert_eq!(small.len(), 16); // each takes 1.5 MiB, and the last had to find 6.75
        drop(small);
        assert_eq!(rooms(&capacity, u64::MAX).await.len(), 4);
    }

    #[tokio::test]
    async fn a_receive_brings_what_there_is_room_for() {
        let capacity = Capacity::new(12, 1 << 30, Codec::Gzip, 8);
        let ten = capacity.take(BATCH).await;
        assert_eq!(ten.len(), 10);
        assert_eq!(capacity.take(BATCH).await.len(), 2);
        drop(ten);
        assert_eq!(capacity.take(1).await.len(), 1);
    }
}
