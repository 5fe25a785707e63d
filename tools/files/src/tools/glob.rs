//! `glob`: files by name.

use crate::description::parse;
use crate::text::count;
use crate::{Annotations, Description, Error, Output, Places, Speculation, Tool, walk};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most paths that are returned; stops a broad pattern from filling an agent's context.
const PATHS_MAX: usize = 1_000;

pub(crate) const TOOL: Tool = Tool { describe, run };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    pattern: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    all: bool,
}

fn describe() -> Description {
    Description {
        name: "glob",
        title: "Find files",
        description: format!(
            "Finds files by name and returns their paths, ordered. `*` matches within a \
             directory, `**` across directories, `{{a,b}}` either; a pattern without `/` \
             matches names at any depth. Example: {{\"pattern\": \"src/**/*.rs\"}}. \
             Files that .gitignore or .ignore leave out, and .git, are not searched; set \
             `all` to search ignored files too. At most {PATHS_MAX} paths."
        ),
        input_schema: json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "description": "The glob, relative to `path`."},
                "path": {"type": "string", "minLength": 1, "default": ".", "description": "The directory to search, relative to /workspace."},
                "all": {"type": "boolean", "default": false, "description": "Also search files that ignore files leave out."}
            },
            "required": ["pattern"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "paths": {"type": "array", "items": {"type": "string"}},
                "total": {"type": "integer"},
                "truncated": {"type": "boolean"}
            },
            "required": ["paths", "total", "truncated"]
        }),
        annotations: Annotations::READ_ONLY,
        speculation: Speculation::Pure,
    }
}

fn run(places: &Places, arguments: Value) -> Result<Output, Error> {
    let arguments: Arguments = parse(arguments)?;
    let place = places.find(arguments.path.as_deref().unwrap_or("."))?;
    let matcher = walk::matcher(&arguments.pattern)?;
    let mut paths: Vec<String> = walk::files(&place, arguments.all)?
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
    Ok(Output {
        text,
        structured: json!({
            "paths": paths,
            "total": total,
            "truncated": total > PATHS_MAX,
        }),
    })
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
