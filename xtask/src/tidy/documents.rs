//! Rules for Markdown: linked files exist, and every decision record is in the index.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::Tree;

const ADR: &str = "docs/adr";

pub(crate) fn check(tree: &Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in tree.with_extension("md") {
        let text = tree.text(file)?;
        for (line, target) in links(&text) {
            let place = file.parent().unwrap_or_else(|| Path::new("")).join(&target);
            if !tree.root.join(plain(&place)).exists() {
                found.push(format!(
                    "{}:{line}: the linked file {target} does not exist",
                    file.display()
                ));
            }
        }
    }
    let index = tree.text(&Path::new(ADR).join("index.md")).unwrap_or_default();
    for file in tree.with_extension("md").filter(|file| file.starts_with(ADR)) {
        let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name != "index.md" && !index.contains(&format!("({name})")) {
            found.push(format!("{}: missing in {ADR}/index.md", file.display()));
        }
    }
    Ok(found)
}

/// The links to files in a Markdown text, with their line numbers; without code blocks and web
/// addresses.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

/// The path without `.` and `..`, relative to the root.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other @ (Component::Normal(_) | Component::RootDir | Component::Prefix(_)) => {
                plain.push(other)
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn links_to_files_are_found() {
        check("see [a](a.md) and [b](../b.md#part)", &["a.md", "../b.md"]);
    }

    #[test]
    fn web_addresses_and_code_blocks_are_ignored() {
        check("[web](https://example.com/x) [here](#part) [mail](mailto:a@example.com)", &[]);
        check("```\n[a](a.md)\n```\n[b](b.md)", &["b.md"]);
    }

    #[test]
    fn dots_are_removed_from_a_path() {
        assert_eq!(
            plain(Path::new("docs/guide/../adr/./index.md")),
            Path::new("docs/adr/index.md")
        );
    }
}
