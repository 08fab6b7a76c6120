//! Fewer bytes: gzip or zstd, the same output for the same input, however the network cuts it.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use shared::archive;

/// What the encoder is fed at a time. Fixed, since some levels of zlib-rs give other bytes when the input is cut otherwise.
const BLOCK: usize = 64 * 1024;

/// How objects are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// RFC 1952; read by everything.
    Gzip,
    /// RFC 8878; smaller.
    Zstd,
}

impl Codec {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// What object keys end in.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => archive::GZIP,
            Self::Zstd => archive::ZSTD,
        }
    }

    /// Media type of the objects. Not a `Content-Encoding`: the archive holds compressed files.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/gzip",
            Self::Zstd => "application/zstd",
        }
    }

    /// The level that stores least for a tolerable time: a log that is kept for a year costs far more to store than to
    /// compress. gzip has nothing smaller; zstd would go on shrinking, and take longer than what people run today.
    pub const DEFAULT_LEVEL: i32 = 8;

    /// The levels that it has.
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Gzip => 1..=9,
            // Beyond 19 a single stream needs more memory than small containers have.
            Self::Zstd => 1..=19,
        }
    }

    /// Bytes of working memory of one encoder at `level`, measured and rounded up.
    pub fn memory(self, level: i32) -> u64 {
        const MIB: u64 = 1 << 20;
        match (self, level) {
            (Self::Gzip, _) => MIB,
            (Self::Zstd, ..=8) => 8 * MIB,
            (Self::Zstd, 9..=11) => 26 * MIB,
            (Self::Zstd, _) => 96 * MIB,
        }
    }
}

/// A stream being compressed; its output collects until taken.
pub struct Compressor {
    encoder: Encoder,
    block: Vec<u8>,
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// Starts a stream of exactly `size` bytes, whose output collects in `output`, which is empty. gzip headers carry no
    /// time and no name, so that equal input gives equal output.
    pub fn new(codec: Codec, level: i32, size: u64, output: Vec<u8>) -> io::Result<Self> {
        let encoder = match codec {
            Codec::Gzip => {
                let level = Compression::new(u32::try_from(level).unwrap_or_default());
                Encoder::Gzip(GzBuilder::new().mtime(0).write(output, level))
            }
            Codec::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
                encoder.include_checksum(true)?;
                // Small files get small tables, and every file's frame says how long it is.
                encoder.set_pledged_src_size(Some(size))?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(Self {
            encoder,
            block: Vec::with_capacity(BLOCK),
        })
    }

    /// Takes in bytes. In small pieces, since nothing else on this thread runs meanwhile.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK - self.block.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = rest;
            if self.block.len() == BLOCK {
                self.encode_block()?;
            }
        }
        Ok(())
    }

    fn encode_block(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.write_all(&self.block)?,
            Encoder::Zstd(encoder) => encoder.write_all(&self.block)?,
        }
        self.block.clear();
        Ok(())
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.get_mut(),
            Encoder::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// How many bytes of output wait to be taken.
    pub fn waiting(&mut self) -> usize {
        self.output().len()
    }

    /// Takes the output so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.output())
    }

    /// Has what follows collect in a buffer that is empty and large enough, instead of in one that grows.
    pub fn collect_in(&mut self, buffer: Vec<u8>) {
        *self.output() = buffer;
    }

    /// Ends the stream; the rest of its output. Nothing may be written after.
    pub fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.encode_block()?;
        match &mut self.encoder {
            Encoder::Gzip(encoder) => encoder.try_finish()?,
            Encoder::Zstd(encoder) => encoder.do_finish()?,
        }
        Ok(self.take())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn compressed(codec: Codec, level: i32, input: &[u8], cut: usize) -> Vec<u8> {
        let mut compressor = Compressor::new(codec, level, input.len() as u64, Vec::new()).unwrap();
        let mut output = Vec::new();
        for piece in input.chunks(cut) {
            compressor.write(piece).unwrap();
            output.append(&mut compressor.take());
        }
        output.extend(compressor.finish().unwrap());
        output
    }

    #[test]
    fn the_same_input_gives_the_same_output_at_every_level_however_it_is_cut() {
        let mut random = fastrand::Rng::with_seed(1);
        let words: Vec<String> = (0..500)
            .map(|_| format!("SELECT {} FROM t{}", random.u32(..), random.u8(..)))
            .collect();
        let input: Vec<u8> = (0..20_000)
            .flat_map(|_| words[random.usize(..500)].bytes())
            .collect();
        for codec in [Codec::Gzip, Codec::Zstd] {
            for level in codec.levels().take(10) {
                let whole = compressed(codec, level, &input, input.len());
                for cut in [1460, 65_535, 65_536, 100_001] {
                    assert_eq!(
                        compressed(codec, level, &input, cut),
                        whole,
                        "{codec:?} {level} {cut}"
                    );
                }
                let mut back = Vec::new();
                match codec {
                    Codec::Gzip => drop(
                        flate2::read::GzDecoder::new(&whole[..])
                            .read_to_end(&mut back)
                            .unwrap(),
                    ),
                    Codec::Zstd => drop(
                        zstd::Decoder::new(&whole[..])
                            .unwrap()
                            .read_to_end(&mut back)
                            .unwrap(),
                    ),
                }
                assert!(back == input, "{codec:?} {level}");
            }
        }
    }

    #[test]
    fn gzip_headers_carry_neither_time_nor_name() {
        let header = compressed(Codec::Gzip, 8, b"x", 1);
        assert_eq!(header[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]); // magic, deflate, no flags, no mtime
    }
}
