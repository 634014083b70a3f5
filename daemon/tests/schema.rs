//! The JSON Schema that editors read against the reader that judges files: every block has the same keys in both.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use netpol_ebpf::cli::check::check;
use netpol_ebpf::schema::JSON_SCHEMA;
use serde_json::{Map, Value, json};

/// A key that no block has.
const STRANGER: &str = "qqqq";

/// The definition that a schema refers to, or the schema itself.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(path) => root.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} is not defined")),
        None => schema,
    }
}

/// A document that has every block once, each with a key that it does not know; the keys that it knows go to `blocks`.
fn strangers(root: &Value, schema: &Value, blocks: &mut Vec<BTreeSet<String>>) -> Option<Value> {
    let schema = resolved(root, schema);
    if let Some(item) = schema.get("items") {
        return strangers(root, item, blocks).map(|item| json!([item]));
    }
    let properties = schema.get("properties")?.as_object()?;
    assert_eq!(schema["additionalProperties"], false, "every block is closed: {properties:?}");
    blocks.push(properties.keys().cloned().collect());
    let mut block = Map::from_iter([(STRANGER.to_owned(), json!(1))]);
    for (key, schema) in properties {
        block.extend(strangers(root, schema, blocks).map(|value| (key.clone(), value)));
    }
    Some(Value::Object(block))
}

#[test]
fn every_block_has_the_same_keys_for_editors_and_for_the_reader() {
    let root: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    let mut wanted = Vec::new();
    let document = strangers(&root, &root, &mut wanted).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.toml"), toml::to_string(&document).unwrap()).unwrap();
    let checked = check(directory.path()).unwrap();
    let unknown = checked.diagnostics.iter().filter(|said| said.message.starts_with(&format!("unknown key `{STRANGER}`")));
    let list = |help: &str| help.strip_prefix("known keys: ").unwrap_or_else(|| panic!("{help}")).split(", ").map(str::to_owned).collect();
    let mut known: Vec<BTreeSet<String>> = unknown.map(|said| list(said.help.as_deref().unwrap())).collect();
    wanted.sort();
    known.sort();
    assert!(wanted.len() > 15, "the blocks were found: {}", wanted.len());
    assert_eq!(wanted, known);
}

/// Every key path of a document that the schema does not know.
fn unknown_to(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let schema = resolved(root, schema);
    match value {
        Value::Object(fields) if schema.get("properties").is_some() => {
            for (key, field) in fields {
                match schema["properties"].get(key) {
                    Some(schema) => unknown_to(root, schema, field, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        Value::Object(_) => found.push(format!("{path} is no block")),
        Value::Array(items) if schema.get("items").is_some() => {
            items.iter().for_each(|item| unknown_to(root, &schema["items"], item, path, found));
        }
        Value::String(word) => match schema.get("enum").and_then(Value::as_array) {
            Some(words) if !words.contains(&json!(word)) => found.push(format!("{path} = {word:?}")),
            _ => {}
        },
        _ => {}
    }
}

#[test]
fn every_example_is_what_the_schema_says() {
    let root: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = 0;
    for folder in ["examples", "tests/golden/every-key-accepted", "tests/golden/owners-accepted"] {
        for entry in std::fs::read_dir(top.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let document: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let mut found = Vec::new();
            unknown_to(&root, &root, &serde_json::to_value(document).unwrap(), "", &mut found);
            // TOML's own dates are tables to serde.
            found.retain(|what| !what.contains("expires"));
            assert!(found.is_empty(), "{}: {found:?}", path.display());
            files += 1;
        }
    }
    assert!(files > 6, "the examples were found: {files}");
}

/// Every key and word of the schema.
fn words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            found.extend(fields.get("properties").and_then(Value::as_object).into_iter().flat_map(|keys| keys.keys().cloned()));
            let choices = fields.get("enum").and_then(Value::as_array).into_iter().flatten();
            found.extend(choices.filter_map(|word| word.as_str().map(str::to_owned)));
            fields.values().for_each(|field| words(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_and_word_of_the_language_stands_in_its_manual_page() {
    let mut wanted = BTreeSet::new();
    words(&serde_json::from_str(JSON_SCHEMA).unwrap(), &mut wanted);
    let page = include_str!("../man/netpol.d.5").replace("\\-", "-");
    let known: BTreeSet<&str> = page.split(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c)).collect();
    let missing: Vec<&String> = wanted.iter().filter(|word| !known.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
