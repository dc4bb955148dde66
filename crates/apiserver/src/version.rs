//! The `/version` document.

use serde::Serialize;

use crate::discovery::Document;

/// The Kubernetes release whose API this server speaks.
pub const MAJOR: &str = "1";
/// See [`MAJOR`].
pub const MINOR: &str = "32";
/// The patch release whose recorded responses the conformance tests compare with.
const PATCH: &str = "13";

/// Upstream's `version.Info`, in its order of fields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    major: &'static str,
    minor: &'static str,
    git_version: String,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: String,
}

/// `v1.32.13+mxjob-0.1.0`: the Kubernetes release, and our own version.
#[must_use]
pub fn git_version() -> String {
    format!("v{MAJOR}.{MINOR}.{PATCH}+mxjob-{}", env!("CARGO_PKG_VERSION"))
}

/// `linux/amd64`, as Go names platforms.
#[must_use]
pub fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}

/// The document, always indented, as upstream sends it.
#[must_use]
pub fn document() -> Document {
    let info = Info {
        major: MAJOR,
        minor: MINOR,
        git_version: git_version(),
        git_commit: option_env!("MXJOB_GIT_COMMIT").unwrap_or_default(),
        git_tree_state: if option_env!("MXJOB_GIT_COMMIT").is_some() { "clean" } else { "" },
        build_date: option_env!("MXJOB_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        go_version: "",
        compiler: "rustc",
        platform: platform(),
    };
    let json = serde_json::to_vec_pretty(&info).unwrap_or_default();
    Document::new(json, Some("application/json".to_owned()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_upstreams_fields_in_upstreams_order() {
        let text = String::from_utf8(document().json.to_vec()).unwrap();
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().split_once(':').map(|(key, _)| key))
            .collect();
        let want =
            "major minor gitVersion gitCommit gitTreeState buildDate goVersion compiler platform";
        assert_eq!(keys.join(" ").replace('"', ""), want);
        assert!(
            text.starts_with(
                "{\n  \"major\": \"1\",\n  \"minor\": \"32\",\n  \"gitVersion\": \"v1.32.13+mxjob-"
            ),
            "{text}"
        );
        assert!(
            text.contains(&format!("\"platform\": \"{}\"", platform())) && text.ends_with("\"\n}"),
            "{text}"
        );
    }
}
