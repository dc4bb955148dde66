//! Kubernetes' published messages, as the source of the crate `k8s-pb` has them.
//!
//! The crate is read and not compiled: its 1,200 types would cost more than everything else here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Messages by their name: package, and name in small letters, since the crate changes capitals.
pub type Messages = BTreeMap<String, Vec<Field>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub number: u32,
    /// Name in Rust.
    pub name: String,
    pub shape: Shape,
    /// `string`, `int32` and others, or the name of a message.
    pub of: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    Map,
}

/// Where cargo has the source of the crate.
fn source() -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--features",
            "source",
            "--manifest-path",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "k8s-pb").unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().join("src")
}

/// Reads all messages.
pub fn messages() -> Messages {
    let mut messages = Messages::new();
    read_folder(&source(), &mut Vec::new(), &mut messages);
    assert!(messages.len() > 1_000, "{}", messages.len());
    messages
}

fn read_folder(folder: &Path, modules: &mut Vec<String>, messages: &mut Messages) {
    if let Ok(text) = std::fs::read_to_string(folder.join("mod.rs")) {
        read(&text, modules, messages);
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            modules.push(entry.file_name().into_string().unwrap());
            read_folder(&entry.path(), modules, messages);
            modules.pop();
        }
    }
}

fn read(text: &str, modules: &[String], messages: &mut Messages) {
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let code = code.collect::<Vec<_>>().join(" ");
    for structure in code.split("pub struct ").skip(1) {
        let (name, rest) = structure.split_once(" {").unwrap();
        let body = rest.split('}').next().unwrap();
        let fields = body.split("#[prost(").skip(1).map(|field| {
            let (attribute, field) = field.split_once(")]").unwrap();
            let (name, kind) = field.trim().trim_start_matches("pub ").split_once(':').unwrap();
            Field::read(name, kind.trim().trim_end_matches(','), attribute, modules)
        });
        messages.insert(full_name(modules, name), fields.collect());
    }
}

/// The name of a message, seen from a module.
fn full_name(modules: &[String], path: &str) -> String {
    let parts: Vec<&str> = path.split("::").collect();
    let ups = parts.iter().take_while(|part| **part == "super").count();
    let mut name: Vec<&str> =
        modules.iter().take(modules.len() - ups).map(String::as_str).collect();
    name.extend(&parts[ups..]);
    let name = name.join(".").replace("apiextensions_apiserver", "apiextensions-apiserver");
    let (package, message) = name.rsplit_once('.').unwrap();
    format!("{package}.{}", message.to_lowercase())
}

// === impl Field ===

impl Field {
    fn read(name: &str, kind: &str, attribute: &str, modules: &[String]) -> Self {
        let number = attribute.split("tag = \"").nth(1).unwrap().trim_end_matches('"');
        let (shape, scalar) = match attribute.strip_prefix("btree_map = \"string, ") {
            Some(rest) => (Shape::Map, rest.split('"').next().unwrap()),
            None if attribute.contains("repeated") => {
                (Shape::List, attribute.split(',').next().unwrap())
            }
            None => (Shape::One, attribute.split(',').next().unwrap()),
        };
        let of = match scalar {
            "message" => {
                let path =
                    kind.trim_end_matches(['>', ',', ' ']).rsplit(['<', ' ']).next().unwrap();
                full_name(modules, path)
            }
            "bytes = \"vec\"" => "bytes".to_owned(),
            other => other.to_owned(),
        };
        Self { number: number.parse().unwrap(), name: name.to_owned(), shape, of }
    }

    /// The name without what differs between languages.
    pub fn plain_name(&self) -> String {
        plain(&self.name)
    }

    pub fn is_message(&self) -> bool {
        self.of.contains('.')
    }
}

/// A name without the signs and capitals that differ between languages.
pub fn plain(name: &str) -> String {
    let letters = name.trim_start_matches("r#").chars().filter(char::is_ascii_alphanumeric);
    letters.collect::<String>().to_lowercase()
}
