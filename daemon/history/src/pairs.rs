//! Maps as lists of pairs: JSON has no keys but texts. And what all of them have in common:
//! they hold so much and no more.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;

pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map)
}

pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Vec::deserialize(deserializer)?.into_iter().collect())
}

/// Something that knows with which run it was used last.
pub(crate) trait Used {
    /// The number of that run.
    fn used(&self) -> u64;
}

/// Drops what was not used for the longest, if there is more than `max`; an eighth of it, so
/// that it is not done at each run.
pub(crate) fn forget<K: Ord, V: Used>(map: &mut BTreeMap<K, V>, max: usize) {
    if map.len() <= max {
        return;
    }
    let mut runs: Vec<u64> = map.values().map(Used::used).collect();
    runs.sort_unstable();
    let keep = max - max / 8;
    let oldest = runs[runs.len() - keep];
    map.retain(|_, value| value.used() >= oldest);
    // Of those that were used last with the same run, the first.
    while map.len() > max {
        map.pop_last();
    }
}
