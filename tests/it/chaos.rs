//! Every fault, interleaved with growth, rotation, duplicates and operators, as a seed has it. `cargo soak` plays many more.

use anyhow::Context;
use futures_util::future::try_join_all;
use tests::chaos;
use tests::stack::Stack;

/// Played each time. Another one is played instead with `CHAOS_SEED`.
const SEEDS: [u64; 4] = [400, 403, 409, 413];

#[tokio::test]
async fn whatever_happens_in_any_order_nothing_is_lost_or_doubled() -> anyhow::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a setting: whoever has seen a seed fail plays it again"
    )]
    let chosen = std::env::var("CHAOS_SEED");
    let seeds = match chosen {
        Ok(seed) => vec![seed.parse().context("CHAOS_SEED is a number")?],
        Err(_unset) => SEEDS.to_vec(),
    };
    let stack = Stack::shared().await?;
    let plays = seeds.into_iter().map(|seed| chaos::run(stack, seed));
    try_join_all(plays).await.map(drop)
}
