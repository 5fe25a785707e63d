//! Tools: which there are, adding and removing, and one call by itself.

use crate::client::{Forerun, authorized, bearer, idempotent};
use crate::error::{Error, Result};
use crate::session::Session;
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_types::{Action, Observation, PathChange, ToolDescription};
use std::path::Path;

/// The tools that a session would have that is opened now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// All of them, by name.
    pub tools: Vec<ToolDescription>,
    /// What was added to those that are shipped.
    pub added: Vec<Added>,
}

/// A component that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// What it is known by.
    pub name: String,
    /// Digest of the component and its manifest.
    pub digest: String,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// Why they are not offered, if they are not.
    pub problem: Option<String>,
}

/// A component to be added, with [`Forerun::add_tool`].
#[derive(Clone, Debug, Default)]
pub struct AddTool {
    /// What it is to be known by: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// A component with tools of its own, or a WASI command.
    pub component: Vec<u8>,
    /// Of a WASI command: its manifest, TOML.
    pub manifest: Option<String>,
    /// The digest that the component must have.
    pub digest: Option<String>,
    /// Whether it may take the place of another.
    pub replace: bool,
}

/// What one call of a tool brought.
#[derive(Clone, Debug)]
pub struct Called {
    /// The session that it is, to be finished; `None` without a workspace.
    pub session: Option<Session>,
    /// What an agent would see.
    pub observation: Observation,
    /// What it changed. Nothing of it is in the workspace yet.
    pub changed: Vec<PathChange>,
}

impl Forerun {
    /// The tools that a session would have that is opened now.
    ///
    /// # Errors
    /// If the daemon can not be reached.
    pub async fn tools(&self) -> Result<Tools> {
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, v1::ToolServiceListRequest {});
            let mut service = self.tool_service();
            async move { service.list(request).await }
        })
        .await?;
        Ok(Tools {
            tools: conversions::list("tools", answer.tools).map_err(invalid)?,
            added: answer.added.into_iter().map(added).collect(),
        })
    }

    /// Adds a component, whose tools every session has that is opened later. The same
    /// again is fine.
    ///
    /// # Errors
    /// If it is no tool, has not the digest, or its name or one of its tools' is taken.
    pub async fn add_tool(&self, tool: AddTool) -> Result<Added> {
        let bearer = bearer(&self.owner_key()?)?;
        let request = v1::ToolServiceAddRequest {
            name: tool.name,
            component: tool.component,
            manifest: tool.manifest,
            digest: tool.digest,
            replace: tool.replace,
        };
        let answer = idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.tool_service();
            async move { service.add(request).await }
        })
        .await?;
        Ok(added(answer.added.unwrap_or_default()))
    }

    /// Removes what was added. Sessions that are open keep it.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn remove_tool(&self, name: &str) -> Result<()> {
        let bearer = bearer(&self.owner_key()?)?;
        let name = name.to_owned();
        let request = authorized(&bearer, v1::ToolServiceRemoveRequest { name });
        let removed = self.tool_service().remove(request).await;
        removed.map(drop).map_err(Error::from_status)
    }

    /// Calls a tool once, on a copy-on-write view of a directory, or of an empty one.
    ///
    /// # Errors
    /// If the directory can not be opened, or the daemon can not be reached. What goes
    /// wrong in the tool is the observation.
    pub async fn call_tool(
        &self,
        action: Action,
        workspace: Option<&Path>,
        policy: Option<&str>,
    ) -> Result<Called> {
        let key = self.owner_key()?;
        let workspace = workspace.map(std::path::absolute).transpose();
        let workspace = workspace.map_err(|error| Error::Argument {
            what: "the workspace",
            problem: error.to_string(),
        })?;
        let message = v1::ToolServiceCallRequest {
            action: Some(action.into()),
            workspace: workspace.map(|path| path.display().to_string()),
            policy: policy.unwrap_or_default().to_owned(),
            limits: None,
        };
        let request = authorized(&bearer(&key)?, message);
        let answer = self.tool_service().call(request).await;
        let answer = answer.map_err(Error::from_status)?.into_inner();
        let session = conversions::optional_text("session", answer.session.as_deref());
        let session = session.map_err(invalid)?;
        Ok(Called {
            session: session.map(|id| self.existing(id, key)),
            observation: conversions::required("observation", answer.observation)
                .map_err(invalid)?,
            changed: conversions::list("changed", answer.changed).map_err(invalid)?,
        })
    }
}

fn added(added: v1::AddedComponent) -> Added {
    Added {
        name: added.name,
        digest: added.digest,
        tools: added.tools,
        problem: Some(added.problem).filter(|problem| !problem.is_empty()),
    }
}

fn invalid(source: ConversionError) -> Error {
    Error::Invalid {
        what: "tool",
        source,
    }
}
