//! The rights of a container's program.

use serde::{Deserialize, Serialize};

/// What a program may do beyond what its user may. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    /// Supplementary groups, besides the group itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// The capabilities that a program can have at most, as the kernel numbers them; `None` for
    /// those of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<u64>,
    /// Whether no program can get more rights than the one that executes it (setuid).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// Whether the system calls are forbidden that the default seccomp profile forbids.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filter_system_calls: bool,
    /// Whether everything except for volumes, /proc and /dev is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root: bool,
}
