//! Paths as policies see them: absolute as in a sandbox, folded, with what is above.

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use forerun_types::{extension, fold};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::LazyLock;

/// Where a sandbox sees the workspace.
pub(crate) const WORKSPACE: &str = "/workspace";

/// The types of the schema's entities: Cedar takes microseconds to parse a name.
static TYPES: LazyLock<HashMap<&str, EntityTypeName>> = LazyLock::new(|| {
    let names = [
        "Action",
        "Agent",
        "Mode",
        "Path",
        "Role",
        "Speculation",
        "Tool",
        "Workspace",
    ];
    names.map(|name| (name, parsed(name))).into()
});

/// A typed entity. The type is one of the schema's, or of a policy that Cedar has read.
pub(crate) fn uid(entity_type: &str, id: &str) -> EntityUid {
    let known = TYPES.get(entity_type).cloned();
    let name = known.unwrap_or_else(|| parsed(entity_type));
    EntityUid::from_type_name_and_id(name, EntityId::new(id))
}

fn parsed(name: &str) -> EntityTypeName {
    EntityTypeName::from_str(name).expect("a name that is valid")
}

/// A path of the workspace as a sandbox sees it.
pub(crate) fn in_workspace(relative: &str) -> String {
    format!("{WORKSPACE}/{relative}")
}

/// What is wrong with a path in a policy, if anything. Others would never match.
pub(crate) fn flaw(path: &str) -> Option<&'static str> {
    if path == "/" {
        return None;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Some("it does not begin with a slash");
    };
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("it has an empty component, `.` or `..`");
    }
    (fold(path) != path).then_some("paths are compared in folded form, without case")
}

/// The entity of a path, and those of what is above it.
pub(crate) fn entity(path: &str) -> Entity {
    let folded = fold(path);
    let name = folded.rsplit('/').next().unwrap_or(&folded);
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let attributes = HashMap::from([
        ("path".to_owned(), text(path)),
        ("name".to_owned(), text(name)),
        ("ext".to_owned(), text(extension(name))),
        ("folded".to_owned(), text(&folded)),
    ]);
    let above = ancestors(&folded).map(|path| uid("Path", path)).collect();
    Entity::new(uid("Path", &folded), attributes, above)
        .expect("plain strings evaluate without an error")
}

/// Every directory above a path, up to `/`.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let inner = path
        .match_indices('/')
        .map(move |(end, _)| if end == 0 { "/" } else { &path[..end] });
    inner.filter(move |above| *above != path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_above_a_path_is_its_ancestor_and_nothing_else() {
        let above = |path| ancestors(path).collect::<Vec<_>>();
        assert_eq!(above("/workspace/a/b"), ["/", "/workspace", "/workspace/a"]);
        assert_eq!(above("/workspace"), ["/"]);
        assert_eq!(above("/"), [] as [&str; 0]);
    }

    #[test]
    fn paths_that_could_never_match_have_a_flaw() {
        for path in ["/", "/workspace", "/workspace/.git/hooks"] {
            assert_eq!(flaw(path), None, "{path}");
        }
        for path in ["", "workspace", "/a/", "/a//b", "/a/../b", "/A", "//"] {
            assert!(flaw(path).is_some(), "{path}");
        }
    }
}
