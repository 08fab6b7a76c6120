//! What becomes of all shapes, as a picture in text.

use std::fmt::Write;

use super::{Minute, Policy, play, shapes};

const COLUMNS: usize = 72;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One column for some minutes: the most messages above, the most workers below.
pub fn picture(policy: &Policy) -> anyhow::Result<String> {
    let mut picture = String::new();
    for shape in shapes() {
        let course = play(policy, &shape, true)?;
        let per_column = shape.minutes.div_ceil(COLUMNS);
        let columns: Vec<(usize, usize)> = course
            .minutes
            .chunks(per_column)
            .map(|chunk| {
                let most =
                    |of: fn(&Minute) -> usize| chunk.iter().map(of).max().unwrap_or_default();
                (most(Minute::backlog), most(|minute| minute.running))
            })
            .collect();
        let most = columns.iter().map(|column| column.0).max();
        let most = most.unwrap_or_default();
        let bar = |value: usize| {
            // Logarithmic, so that one message can be seen beside 60,000.
            let eighths =
                (8 * (value + 1).ilog2() as usize).div_ceil((most + 1).ilog2().max(1) as usize);
            BARS.get(eighths.min(8)).copied().unwrap_or(' ')
        };
        let backlog: String = columns.iter().map(|column| bar(column.0)).collect();
        let workers: String = columns
            .iter()
            .map(|column| match u32::try_from(column.1) {
                Ok(0) => '.',
                Ok(count) => char::from_digit(count, 10).unwrap_or('+'),
                Err(_) => '+',
            })
            .collect();
        writeln!(
            picture,
            "{}\n  messages |{backlog}| up to {most}\n  workers  |{workers}| {} min a column; waited up to {} min, {} min of workers\n",
            shape.name, per_column, course.longest, course.worker_minutes
        )?;
    }
    Ok(picture.trim_end().to_owned() + "\n")
}
