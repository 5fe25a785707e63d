//! Random numbers as functions of a seed, a place and a purpose: no generator is handed
//! around, so that the same call draws the same number in whatever order things happen.
//!
//! **Invariant:** the numbers never change; published tables are made of them.

use forerun_types::{ActionKey, Digest, PrefixId};
use std::time::Duration;

/// What a number is drawn for: one and the same place has many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which action the target gives.
    Truth,
    /// Which action the approximation agent gives when it is wrong.
    Mistake,
    /// Whether the approximation agent is right.
    Accuracy,
    /// Whether a step is easy.
    Kind,
    /// How long the target thinks.
    TargetTime,
    /// How long the approximation agent thinks.
    ApproximationTime,
    /// How long an execution takes.
    ExecutionTime,
    /// Which steps a person interrupts.
    Interruption,
    /// How long a person waits.
    Patience,
    /// Into which part a task is dealt.
    Fold,
}

/// The numbers of one place and purpose, one after another.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers for `purpose` at `place`.
    pub fn at(seed: u64, purpose: Purpose, place: &PrefixId) -> Chance {
        Chance(mix(mix(seed, purpose as u64), number_of(&place.0)))
    }

    /// The numbers for `purpose`, for a whole run.
    pub fn of(seed: u64, purpose: Purpose) -> Chance {
        Chance(mix(seed, purpose as u64))
    }

    /// In 0..2^64.
    pub fn number(&mut self) -> u64 {
        self.0 = mix(self.0, 1);
        self.0
    }

    /// In 0..1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a float holds.
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// `count` of the numbers below `below`, each at most once, in no particular order.
    pub fn choose(&mut self, count: usize, below: u32) -> Vec<u32> {
        let mut all: Vec<(u64, u32)> = (0..below).map(|n| (self.number(), n)).collect();
        all.sort_unstable();
        all.into_iter().take(count).map(|(_, n)| n).collect()
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always as many seconds.
    Constant(f64),
    /// Log-normal, with a mean and a standard deviation in seconds.
    LogNormal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
}

impl Latency {
    /// One duration.
    pub fn draw(&self, chance: &mut Chance) -> Duration {
        let seconds = match *self {
            Latency::Constant(seconds) => seconds,
            Latency::LogNormal { mean, deviation } => {
                let variance = (1.0 + (deviation / mean).powi(2)).ln();
                (mean.ln() - variance / 2.0 + variance.sqrt() * chance.normal()).exp()
            }
        };
        Duration::from_secs_f64(seconds.max(0.0))
    }
}

/// The prefix below an action.
pub fn below(prefix: &PrefixId, action: &ActionKey) -> PrefixId {
    PrefixId(digest(mix(number_of(&prefix.0), number_of(&action.0))))
}

/// A digest that stands for a number. The simulator makes millions of them and nobody
/// attacks it, so that no cryptographic hash is needed.
pub fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    let mut state = number;
    for part in bytes.chunks_exact_mut(8) {
        state = mix(state, 1);
        part.copy_from_slice(&state.to_le_bytes());
    }
    Digest(bytes)
}

fn number_of(digest: &Digest) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.0[..8]);
    u64::from_le_bytes(bytes)
}

/// One number of two: each goes through the finaliser of SplitMix64.
fn mix(one: u64, two: u64) -> u64 {
    finalise(finalise(one).wrapping_add(two))
}

fn finalise(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
