//! Objects in files, as `kubectl create -f` reads them: YAML or JSON documents, lists of objects,
//! standard input, and folders of such files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use mxjob_machinery::yaml::{self, Node};
use serde_json::Value;

use crate::exit::Failure;

/// The largest file that is read, and the largest folder in all; jobs are much smaller.
const MAX_BYTES: u64 = 3 * 1024 * 1024;
/// The files of a folder that are read.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// An object in a file.
#[derive(Debug)]
pub(crate) struct Object {
    /// How messages name the file.
    pub(crate) file: String,
    /// The object with the lines of its fields.
    pub(crate) node: Node,
    /// The object; an item of a typed list has the kind that the list implies.
    pub(crate) value: Value,
}

// === impl Object ===

impl Object {
    /// The text of a field; empty if it has none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The name, or the prefix of the name that the server will generate.
    pub(crate) fn name(&self) -> &str {
        match self.text("/metadata/name") {
            "" => self.text("/metadata/generateName"),
            name => name,
        }
    }
}

/// Reads a file, a folder without its subfolders, or standard input, which is `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<Object>, Failure> {
    let mut objects = Vec::new();
    let mut left = MAX_BYTES;
    for path in files(path)? {
        let file = shown(&path);
        let text = read_text(&path, left).map_err(Failure::input)?;
        left -= text.len() as u64;
        for node in documents(&file, &text)? {
            let value = node.value();
            take_apart(&file, node, value, &mut objects);
        }
    }
    Ok(objects)
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    read_text(path, MAX_BYTES).map_err(Failure::input)
}

/// The documents of a file's text.
pub(crate) fn documents(file: &str, text: &str) -> Result<Vec<Node>, Failure> {
    yaml::documents(text).map_err(|error| {
        let line = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
        Failure::input(format!("{file}{line}: {}", error.message))
    })
}

/// How messages name a file.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    }
}

/// The path, or the files of the folder in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: io::Error| {
        Failure::input(format!("cannot read the folder {}: {error}", path.display()))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let message = format!("the folder {} has no .json, .yaml or .yml file", path.display());
        return Err(Failure::input(message));
    }
    Ok(files)
}

fn read_text(path: &Path, max: u64) -> Result<String, String> {
    let shown = shown(path);
    let failed = |error: io::Error| format!("cannot read {shown}: {error}");
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    let mut bytes = Vec::new();
    // One byte beyond the limit shows that the file is too large, also for a pipe.
    let file = File::open(path).map_err(failed)?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(format!("{shown} is too large: files may have {} MiB in all", MAX_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

/// Adds an object, or the items of a list of objects.
fn take_apart(file: &str, node: Node, mut value: Value, objects: &mut Vec<Object>) {
    let kind = value["kind"].as_str().unwrap_or_default();
    let implied = kind.strip_suffix("List").map(str::to_owned);
    let (Some(implied), Some(nodes)) = (implied, node.get("items").and_then(Node::items)) else {
        objects.push(Object { file: file.to_owned(), node, value });
        return;
    };
    let Value::Array(values) = value["items"].take() else { return };
    for (node, mut item) in nodes.iter().zip(values) {
        if item.is_object() && item["kind"].is_null() && !implied.is_empty() {
            item["kind"] = implied.as_str().into();
            item["apiVersion"] = value["apiVersion"].clone();
        }
        take_apart(file, node.clone(), item, objects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Result<Vec<String>, String> {
        let objects = read(path).map_err(|failure| failure.message)?;
        let name = |object: &Object| {
            format!("{} {}", object.value["kind"], object.value["metadata"]["name"])
                .replace('"', "")
        };
        Ok(objects.iter().map(name).collect())
    }

    #[test]
    fn lists_are_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let text = "\
kind: List
apiVersion: v1
items:
- {kind: ConfigMap, metadata: {name: a}}
- kind: MXJobList
  apiVersion: kubeflow.org/v1
  items:
  - metadata: {name: b}
    spec: {}
- kind: List
---
kind: Secret
metadata: {name: c}
";
        fs::write(&file, text).unwrap();
        assert_eq!(names(&file).unwrap(), ["ConfigMap a", "MXJob b", "List null", "Secret c"]);
        let job = read(&file).unwrap().remove(1);
        assert_eq!((job.node.line, job.node.line_of("spec")), (8, 9));
        assert_eq!(job.value["apiVersion"], "kubeflow.org/v1");
        fs::write(&file, "{\"kind\": \"List\", \"items\": []}").unwrap();
        assert!(names(&file).unwrap().is_empty());
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("inner.yaml")).unwrap();
        assert!(names(folder.path()).unwrap_err().ends_with("has no .json, .yaml or .yml file"));
        write("b.yml", "kind: A\nmetadata: {name: b}\n");
        write("a.json", "{\"kind\": \"A\", \"metadata\": {\"name\": \"a\"}}{\"kind\": \"B\"}");
        write("c.txt", "no: object: here");
        assert_eq!(names(folder.path()).unwrap(), ["A a", "B null", "A b"]);
        write("c.yaml", "kind: [");
        assert!(names(folder.path()).unwrap_err().contains("c.yaml, line 1: "));
        write("c.yaml", &"#".repeat(3 << 20));
        assert!(
            names(folder.path()).unwrap_err().ends_with("too large: files may have 3 MiB in all")
        );
    }
}
