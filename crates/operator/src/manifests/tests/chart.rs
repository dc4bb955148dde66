//! The chart, rendered strictly, is the output of `mxjob manifests` with the same settings.

use mxjob_machinery::yaml;

use super::*;

/// Renders templates. It panics at a construct that it does not know.
struct Helm {
    values: Value,
    namespace: String,
}

impl Helm {
    /// A value by its path (`.Values.a.b`, `.Release.Namespace`) or a word in quotes.
    fn value(&self, term: &str) -> Value {
        if let Some(word) = term.strip_prefix('"').and_then(|term| term.strip_suffix('"')) {
            return word.into();
        }
        match term {
            ".Release.Namespace" => return self.namespace.as_str().into(),
            ".Release.Name" => return "jobs".into(),
            _ => {}
        }
        let path = term.strip_prefix(".Values.").unwrap_or_else(|| panic!("what is {term}?"));
        let found = path.split('.').try_fold(&self.values, |value, key| value.get(key));
        found.unwrap_or_else(|| panic!("values.yaml has no {path}")).clone()
    }

    fn is_true(&self, condition: &str) -> bool {
        let words: Vec<&str> = condition.split(' ').collect();
        if let Some(both) = condition.strip_prefix("and (") {
            let (first, second) = both.strip_suffix(')').unwrap().split_once(") (").unwrap();
            return self.is_true(first) && self.is_true(second);
        }
        match words[..] {
            ["not", term] => !self.is_true(term),
            ["eq", a, b] => self.value(a) == self.value(b),
            ["ne", a, b] => self.value(a) != self.value(b),
            [term] => match self.value(term) {
                Value::Bool(flag) => flag,
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                other => panic!("{other} as a condition"),
            },
            _ => panic!("what is {condition}?"),
        }
    }

    fn shown(&self, expression: &str) -> String {
        match expression.strip_suffix(" | quote") {
            Some(term) => self.value(term).to_string(),
            None => match self.value(expression) {
                Value::String(text) => text,
                other => other.to_string(),
            },
        }
    }

    fn render(&self, template: &str) -> String {
        let mut output = String::new();
        // Whether the text of each open `if` is rendered.
        let mut open: Vec<bool> = Vec::new();
        for line in template.lines() {
            let control =
                line.trim().strip_prefix("{{- ").and_then(|line| line.strip_suffix(" }}"));
            let is_rendered = open.iter().all(|is_rendered| *is_rendered);
            match control {
                Some("end") => {
                    open.pop().expect("an end without an if");
                }
                Some(control) if control.starts_with("if ") => {
                    open.push(is_rendered && self.is_true(&control[3..]));
                }
                Some(control) if control.starts_with("toYaml ") => {
                    let (term, indent) = control[7..].split_once(" | nindent ").unwrap();
                    let indent = " ".repeat(indent.parse().unwrap());
                    for line in yaml::encode(&self.value(term)).lines().filter(|_| is_rendered) {
                        output.push_str(&format!("{indent}{line}\n"));
                    }
                }
                Some(control) => panic!("what is {control}?"),
                None if line.starts_with("{{- /*") && line.ends_with("*/ -}}") => {}
                None if is_rendered => output.push_str(&format!("{}\n", self.line(line))),
                None => {}
            }
        }
        assert!(open.is_empty(), "an if without an end");
        output
    }

    fn line(&self, line: &str) -> String {
        let mut parts = line.split("{{");
        let mut output = parts.next().unwrap().to_owned();
        for part in parts {
            let (expression, rest) = part.split_once("}}").expect("an expression without an end");
            output.push_str(&self.shown(expression.trim()));
            output.push_str(rest);
        }
        output
    }
}

fn chart_file(path: &str) -> String {
    let found = files().into_iter().find(|file| file.path == format!("helm/mxjob/{path}"));
    found.unwrap().text
}

/// What Helm would install.
fn rendered(settings: &Settings) -> Vec<Value> {
    let mut values = yaml::decode(chart_file("values.yaml").as_bytes()).unwrap();
    let pull_secrets = settings.image_pull_secrets.iter();
    for (path, value) in [
        ("/image", json!(settings.image)),
        ("/replicas", json!(settings.replicas)),
        ("/gangScheduler", json!(settings.gang_scheduler)),
        ("/watchNamespace", json!(settings.watch_namespace.clone().unwrap_or_default())),
        ("/webhook/enabled", json!(settings.webhook)),
        ("/imagePullSecrets", pull_secrets.map(|name| json!({ "name": name })).collect()),
        ("/nodeSelector", json!(settings.node_selector)),
        ("/extraArgs", json!(settings.extra_args)),
        ("/crd/install", json!(chosen(settings).contains(&Part::Crd))),
    ] {
        *values.pointer_mut(path).unwrap() = value;
    }
    let helm = Helm { values, namespace: settings.namespace.clone() };
    let templates = files().into_iter().filter(|file| file.path.contains("/templates/"));
    let yaml = templates.filter(|file| file.path.ends_with(".yaml"));
    let mut objects = Vec::new();
    for file in yaml {
        for document in
            helm.render(&file.text).split("---\n").filter(|text| !text.trim().is_empty())
        {
            objects.push(
                yaml::decode(document.as_bytes())
                    .unwrap_or_else(|error| panic!("{}: {error}\n{document}", file.path)),
            );
        }
    }
    objects
}

fn key(object: &Value) -> String {
    format!("{} {}", object["kind"], object["metadata"])
}

#[test]
fn the_chart_installs_what_the_command_prints() {
    let mut restores = std::collections::BTreeSet::new();
    for settings in variety() {
        let mut found = rendered(&settings);
        for object in &mut found {
            // Only the chart has this annotation.
            if object["kind"] == "CustomResourceDefinition" {
                let metadata = object["metadata"].as_object_mut().unwrap();
                let annotations = metadata.remove("annotations").unwrap();
                assert_eq!(annotations["helm.sh/resource-policy"], "keep");
                let expected = mxjob_api::crd::crd();
                if let Some(annotations) = expected["metadata"].get("annotations") {
                    metadata.insert("annotations".to_owned(), annotations.clone());
                }
            }
        }
        // Helm creates the namespace itself.
        let mut expected = parts(&settings, &chosen(&settings)[1..]);
        for object in expected.iter_mut().chain(&mut found) {
            if object["kind"] == "ValidatingWebhookConfiguration" {
                let annotations = object["metadata"].as_object_mut().unwrap();
                let annotations = annotations.remove("annotations").unwrap();
                let text = annotations[admission::OUTAGE_ANNOTATION].as_str().unwrap();
                let text = text.rsplit_once("To restore the checks: ").unwrap().1;
                restores.insert(text.split(" --").next().unwrap().to_owned());
            }
        }
        found.sort_by_key(key);
        expected.sort_by_key(key);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{settings:?}");
        }
        assert_eq!(found.len(), expected.len(), "{settings:?}");
    }
    // The restore command is that of the installer.
    let restores: Vec<String> = restores.into_iter().collect();
    assert_eq!(restores, ["helm upgrade jobs CHART", "mxjob manifests"]);
}

#[test]
fn the_definition_and_the_roles_can_be_left_out() {
    let values = json!({ "crd": { "install": false }, "roles": { "install": false } });
    let helm = Helm { values, namespace: "system".to_owned() };
    for template in ["crd", "roles"] {
        let rendered = helm.render(&chart_file(&format!("templates/{template}.yaml")));
        assert_eq!(rendered.trim(), "", "{template}");
    }
}

#[test]
fn every_value_is_in_the_schema_of_values_and_notes_render() {
    let values = yaml::decode(chart_file("values.yaml").as_bytes()).unwrap();
    let schema: Value = serde_json::from_str(&chart_file("values.schema.json")).unwrap();
    for (key, value) in values.as_object().unwrap() {
        let schema = &schema["properties"][key];
        assert!(schema.is_object(), "{key}");
        for inner in value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|_| !["resources", "nodeSelector"].contains(&key.as_str()))
        {
            assert!(schema["properties"][inner.0].is_object(), "{key}.{}", inner.0);
        }
    }
    assert_eq!(values["resources"], bare_resources());
    let helm = Helm { values, namespace: "system".to_owned() };
    assert!(helm.render(&chart_file("templates/NOTES.txt")).contains("--namespace system rollout"));
}

fn bare_resources() -> Value {
    render::bare(&Settings::default().resources)
}
