//! One module a tool: its description, its arguments, what it does, its tests.

use forerun_tool_kit::{JsonSchema, Serialize};

pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod edit_file;
pub(crate) mod glob;
pub(crate) mod grep;
pub(crate) mod list_dir;
pub(crate) mod make_dir;
pub(crate) mod move_path;
mod patch;
pub(crate) mod read_file;
pub(crate) mod stat;
pub(crate) mod write_file;

/// What lies at a path.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
    Symlink,
}

impl Kind {
    fn of(metadata: &std::fs::Metadata) -> Kind {
        if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_symlink() {
            Kind::Symlink
        } else {
            Kind::File
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
        }
    }
}

/// The path of a search unless given.
fn here() -> String {
    ".".into()
}

#[cfg(test)]
pub(crate) mod testing {
    //! A workspace for the tests of tools.

    use crate::TOOLS;
    use forerun_tool_kit::{Answer, Error, Places};
    use serde_json::Value;
    use std::path::PathBuf;

    pub(crate) struct Fixture {
        pub(crate) directory: tempfile::TempDir,
    }

    impl Fixture {
        pub(crate) fn new(files: &[(&str, &str)]) -> Fixture {
            let directory = tempfile::tempdir().expect("temporary directory");
            let fixture = Fixture { directory };
            std::fs::create_dir_all(fixture.path("")).expect("created");
            std::fs::create_dir_all(fixture.directory.path().join("tmp")).expect("created");
            for (path, content) in files {
                let path = fixture.path(path);
                std::fs::create_dir_all(path.parent().expect("below")).expect("created");
                std::fs::write(path, content).expect("written");
            }
            fixture
        }

        pub(crate) fn path(&self, path: &str) -> PathBuf {
            self.directory.path().join("workspace").join(path)
        }

        pub(crate) fn read(&self, path: &str) -> String {
            std::fs::read_to_string(self.path(path)).expect("readable")
        }

        pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Result<Answer, Error> {
            let root = self.directory.path();
            let places = Places::new(&root.join("workspace"), &root.join("tmp"));
            forerun_tool_kit::call(TOOLS, &places, tool, &arguments.to_string())
        }

        pub(crate) fn text(&self, tool: &str, arguments: &Value) -> String {
            self.call(tool, arguments).expect("succeeds").text()
        }

        pub(crate) fn error(&self, tool: &str, arguments: &Value) -> String {
            self.call(tool, arguments).expect_err("refused").to_string()
        }
    }
}
