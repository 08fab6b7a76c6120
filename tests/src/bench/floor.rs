//! The floor: the worker's compressor alone, over the same bytes in memory, on as many threads as the worker keeps busy.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use tokio::time::Instant;
use worker::compress::{Codec, Compressor};
use worker::upload::buffer;

use super::files::Files;
use super::sink::Object;

/// What the worker hands to its compressor at a time.
const PIECE: usize = 64 * 1024;

/// Bytes that each thread compresses at least, if there are as many: a rate needs no more.
const ENOUGH: u64 = 50_000_000;

/// What it takes at least.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// Raw bytes per second, all threads together.
    pub bytes_per_second: f64,
    /// CPU seconds per raw byte.
    pub cpu_per_byte: f64,
    /// What the first file becomes; of a file that is larger than the log, what the log becomes.
    pub first: Object,
}

/// Compresses files on so many threads at once.
pub fn measure(
    log: &Bytes,
    files: Files,
    (codec, level): (Codec, i32),
    threads: usize,
) -> anyhow::Result<Floor> {
    let range = |number| {
        let bytes = log.get(files.range(number, log.len()));
        bytes.context("a file lies beyond its log")
    };
    let each = ENOUGH.div_ceil(files.size).min(files.count);
    let start = Barrier::new(threads);
    let run = || {
        start.wait();
        let (began, cpu) = (Instant::now(), cpu_of_this_thread()?);
        let (mut bytes, mut first) = (0, None);
        for number in 0..each {
            let file = range(number)?;
            let object = compress(file, codec, level)?;
            bytes += file.len();
            first.get_or_insert(object);
        }
        let first = first.context("there is no file")?;
        let cpu = cpu_of_this_thread()?.saturating_sub(cpu);
        anyhow::Ok((bytes, began.elapsed(), cpu, first))
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let (mut all, mut longest, mut all_cpu, mut one) =
            (0, Duration::ZERO, Duration::ZERO, None);
        for thread in running {
            let ended = thread
                .join()
                .map_err(|_panic| anyhow!("the compressor panicked"))?;
            let (bytes, took, cpu, first) = ended?;
            all += bytes;
            longest = longest.max(took);
            all_cpu += cpu;
            one = Some(first);
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let all = all as f64;
        Ok(Floor {
            bytes_per_second: all / longest.as_secs_f64(),
            cpu_per_byte: all_cpu.as_secs_f64() / all,
            first: one.context("there is no thread")?,
        })
    })
}

/// Compresses a file as the worker does, and forgets the result.
fn compress(file: &[u8], codec: Codec, level: i32) -> anyhow::Result<Object> {
    let size = file.len() as u64;
    let most = buffer(size);
    let mut compressor = Compressor::new(codec, level, size, Vec::with_capacity(most))?;
    let (mut stored, mut crc) = (0, Digest::new(CrcAlgorithm::Crc64Nvme));
    let mut out = |part: &[u8]| {
        stored += part.len() as u64;
        crc.update(part);
    };
    for piece in file.chunks(PIECE) {
        compressor.write(piece)?;
        if compressor.waiting() + 2 * PIECE > most {
            let mut part = compressor.take();
            out(&part);
            part.clear();
            compressor.collect_in(part);
        }
    }
    out(&compressor.finish()?);
    Ok(Object {
        size: stored,
        crc: crc.finalize(),
    })
}

/// The first figure of `schedstat`, in nanoseconds. <https://docs.kernel.org/scheduler/sched-stats.html>
fn cpu_of_this_thread() -> anyhow::Result<Duration> {
    // The kernel adds to it when the scheduler runs; else it may be some milliseconds old.
    thread::yield_now();
    let figures = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = figures.split_whitespace().next().context("no figures")?;
    Ok(Duration::from_nanos(first.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_no_work_and_agree() {
        let files = Files {
            count: 3,
            size: 100_000,
        };
        let log = Bytes::from(b"a line of a log\n".repeat(20_000));
        for threads in [1, 2] {
            let floor = measure(&log, files, (Codec::Gzip, 8), threads).unwrap();
            assert!(
                floor.bytes_per_second > 0.0 && floor.cpu_per_byte > 0.0,
                "{floor:?}"
            );
            assert_eq!(
                floor.first,
                compress(&log[..100_000], Codec::Gzip, 8).unwrap()
            );
        }
    }
}
