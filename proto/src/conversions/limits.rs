//! Limits, of which a client sends only those that it wants changed.

use crate::v1;
use forerun_types::Limits;

impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> v1::Limits {
        v1::Limits {
            memory_bytes: Some(limits.memory_bytes),
            cpu_ms: Some(limits.cpu_ms),
            wall_ms: Some(limits.wall_ms),
            output_bytes: Some(limits.output_bytes),
            delta_bytes: Some(limits.delta_bytes),
            delta_nodes: Some(limits.delta_nodes),
            handles: Some(limits.handles),
        }
    }
}

/// The limits that `wire` sets, over `defaults` for those that it does not.
pub fn limits_over(defaults: &Limits, wire: Option<v1::Limits>) -> Limits {
    let wire = wire.unwrap_or_default();
    Limits {
        memory_bytes: wire.memory_bytes.unwrap_or(defaults.memory_bytes),
        cpu_ms: wire.cpu_ms.unwrap_or(defaults.cpu_ms),
        wall_ms: wire.wall_ms.unwrap_or(defaults.wall_ms),
        output_bytes: wire.output_bytes.unwrap_or(defaults.output_bytes),
        delta_bytes: wire.delta_bytes.unwrap_or(defaults.delta_bytes),
        delta_nodes: wire.delta_nodes.unwrap_or(defaults.delta_nodes),
        handles: wire.handles.unwrap_or(defaults.handles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_differs_from_the_defaults() {
        let defaults = Limits::default();
        assert_eq!(limits_over(&defaults, None), defaults);
        let wire = v1::Limits {
            cpu_ms: Some(7),
            ..v1::Limits::default()
        };
        let expected = Limits {
            cpu_ms: 7,
            ..defaults.clone()
        };
        assert_eq!(limits_over(&defaults, Some(wire)), expected);
    }

    #[test]
    fn limits_come_back_unchanged() {
        let limits = Limits {
            memory_bytes: 1,
            cpu_ms: 2,
            wall_ms: 3,
            output_bytes: 4,
            delta_bytes: 5,
            delta_nodes: 6,
            handles: 7,
        };
        let wire = v1::Limits::from(limits.clone());
        assert_eq!(limits_over(&Limits::default(), Some(wire)), limits);
    }
}
