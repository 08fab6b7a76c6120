//! Bytes onto the wire: in slices, compressed, or broken off.

use std::io::{self, Write as _};

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;

use super::faults::Fault;

/// What makes the rest of a body out of what was going to be the rest.
pub(super) type Resume = Box<dyn FnOnce(Bytes) -> Bytes + Send>;

const SLICE: usize = 64 * 1024;

type Slices = BoxStream<'static, io::Result<Bytes>>;

/// Streams `content`, broken as `fault` says. A stalled body waits for a change of `release`.
///
/// A whole one pauses after so many bytes for `interlude`.
pub(super) fn body(
    content: Bytes,
    fault: Option<&Fault>,
    interlude: Option<(usize, Resume)>,
    gzip: bool,
    release: watch::Sender<()>,
) -> Body {
    let slices = match fault {
        Some(&Fault::Truncate { after_bytes }) => slices(split(content, after_bytes).0),
        Some(&Fault::Reset { after_bytes }) => {
            let reset = stream::once(async {
                // Lets hyper flush what it has.
                tokio::task::yield_now().await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            slices(split(content, after_bytes).0).chain(reset).boxed()
        }
        Some(&Fault::Stall { after_bytes }) => {
            let (before, after) = split(content, after_bytes);
            let rest = async move {
                let released = release.subscribe().changed().await;
                released.map(|()| slices(after)).map_err(io::Error::other)
            };
            slices(before)
                .chain(stream::once(rest).try_flatten())
                .boxed()
        }
        _ => match interlude {
            None => slices(content),
            Some((after_bytes, resume)) => {
                let (before, after) = split(content, after_bytes);
                let rest = async move {
                    // Lets hyper flush what it has.
                    tokio::task::yield_now().await;
                    io::Result::Ok(slices(resume(after)))
                };
                slices(before)
                    .chain(stream::once(rest).try_flatten())
                    .boxed()
            }
        },
    };
    Body::from_stream(if gzip { compressed(slices) } else { slices })
}

/// What [`body`] will send of `content` before any compression, if it ends properly.
pub(super) fn length(content: &Bytes, fault: Option<&Fault>) -> usize {
    match fault {
        Some(&Fault::Truncate { after_bytes }) => content.len().min(after_bytes),
        _ => content.len(),
    }
}

fn split(mut content: Bytes, at: usize) -> (Bytes, Bytes) {
    let before = content.split_to(at.min(content.len()));
    (before, content)
}

/// Slices of one allocation: nothing is copied.
fn slices(content: Bytes) -> Slices {
    let next = |rest: Bytes| async {
        let (slice, rest) = split(rest, SLICE);
        (!slice.is_empty()).then_some((Ok(slice), rest))
    };
    stream::unfold(content, next).boxed()
}

/// Compresses slice by slice, and flushes each, so that a stall or a reset comes after all that went before.
fn compressed(slices: Slices) -> Slices {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let next = |(mut slices, encoder): (Slices, Option<GzEncoder<Vec<u8>>>)| async {
        let Some(mut encoder) = encoder else {
            return Ok(None);
        };
        let Some(slice) = slices.try_next().await? else {
            return Ok(Some((encoder.finish()?.into(), (slices, None))));
        };
        encoder.write_all(&slice)?;
        encoder.flush()?;
        let ready = std::mem::take(encoder.get_mut());
        Ok(Some((ready.into(), (slices, Some(encoder)))))
    };
    stream::try_unfold((slices, Some(encoder)), next).boxed()
}
