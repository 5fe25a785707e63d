//! Actions on real workspaces, through the public entry: the shipped tools, hostile
//! guests, path rules, repeatability, and a comparison with a real directory.

mod conformance;
mod escapes;
mod files;
mod fixture;
mod limits;
mod repeat;
mod rules;
mod toolbox;
