//! Small seeded mutations, as fuzzers make them.

use fastrand::Rng;

/// Longest input that is made.
const LONGEST: usize = 8 << 10;
/// Values at which arithmetic and parsers change their minds.
const NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "+1",
    "00",
    "9999999999999",
    "10000000000000",
    "9223372036854775807",
    "9223372036854775808",
];

/// One of `corpus` with one to four changes, some of them taken from the others.
pub(super) fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = any(rng, corpus).to_vec();
    for _ in 0..rng.usize(1..=4) {
        change(rng, &mut input, corpus);
    }
    input.truncate(LONGEST);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let part = part(rng, input.len());
    match rng.u8(0..8) {
        0 => {
            if let Some(byte) = input.get_mut(part.start) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(part.start) {
                *byte = rng.u8(..);
            }
        }
        2 => input.truncate(part.start),
        3 => drop(input.drain(part)),
        4 => {
            let copy = input[part.clone()].to_vec();
            input.splice(part.end..part.end, copy);
        }
        5 => {
            let other = any(rng, corpus);
            let piece = self::part(rng, other.len());
            input.splice(part, other[piece].iter().copied());
        }
        6 => {
            let number = NUMBERS[rng.usize(..NUMBERS.len())];
            input.splice(digits(input, part.start), number.bytes());
        }
        _ => {
            let character = rng.char(..);
            input.splice(part.start..part.start, character.to_string().bytes());
        }
    }
}

fn any<'a>(rng: &mut Rng, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    &corpus[rng.usize(..corpus.len())]
}

/// A part of `len` bytes, most often a short one.
fn part(rng: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let start = rng.usize(..=len);
    let most = if rng.bool() { len } else { len.min(start + 8) };
    start..rng.usize(start..=most.max(start))
}

/// The first number at or after `start`; nothing if there is none.
fn digits(input: &[u8], start: usize) -> std::ops::Range<usize> {
    let rest = &input[start..];
    let begin = rest.iter().position(u8::is_ascii_digit).unwrap_or_default();
    let digits = rest[begin..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    start + begin..start + begin + digits.count()
}
