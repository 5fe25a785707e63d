//! Settings with a name.

use crate::table::{Cell, Table};
use forerun_planner::{Config, DepthControl, Tau, Window};
use std::fmt;
use std::str::FromStr;

/// A named setting of the one planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// No speculation.
    Off,
    /// *Interactive Speculative Planning*: four steps ahead.
    Isp,
    /// *Speculative Actions*: the next action is executed while the target thinks.
    SpeculativeActions,
    /// After *Dynamic Speculative Planning*: as far ahead as the agent is expected to be right.
    Dynamic,
}

/// A word that names no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no preset: isp, speculative-actions, dynamic and off are")]
pub struct UnknownPreset;

/// As deep as `dynamic` goes at the most.
const DYNAMIC_DEPTH_MAX: u32 = 10;
/// The tau of `dynamic`, in thousandths: close to the speed of the best fixed depth.
const DYNAMIC_TAU: u16 = 960;

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 4] = [
        Preset::Isp,
        Preset::SpeculativeActions,
        Preset::Dynamic,
        Preset::Off,
    ];

    /// What the planner is told.
    pub fn config(self) -> Config {
        let depth = match self {
            Preset::Off => 0,
            Preset::Isp => Config::default().depth,
            Preset::SpeculativeActions => 1,
            Preset::Dynamic => DYNAMIC_DEPTH_MAX,
        };
        let control = match self {
            Preset::Dynamic => DepthControl::Dynamic(dynamic_tau()),
            Preset::Off | Preset::Isp | Preset::SpeculativeActions => DepthControl::Fixed,
        };
        Config {
            depth,
            control,
            ..Config::default()
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Off => "off",
            Preset::Isp => "isp",
            Preset::SpeculativeActions => "speculative-actions",
            Preset::Dynamic => "dynamic",
        }
    }
}

/// What each of them sets. The page of the presets (`daemon/planner/PRESETS.md`) has it, and a
/// test compares.
pub fn table() -> Table {
    let columns = ["preset", "depth", "control", "width", "window", "review_ms"];
    let mut table = Table::new("the settings of the presets", &columns);
    for preset in Preset::ALL {
        let config = preset.config();
        let control = match config.control {
            DepthControl::Fixed => "fixed".to_owned(),
            DepthControl::Auto => "auto".to_owned(),
            DepthControl::Dynamic(tau) => {
                format!("dynamic({})", f64::from(u16::from(tau)) / 1000.0)
            }
        };
        let window = match config.window {
            Window::Sliding => "sliding",
            Window::Barrier => "barrier",
        };
        table.rows.push(vec![
            format!("`{preset}`").as_str().into(),
            Cell::Count(config.depth.into()),
            Cell::Text(control),
            Cell::Count(config.width.into()),
            window.into(),
            Cell::Count(u64::try_from(config.review.as_millis()).unwrap_or(u64::MAX)),
        ]);
    }
    table
}

/// The tau of the preset `dynamic`.
pub fn dynamic_tau() -> Tau {
    Tau::try_from(DYNAMIC_TAU).expect("it is from 1 to 999")
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;
    fn from_str(text: &str) -> Result<Preset, UnknownPreset> {
        let found = Preset::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or(UnknownPreset)
    }
}
