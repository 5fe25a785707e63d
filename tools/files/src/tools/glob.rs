//! `glob`: files by name.

use crate::walk;
use forerun_tool_kit::text::count;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};

/// Most paths that are returned; stops a broad pattern from filling an agent's context.
const PATHS_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Glob {
    /// The glob, relative to `path`.
    #[schemars(length(min = 1))]
    pattern: String,
    /// The directory to search, relative to /workspace.
    #[serde(default = "super::here")]
    #[schemars(length(min = 1))]
    path: String,
    /// Also search files that ignore files leave out.
    #[serde(default)]
    all: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Found {
    paths: Vec<String>,
    total: usize,
    truncated: bool,
}

impl Tool for Glob {
    const NAME: &'static str = "glob";
    const TITLE: &'static str = "Find files";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Found;

    fn description() -> String {
        format!(
            "Finds files by name and returns their paths, ordered. `*` matches within a \
             directory, `**` across directories, `{{a,b}}` either; a pattern without `/` \
             matches names at any depth. Example: {{\"pattern\": \"src/**/*.rs\"}}. \
             Files that .gitignore or .ignore leave out, and .git, are not searched; set \
             `all` to search ignored files too. At most {PATHS_MAX} paths."
        )
    }

    fn call(self, places: &Places) -> Result<Output<Found>, Error> {
        let place = places.find(&self.path)?;
        let matcher = walk::matcher(&self.pattern)?;
        let mut paths: Vec<String> = walk::files(&place, self.all)?
            .iter()
            .filter(|file| matcher.is_match(&file.relative))
            .map(|file| place.show_below(&file.relative))
            .collect();
        let total = paths.len();
        paths.truncate(PATHS_MAX);
        let mut text = paths.join("\n");
        if total > PATHS_MAX {
            text.push_str(&format!(
                "\n[{PATHS_MAX} of {}; narrow the pattern]",
                count(total, "file")
            ));
        } else if total == 0 {
            text.push_str("[no file matches]");
        }
        Ok(Output::new(
            text,
            Found {
                paths,
                total,
                truncated: total > PATHS_MAX,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    fn tree() -> Fixture {
        Fixture::new(&[
            ("src/main.rs", ""),
            ("src/a/b.rs", ""),
            ("src-old/c.rs", ""),
            ("README.md", ""),
            (".gitignore", "target\n*.log\n"),
            ("target/x.rs", ""),
            ("a.log", ""),
            (".git/config", ""),
            (".github/ci.yml", ""),
        ])
    }

    fn find(arguments: serde_json::Value) -> String {
        tree().text("glob", &arguments)
    }

    #[test]
    fn patterns_match_as_described() {
        assert_eq!(
            find(json!({"pattern": "*.rs"})),
            "src/a/b.rs\nsrc/main.rs\nsrc-old/c.rs"
        );
        assert_eq!(find(json!({"pattern": "src/*.rs"})), "src/main.rs");
        assert_eq!(
            find(json!({"pattern": "src/**/*.rs"})),
            "src/a/b.rs\nsrc/main.rs"
        );
        assert_eq!(
            find(json!({"pattern": "*.{md,yml}"})),
            ".github/ci.yml\nREADME.md"
        );
        assert_eq!(
            find(json!({"pattern": "b.rs", "path": "src"})),
            "src/a/b.rs"
        );
        assert_eq!(find(json!({"pattern": "*.py"})), "[no file matches]");
    }

    #[test]
    fn ignored_files_are_found_only_when_asked_for() {
        assert_eq!(find(json!({"pattern": "*.log"})), "[no file matches]");
        assert_eq!(find(json!({"pattern": "*.log", "all": true})), "a.log");
        assert_eq!(
            find(json!({"pattern": "config", "all": true})),
            "[no file matches]"
        );
    }

    #[test]
    fn a_wrong_pattern_or_start_is_refused() {
        let error = tree().error("glob", &json!({"pattern": "a{"}));
        assert!(error.contains("the glob \"a{\" is not valid"), "{error}");
        let error = tree().error("glob", &json!({"pattern": "*", "path": "none"}));
        assert!(error.contains("no such file"), "{error}");
    }
}
