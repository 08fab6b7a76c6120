//! One object, read to its end: what the log file was, up to each of several sizes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use flate2::write::GzDecoder;
use sha2::{Digest, Sha256};
use shared::archive::{Archive, ByteStream, ZSTD};
use shared::aws::CallError;
use shared::checkpoint::Content;
use tokio::time::sleep;
use zstd::stream::raw;
use zstd::stream::zio::Writer;

/// How often an object is begun before its breaking off is told.
const ATTEMPTS: u32 = 3;
/// How long to wait before it is begun again.
const PAUSE: Duration = Duration::from_secs(1);

/// What an object holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReadBack {
    /// Bytes read from the archive.
    pub(super) stored_bytes: u64,
    /// Bytes before compression.
    pub(super) raw_bytes: u64,
    /// What its first bytes are, by how many: of each size that was asked for, unless it ends before.
    pub(super) contents: BTreeMap<u64, Content>,
}

/// Why nothing can be said of an object's content.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no such object.
    Missing,
    /// It is no whole stream of its codec.
    Damaged,
    /// The archive did not answer, or broke off again and again.
    Failed(CallError),
}

/// Reads an object, and what the log file was at each of `sizes`.
pub(super) async fn read_back(
    archive: &Archive,
    key: &str,
    sizes: &[u64],
) -> Result<ReadBack, Unread> {
    let mut attempt = 1;
    loop {
        match read_once(archive, key, sizes).await {
            Err(Unread::Failed(error)) if error.status().is_none() && attempt < ATTEMPTS => {
                attempt += 1;
                sleep(PAUSE).await;
            }
            read => return read,
        }
    }
}

async fn read_once(archive: &Archive, key: &str, sizes: &[u64]) -> Result<ReadBack, Unread> {
    let body = archive.open(key).await.map_err(Unread::Failed)?;
    decode(key, body.ok_or(Unread::Missing)?, sizes).await
}

/// Undoes the compression that the end of the key tells. What is cut short, or goes on after its end, is damaged.
async fn decode(key: &str, body: ByteStream, sizes: &[u64]) -> Result<ReadBack, Unread> {
    let damaged = |_error: io::Error| Unread::Damaged;
    let measure = Measure::new(sizes);
    let (measure, stored_bytes) = if key.ends_with(&format!(".{ZSTD}")) {
        let decoder = raw::Decoder::new().map_err(damaged)?;
        let mut decoder = Writer::new(measure, decoder);
        let stored_bytes = feed(&mut decoder, body).await?;
        decoder.finish().map_err(damaged)?;
        (decoder.into_inner().0, stored_bytes)
    } else {
        let mut decoder = GzDecoder::new(measure);
        let stored_bytes = feed(&mut decoder, body).await?;
        (decoder.finish().map_err(damaged)?, stored_bytes)
    };
    Ok(ReadBack {
        stored_bytes,
        raw_bytes: measure.raw_bytes,
        contents: measure.contents,
    })
}

/// Writes all of a body; how many bytes it had.
async fn feed(decoder: &mut impl Write, mut body: ByteStream) -> Result<u64, Unread> {
    let mut bytes = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk
            .map_err(|error| Unread::Failed(CallError::nonsense("GetObject", error.to_string())))?;
        bytes += chunk.len() as u64;
        decoder
            .write_all(&chunk)
            .map_err(|_error| Unread::Damaged)?;
    }
    Ok(bytes)
}

/// Counts and hashes what is written to it, and notes what it was at some sizes.
struct Measure {
    /// Those that are still to come, the next one last.
    sizes: Vec<u64>,
    sha256: Sha256,
    raw_bytes: u64,
    lines: u64,
    contents: BTreeMap<u64, Content>,
}

impl Measure {
    fn new(sizes: &[u64]) -> Self {
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes.dedup();
        Self {
            sizes,
            sha256: Sha256::new(),
            raw_bytes: 0,
            lines: 0,
            contents: BTreeMap::new(),
        }
    }
}

impl Write for Measure {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let left = self.sizes.last().map(|size| size - self.raw_bytes);
        let left = left.map(|left| usize::try_from(left).unwrap_or(usize::MAX));
        let (piece, _later) = piece.split_at(left.unwrap_or(usize::MAX).min(piece.len()));
        self.sha256.update(piece);
        self.lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        self.raw_bytes += piece.len() as u64;
        if self.sizes.last() == Some(&self.raw_bytes) {
            self.sizes.pop();
            let content = Content {
                sha256: hex::encode(self.sha256.clone().finalize()),
                raw_bytes: self.raw_bytes,
                lines: self.lines,
            };
            self.contents.insert(self.raw_bytes, content);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// `printf "one\ntwo\n" | sha256sum`
    const BOTH: &str = "c3f9c8c283a2b1f2f1896f27a01cbe3cddc0c9d93f752e4639035a0f5b36f6e8";

    fn both(raw: &[u8]) -> [(&'static str, Vec<u8>); 2] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(raw).unwrap();
        let gzip = encoder.finish().unwrap();
        [("a.gz", gzip), ("a.zst", zstd::encode_all(raw, 3).unwrap())]
    }

    #[test]
    fn a_log_file_is_measured_at_every_size_however_it_comes() {
        for pieces in [&[&b"one\ntwo\n"[..]][..], &[b"one", b"\n", b"t", b"wo\n"]] {
            let mut measure = Measure::new(&[8, 3, 100, 8, 4]);
            for piece in pieces {
                measure.write_all(piece).unwrap();
            }
            assert_eq!(measure.raw_bytes, 8);
            let lines = measure.contents.iter();
            let lines: Vec<(u64, u64)> = lines.map(|(size, found)| (*size, found.lines)).collect();
            assert_eq!(lines, [(3, 0), (4, 1), (8, 2)]);
            assert_eq!(measure.contents[&8].sha256, BOTH);
        }
    }

    #[tokio::test]
    async fn what_is_cut_short_or_continued_is_damaged() {
        for (key, stored) in both(b"one\ntwo\n") {
            let read = decode(key, stored.clone().into(), &[8]).await.unwrap();
            assert_eq!(read.stored_bytes, stored.len() as u64);
            assert_eq!(read.contents[&8].sha256, BOTH);
            let continued = [&stored[..], b"and more"].concat();
            for damaged in [&stored[..stored.len() - 1], &stored[..3], b"", &continued] {
                let read = decode(key, damaged.to_vec().into(), &[8]).await;
                assert!(matches!(read, Err(Unread::Damaged)), "{key} {read:?}");
            }
        }
    }
}
