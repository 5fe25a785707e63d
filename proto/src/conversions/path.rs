//! Changed paths and their differences.

use super::ConversionError;
use crate::v1;
use forerun_types::{ChangeKind, FileDiff, PathChange};

fn kind_to_wire(kind: ChangeKind) -> (v1::ChangeKind, Option<String>) {
    match kind {
        ChangeKind::Created => (v1::ChangeKind::Created, None),
        ChangeKind::Modified => (v1::ChangeKind::Modified, None),
        ChangeKind::Deleted => (v1::ChangeKind::Deleted, None),
        ChangeKind::Renamed { from } => (v1::ChangeKind::Renamed, Some(from)),
        ChangeKind::Attributes => (v1::ChangeKind::Attributes, None),
    }
}

fn kind_from_wire(kind: i32, from: Option<String>) -> Result<ChangeKind, ConversionError> {
    match v1::ChangeKind::try_from(kind) {
        Ok(v1::ChangeKind::Created) => Ok(ChangeKind::Created),
        Ok(v1::ChangeKind::Modified) => Ok(ChangeKind::Modified),
        Ok(v1::ChangeKind::Deleted) => Ok(ChangeKind::Deleted),
        Ok(v1::ChangeKind::Renamed) => Ok(ChangeKind::Renamed {
            from: from.ok_or_else(|| ConversionError::not_set("from_path"))?,
        }),
        Ok(v1::ChangeKind::Attributes) => Ok(ChangeKind::Attributes),
        Ok(v1::ChangeKind::Unspecified) => Err(ConversionError::not_set("kind")),
        Err(_) => Err(ConversionError::new(
            "kind",
            format_args!("unknown value {kind}"),
        )),
    }
}

impl From<PathChange> for v1::PathChange {
    fn from(change: PathChange) -> v1::PathChange {
        let (kind, from) = kind_to_wire(change.kind);
        v1::PathChange {
            path: change.path,
            kind: kind.into(),
            from_path: from,
        }
    }
}

impl TryFrom<v1::PathChange> for PathChange {
    type Error = ConversionError;
    fn try_from(change: v1::PathChange) -> Result<PathChange, ConversionError> {
        Ok(PathChange {
            path: change.path,
            kind: kind_from_wire(change.kind, change.from_path)?,
        })
    }
}

impl From<FileDiff> for v1::FileDiff {
    fn from(diff: FileDiff) -> v1::FileDiff {
        let (kind, from) = kind_to_wire(diff.change.kind);
        v1::FileDiff {
            path: diff.change.path,
            kind: kind.into(),
            from_path: from,
            binary: diff.binary,
            unified: diff.unified,
        }
    }
}

impl TryFrom<v1::FileDiff> for FileDiff {
    type Error = ConversionError;
    fn try_from(diff: v1::FileDiff) -> Result<FileDiff, ConversionError> {
        Ok(FileDiff {
            change: PathChange {
                path: diff.path,
                kind: kind_from_wire(diff.kind, diff.from_path)?,
            },
            binary: diff.binary,
            unified: diff.unified,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_comes_back_unchanged() {
        let kinds = [
            ChangeKind::Created,
            ChangeKind::Modified,
            ChangeKind::Deleted,
            ChangeKind::Renamed {
                from: "old".to_owned(),
            },
            ChangeKind::Attributes,
        ];
        for kind in kinds {
            let change = PathChange {
                path: "src/a.rs".to_owned(),
                kind,
            };
            let wire = v1::PathChange::from(change.clone());
            assert_eq!(PathChange::try_from(wire), Ok(change.clone()));
            let diff = FileDiff {
                change,
                binary: true,
                unified: "--- a\n".to_owned(),
            };
            let wire = v1::FileDiff::from(diff.clone());
            assert_eq!(FileDiff::try_from(wire), Ok(diff));
        }
    }

    #[test]
    fn a_rename_without_an_origin_is_refused() {
        let wire = v1::PathChange {
            path: "new".to_owned(),
            kind: v1::ChangeKind::Renamed.into(),
            from_path: None,
        };
        let error = PathChange::try_from(wire).expect_err("no origin");
        assert_eq!(error.to_string(), "from_path: is not set");
    }
}
