//! `cargo autoscale`: what the template's scaling does to backlogs of several shapes, as a picture.

use std::io::{self, Write};

use tests::autoscale::{Policy, picture};
use tests::template::{IMAGE, resolve, template};

fn main() -> anyhow::Result<()> {
    let deployed = resolve(&template()?, &[IMAGE])?;
    Ok(io::stdout().write_all(picture(&Policy::of(&deployed)?)?.as_bytes())?)
}
